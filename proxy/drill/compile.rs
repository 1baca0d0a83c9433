//! From running experiments to the plan in force: one list of faults per proxy, by serial.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use squall_core::cell::{Cell, Switch};
use squall_core::fault::observed::Observed;
use squall_core::fault::{AnyFault, Effect};
use squall_core::ladder::Ladder;
use squall_core::plan::{Active, FaultRef, Layer, Plan, Slice, Tally};
use squall_core::scenario::{Checked, FaultSpec};
use squall_core::select::{Cap, Select};
use squall_core::tripwire::Tripwire;

use crate::arm::Target;
use crate::view::Refusal;

/// Who an experiment is, for its faults.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) id: Arc<str>,
    pub(crate) seed: u64,
    pub(crate) switch: Arc<Switch>,
    /// Its faults only say what they would have done.
    pub(crate) observed: bool,
}

/// An experiment's faults as they act: by fault as in the scenario, then by proxy.
pub(crate) type Actives = Vec<Vec<Arc<Active>>>;

/// Keeps what is in force and publishes it.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    serial: u64,
    max_active: Option<u64>,
    cap: Option<Arc<Cap>>,
    live: Vec<Live>,
    slices: BTreeMap<Arc<str>, Arc<Slice>>,
}

#[derive(Debug)]
struct Live {
    id: Arc<str>,
    actives: Vec<Arc<Active>>,
    looks: Looks,
}

/// What an experiment looks at besides its faults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looks {
    /// Proxies whose turns it reads.
    pub(crate) turns: Vec<Arc<str>>,
    /// Its guards in the data path, by proxy.
    pub(crate) guards: Vec<(Arc<str>, Arc<Tripwire>)>,
}

impl Compiler {
    /// `max_active`: units that all experiments together may affect at one moment.
    pub(crate) fn new(max_active: Option<u64>) -> Compiler {
        Compiler { max_active, cap: max_active.map(Cap::new), ..Compiler::default() }
    }

    /// Makes an experiment's faults, with serials by stage, then name. `targets`: for each fault the proxies that it acts
    /// on. Nothing is published.
    pub(crate) fn compile(&mut self, who: &Identity, checked: &Checked, targets: &[Vec<Target>]) -> Actives {
        let all = match who.observed {
            true => self.max_active.map(Cap::new), // what is only observed takes no place from what acts
            false => self.cap.clone(),
        };
        let own_cap = checked.max_active_faults.map(|max| match &all {
            Some(all) => Cap::within(max, all),
            None => Cap::new(max),
        });
        let cap = own_cap.or(all);
        let faults = checked.faults.iter().zip(targets).enumerate();
        let mut order: Vec<_> =
            faults.flat_map(|(n, (spec, targets))| targets.iter().map(move |target| (n, spec, target))).collect();
        order.sort_by_key(|(_, spec, target)| (stage(target.fault.as_ref()), spec.name.as_str()));
        let ladders: Vec<_> =
            checked.faults.iter().map(|spec| spec.has_ladder().then(|| Arc::new(Ladder::new(&spec.window)))).collect();
        let mut actives: Actives = vec![Vec::new(); checked.faults.len()];
        for (n, spec, target) in order {
            self.serial += 1;
            let mut made = active(self.serial, who, checked, spec, target, cap.as_ref());
            made.select.ladder.clone_from(&ladders[n]);
            actives[n].push(Arc::new(made));
        }
        actives
    }

    /// Puts an experiment's faults, and what it looks at, in force, in place of what it had there.
    pub(crate) fn add(&mut self, cell: &Cell, id: &Arc<str>, actives: &Actives, looks: Looks) -> u64 {
        let actives = actives.iter().flatten().cloned().collect();
        self.live.retain(|live| live.id != *id);
        self.live.push(Live { id: id.clone(), actives, looks });
        self.publish(cell)
    }

    /// Makes one more fault of an experiment that runs, behind all others. Nothing is published.
    ///
    /// # Errors
    /// The kind can be checked, but not run.
    pub(crate) fn lodge(&mut self, who: &Identity, checked: &Checked, spec: &FaultSpec) -> Result<Active, Refusal> {
        let fault = spec.fault.as_ref().map_err(|why| Refusal::NotArmed(vec![why.clone()]))?;
        self.serial += 1;
        let target = Target {
            proxy: spec.proxy.as_str().into(),
            flow: spec.flow,
            layer: Layer::Connection,
            rule: spec.matches.clone(),
            fault: fault.clone(),
        };
        Ok(active(self.serial, who, checked, spec, &target, self.cap.as_ref()))
    }

    /// Puts a fault of a running experiment in force, in place of the one with its serial.
    pub(crate) fn put(&mut self, cell: &Cell, id: &Arc<str>, active: Arc<Active>) -> u64 {
        if let Some(live) = self.live.iter_mut().find(|live| live.id == *id) {
            live.actives.retain(|other| other.serial != active.serial);
            live.actives.push(active);
        }
        self.publish(cell)
    }

    /// Puts another configuration of one fault of a running experiment in force, on all its proxies at once; what it has
    /// counted and what it holds stay. `targets`: what it becomes where.
    ///
    /// # Errors
    /// It is not in force, or on other proxies. Nothing has changed then.
    pub(crate) fn change(
        &mut self,
        cell: &Cell,
        id: &str,
        spec: &FaultSpec,
        targets: &[Target],
    ) -> Result<(), Refusal> {
        let gone = || Refusal::State(format!("fault `{}` is not in force", spec.name));
        let live = self.live.iter_mut().find(|live| &*live.id == id).ok_or_else(gone)?;
        let changed = |active: &Arc<Active>| {
            if *active.name.fault != *spec.name {
                return Ok(active.clone());
            }
            let found = targets.iter().find(|to| to.proxy == active.name.proxy && to.flow == active.flow);
            let target = found.ok_or_else(|| {
                Refusal::State(format!("fault `{}` would not act on `{}` any more", spec.name, active.name.proxy))
            })?;
            let fault: Arc<dyn AnyFault> = match active.observed {
                true => Arc::new(Observed(target.fault.clone())),
                false => target.fault.clone(),
            };
            let mut changed = active.with(fault);
            changed.rule = target.rule.clone();
            changed.select.percentage = spec.percentage.clone();
            Ok(Arc::new(changed))
        };
        let actives = live.actives.iter().map(changed).collect::<Result<Vec<_>, Refusal>>()?;
        if actives.iter().zip(&live.actives).all(|(now, before)| Arc::ptr_eq(now, before)) {
            return Err(gone());
        }
        live.actives = actives;
        self.publish(cell);
        Ok(())
    }

    /// Takes one fault of a running experiment out.
    pub(crate) fn take(&mut self, cell: &Cell, id: &str, serial: u64) -> u64 {
        if let Some(live) = self.live.iter_mut().find(|live| &*live.id == id) {
            live.actives.retain(|active| active.serial != serial);
        }
        self.publish(cell)
    }

    /// Whether an experiment's faults are in force.
    pub(crate) fn holds(&self, id: &str) -> bool {
        self.live.iter().any(|live| &*live.id == id)
    }

    /// Takes an experiment out.
    pub(crate) fn remove(&mut self, cell: &Cell, id: &str) -> u64 {
        self.live.retain(|live| &*live.id != id);
        self.publish(cell)
    }

    /// A slice whose faults are the same stays the same `Arc`: workers skip its connections.
    fn publish(&mut self, cell: &Cell) -> u64 {
        let turns: BTreeSet<&Arc<str>> = self.live.iter().flat_map(|live| &live.looks.turns).collect();
        let guards = || self.live.iter().flat_map(|live| &live.looks.guards);
        let mut lists: BTreeMap<Arc<str>, Vec<Arc<Active>>> = BTreeMap::new();
        for proxy in turns.iter().copied().chain(guards().map(|(proxy, _)| proxy)) {
            lists.entry(proxy.clone()).or_default();
        }
        for active in self.live.iter().flat_map(|live| &live.actives) {
            lists.entry(active.name.proxy.clone()).or_default().push(active.clone());
        }
        let slices = lists.into_iter().map(|(proxy, mut actives)| {
            actives.sort_by_key(|active| active.serial);
            let measure_turns = turns.contains(&proxy);
            let guards: Vec<_> = guards().filter(|(on, _)| *on == proxy).map(|(_, guard)| guard.clone()).collect();
            let slice = match self.slices.get(&proxy) {
                Some(old) if is_same(old, &actives, measure_turns, &guards) => old.clone(),
                _ => Arc::new(Slice::new(actives, measure_turns).guarded(guards)),
            };
            (proxy, slice)
        });
        self.slices = slices.collect();
        cell.publish(Arc::new(Plan::new(self.slices.iter().map(|(proxy, slice)| (proxy.clone(), slice.clone())))))
    }
}

fn is_same(old: &Slice, actives: &[Arc<Active>], measure_turns: bool, guards: &[Arc<Tripwire>]) -> bool {
    fn same<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
        old.len() == new.len() && old.iter().zip(new).all(|(a, b)| Arc::ptr_eq(a, b))
    }
    old.measure_turns == measure_turns && same(&old.actives, actives) && same(&old.guards, guards)
}

/// Where a kind stands in the chain: what decides whether bytes go on at all comes before what changes them, and that
/// before what only times them, so that no delay is put on record for bytes that were swallowed.
fn stage(fault: &dyn AnyFault) -> u8 {
    match fault.effect() {
        Effect::Loses => 0,
        Effect::Mutates => 1,
        Effect::Keeps => 2,
    }
}

fn active(
    serial: u64,
    who: &Identity,
    checked: &Checked,
    spec: &FaultSpec,
    target: &Target,
    cap: Option<&Arc<Cap>>,
) -> Active {
    let name = FaultRef {
        experiment: who.id.clone(),
        experiment_name: checked.name.as_str().into(),
        fault: spec.name.as_str().into(),
        kind: spec.kind,
        proxy: target.proxy.clone(),
    };
    Active {
        serial,
        name: Arc::new(name),
        draws: spec.draws(who.seed, &checked.name),
        flow: target.flow,
        select: Select {
            percentage: spec.percentage.clone(),
            ladder: None,
            key: spec.key.clone(),
            count: spec.count,
            cap: cap.cloned(),
        },
        window: spec.window,
        switch: who.switch.clone(),
        observed: who.observed,
        layer: target.layer,
        bodies: spec.bodies,
        rule: target.rule.clone(),
        stealth: spec.stealth,
        shared: Arc::from(target.fault.new_shared()),
        fault: match who.observed {
            true => Arc::new(Observed(target.fault.clone())),
            false => target.fault.clone(),
        },
        tally: Arc::new(Tally::default()),
        on_abort: checked.on_abort,
        release_over: checked.release_over,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::trial::{fault, scenario};

    /// All faults on these proxies.
    fn on(checked: &Checked, proxies: &[&str]) -> Vec<Vec<Target>> {
        let target = |spec: &FaultSpec, proxy: &&str| Target {
            proxy: (*proxy).into(),
            flow: None,
            layer: Layer::Connection,
            rule: spec.matches.clone(),
            fault: spec.fault.clone().unwrap(),
        };
        checked.faults.iter().map(|spec| proxies.iter().map(|proxy| target(spec, proxy)).collect()).collect()
    }

    fn start(compiler: &mut Compiler, cell: &Cell, id: &str, checked: &Checked, proxies: &[&str]) -> Actives {
        let who = Identity { id: id.into(), seed: 7, switch: cell.switch(), observed: false };
        let actives = compiler.compile(&who, checked, &on(checked, proxies));
        compiler.add(cell, &who.id, &actives, Looks::default());
        actives
    }

    fn names(cell: &Cell, proxy: &str) -> Vec<String> {
        let plan = cell.plan().load_full();
        let slice = plan.slice(proxy);
        slice.map_or(vec![], |slice| slice.actives.iter().map(|active| active.name.fault.to_string()).collect())
    }

    #[test]
    fn order_in_the_file_changes_nothing() {
        let (cell, mut compiler) = (Cell::default(), Compiler::default());
        let checked = scenario("s").fault(fault("b")).fault(fault("c").losing()).fault(fault("a")).checked();
        start(&mut compiler, &cell, "s-1", &checked, &["p"]);
        assert_eq!(names(&cell, "p"), ["c", "a", "b"]);
    }

    #[test]
    fn another_experiment_leaves_lineage_and_untouched_slices_alone() {
        let (cell, mut compiler) = (Cell::default(), Compiler::default());
        let checked = scenario("s").fault(fault("a")).checked();
        start(&mut compiler, &cell, "s-1", &checked, &["p", "q"]);
        let before = cell.plan().load_full();
        start(&mut compiler, &cell, "s-2", &checked, &["q"]);
        let during = cell.plan().load_full();
        assert!(Arc::ptr_eq(before.slice("p").unwrap(), during.slice("p").unwrap()));
        let (old, new) = (before.slice("q").unwrap(), during.slice("q").unwrap());
        assert!(Arc::ptr_eq(&old.actives[0], &new.actives[0]), "shared, tally and serial are kept");
        assert!(new.actives[1].serial > new.actives[0].serial, "a second run starts anew, at the end of the chain");
        compiler.remove(&cell, "s-1");
        let after = cell.plan().load_full();
        assert!(after.slice("p").is_none());
        assert!(Arc::ptr_eq(&after.slice("q").unwrap().actives[0], &new.actives[1]));
        compiler.remove(&cell, "s-2");
        assert!(cell.plan().load().is_empty());
    }

    #[test]
    fn turns_are_measured_where_somebody_reads_them() {
        let (cell, mut compiler) = (Cell::default(), Compiler::default());
        let checked = scenario("s").fault(fault("a")).checked();
        let who = Identity { id: "s-1".into(), seed: 7, switch: cell.switch(), observed: false };
        let actives = compiler.compile(&who, &checked, &on(&checked, &["p"]));
        compiler.add(&cell, &who.id, &actives, Looks { turns: vec!["watched".into()], guards: vec![] });
        let plan = cell.plan().load_full();
        assert!(plan.slice("watched").unwrap().measure_turns && !plan.slice("p").unwrap().measure_turns);
    }

    #[test]
    fn what_is_only_observed_takes_no_place_from_what_acts() {
        let mut compiler = Compiler::new(Some(1));
        let cell = Cell::default();
        let checked = scenario("s").fault(fault("a")).checked();
        let who = Identity { id: "s-1".into(), seed: 7, switch: cell.switch(), observed: true };
        let observed = compiler.compile(&who, &checked, &on(&checked, &["p"]));
        let acting = start(&mut compiler, &cell, "s-2", &checked, &["p"]);
        let take = |actives: &Actives| actives[0][0].select.cap.as_ref().unwrap().take();
        let permit = take(&observed);
        assert!(permit.is_some() && take(&observed).is_none() && take(&acting).is_some());
    }

    #[test]
    fn the_limit_of_all_holds_for_an_experiment_with_a_wider_one_of_its_own() {
        let mut compiler = Compiler::new(Some(1));
        let cell = Cell::default();
        let checked = scenario("s").fault(fault("a")).max_active(5).checked();
        let first = start(&mut compiler, &cell, "s-1", &checked, &["p"]);
        let second = start(&mut compiler, &cell, "s-2", &checked, &["p"]);
        let take = |actives: &Actives| actives[0][0].select.cap.as_ref().unwrap().take();
        let permit = take(&first);
        assert!(permit.is_some() && take(&second).is_none());
        drop(permit);
        assert!(take(&second).is_some());
    }
}
