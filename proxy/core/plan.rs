//! The immutable snapshot that workers act on: which faults are in force on which proxy.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cell::{Course, Switch};
use crate::chain::Talk;
use crate::draw::DrawKey;
use crate::fault::{AnyFault, Flow, Injection, Phase, Settings, What};
use crate::http::Request;
use crate::matcher::{Facts, MatchSpec, Rules};
use crate::observe::Record;
use crate::select::Select;
use crate::time::{NEVER, Now, Time};
use crate::tripwire::Tripwire;
use crate::window;
use crate::window::Window;

/// Everything in force. Compiled on the control side, indexed per proxy, never changed.
#[derive(Debug, Default)]
pub struct Plan {
    proxies: HashMap<Arc<str>, Arc<Slice>>,
}

impl Plan {
    /// Indexes faults by proxy. A slice that is to stay as it is (same faults) should be the same `Arc`, so that workers
    /// can skip its connections.
    pub fn new(slices: impl IntoIterator<Item = (Arc<str>, Arc<Slice>)>) -> Plan {
        Plan { proxies: slices.into_iter().collect() }
    }

    /// The faults of one proxy, if any.
    pub fn slice(&self, proxy: &str) -> Option<&Arc<Slice>> {
        self.proxies.get(proxy)
    }

    /// All proxies that have faults.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Slice>)> {
        self.proxies.iter()
    }

    /// Whether nothing is in force.
    pub fn is_empty(&self) -> bool {
        self.proxies.is_empty()
    }
}

/// The faults of one proxy, and the guards that look at it.
#[derive(Debug, Default)]
pub struct Slice {
    /// By serial: the order in the chain.
    pub actives: Vec<Arc<Active>>,
    /// Those that act on HTTP exchanges, by serial.
    exchanges: Vec<Arc<Active>>,
    /// Their rules, in that order.
    rules: Rules,
    /// Those that act on connections, by serial.
    connections: Vec<Arc<Active>>,
    /// Their rules, in that order; none: none of them has any.
    to_connect: Option<Rules>,
    /// Whether somebody reads the turns of this proxy (last client byte to first answer byte); they cost a clock reading
    /// per read.
    pub measure_turns: bool,
    /// Guards that look at what happens here.
    pub guards: Vec<Arc<Tripwire>>,
    /// No window that was never seen open opens before, monotonic ns; 0: nobody has looked.
    quiet_until: AtomicU64,
    /// The latest [`Tally::opened`].
    newest: AtomicU64,
}

impl Slice {
    /// Faults by serial.
    pub fn new(actives: Vec<Arc<Active>>, measure_turns: bool) -> Slice {
        let on_exchanges = |active: &&Arc<Active>| active.layer != Layer::Connection;
        let exchanges: Vec<_> = actives.iter().filter(on_exchanges).cloned().collect();
        let rules = Rules::compile(exchanges.iter().map(|active| active.rule.as_deref()));
        let on_connections = |active: &&Arc<Active>| {
            !matches!(active.layer, Layer::Exchange(_)) && !active.rule.as_ref().is_some_and(|rule| rule.needs_http())
        };
        let connections: Vec<_> = actives.iter().filter(on_connections).cloned().collect();
        let has_rules = connections.iter().any(|active| active.rule.is_some());
        let to_connect = has_rules.then(|| Rules::compile(connections.iter().map(|active| active.rule.as_deref())));
        Slice { actives, exchanges, rules, connections, to_connect, measure_turns, ..Slice::default() }
    }

    /// The same with guards that look at what happens here.
    #[must_use]
    pub fn guarded(self, guards: Vec<Arc<Tripwire>>) -> Slice {
        Slice { guards, ..self }
    }

    /// The faults whose rules hold for a connection, by serial.
    pub(crate) fn meeting(&self, talk: &Talk) -> Cow<'_, [Arc<Active>]> {
        let Some(rules) = &self.to_connect else { return Cow::Borrowed(&self.connections) };
        let mut places = Vec::new();
        rules.matching(&Request::default(), &facts(talk), &mut places);
        places.into_iter().filter_map(|place| self.connections.get(place as usize).cloned()).collect()
    }

    /// The faults whose rules hold for an exchange, by serial: those that look at its request only, or, `answered`, those
    /// that look at its answer too.
    pub(crate) fn matching(&self, talk: &Talk, answered: bool, into: &mut Vec<Arc<Active>>) {
        let Some(dialogue) = talk.dialogue() else { return };
        let response = dialogue.response.as_ref().filter(|_| answered);
        let facts = Facts { request_size: dialogue.size, response, ..facts(talk) };
        let mut places = Vec::new();
        self.rules.matching(&dialogue.request, &facts, &mut places);
        into.extend(places.into_iter().filter_map(|place| self.exchanges.get(place as usize).cloned()));
    }

    /// Whether a rule looks at answers here.
    pub fn looks_at_answers(&self) -> bool {
        self.rules.needs_answer()
    }

    /// Whether a fault acts on HTTP exchanges here.
    pub fn has_exchanges(&self) -> bool {
        !self.exchanges.is_empty()
    }

    /// What an HTTP/2 connection that begins now is to be told, and by which faults; those on record in `records`. Where
    /// several say something about one setting, the last does.
    pub fn settings(&self, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Settings {
        self.newest(now);
        let mut told = Settings::default();
        for active in self.actives.iter().filter(|active| active.fault.settings().is_some()) {
            let Some(settings) = active.tells(talk, now, records) else { continue };
            told = Settings {
                max_concurrent_streams: settings.max_concurrent_streams.or(told.max_concurrent_streams),
                initial_window_size: settings.initial_window_size.or(told.initial_window_size),
                max_frame_size: settings.max_frame_size.or(told.max_frame_size),
                header_table_size: settings.header_table_size.or(told.header_table_size),
                max_header_list_size: settings.max_header_list_size.or(told.max_header_list_size),
            };
        }
        told
    }

    /// Looks for windows that have opened, unless none can have since somebody last looked. Returns when one was first
    /// seen open most recently (0: never): who has looked since need not look at any fault.
    pub(crate) fn newest(&self, now: Now) -> Time {
        if now.mono >= self.quiet_until.load(Ordering::Acquire) {
            let (mut newest, mut quiet_until) = (0, NEVER);
            for active in &self.actives {
                match active.see_open(now) {
                    Some(opened) => newest = newest.max(opened),
                    None => quiet_until = quiet_until.min(active.opens_from(now)),
                }
            }
            self.newest.fetch_max(newest, Ordering::Relaxed);
            self.quiet_until.store(quiet_until, Ordering::Release);
        }
        self.newest.load(Ordering::Relaxed)
    }
}

/// What is known of a connection beside what is said on it.
fn facts(talk: &Talk) -> Facts<'_> {
    let hello = talk.hello.as_deref();
    Facts {
        client: talk.client.map(|client| client.ip()),
        sni: hello.and_then(|hello| hello.sni.as_deref()),
        alpn: hello.map_or(&[], |hello| &hello.alpn),
        ..Facts::default()
    }
}

/// One fault in force on one proxy.
#[derive(Debug)]
pub struct Active {
    /// Lineage, and the order in the chain. A new one means: forget what was counted.
    pub serial: u64,
    /// Who it is, for ledger and metrics.
    pub name: Arc<FaultRef>,
    /// Seed and name, mixed.
    pub draws: DrawKey,
    /// The direction it acts in; none: both.
    pub flow: Option<Flow>,
    /// Which units it selects.
    pub select: Select,
    /// When it acts, on the experiment's timeline.
    pub window: Window,
    /// The experiment's switch.
    pub switch: Arc<Switch>,
    /// It only says what it would have done.
    pub observed: bool,
    /// What it acts on.
    pub layer: Layer,
    /// Whose body it acts on in an exchange; none: both.
    pub bodies: Option<Flow>,
    /// Which exchanges, or connections, it may select; none: all.
    pub rule: Option<Arc<MatchSpec>>,
    /// The answers that it makes do not name it.
    pub stealth: bool,
    /// What it does.
    pub fault: Arc<dyn AnyFault>,
    /// Its memory across connections and workers; kept over retunes by the plan compiler.
    pub shared: Arc<dyn Any + Send + Sync>,
    /// What it has done.
    pub tally: Arc<Tally>,
    /// What becomes of what it holds when the experiment is aborted.
    pub on_abort: OnAbort,
    /// Over how long what it holds is let go when the experiment ends, ns; 0: all at once.
    pub release_over: Time,
}

/// What a fault acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layer {
    /// Connections and their bytes, datagrams, listeners.
    #[default]
    Connection,
    /// HTTP exchanges, in this phase.
    Exchange(Phase),
    /// HTTP exchanges in this phase, and connections that turn out to carry something else.
    Either(Phase),
}

/// Where a fault stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its open window; none: closed, or the switch is off.
    pub open: Option<Open>,
    /// When it opens or closes next, monotonic ns; none: not by itself.
    pub next_edge: Option<Time>,
}

/// An open window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// When it opened, ns on the timeline: stays the same over pauses and waits.
    pub at: Time,
    /// Curve time: since it opened, ns on the timeline.
    pub elapsed: Time,
    /// The timeline.
    pub course: Course,
}

impl Open {
    /// When curve time comes to this, monotonic ns; none: not before the timeline is let go on.
    pub fn reaches(&self, elapsed: Time) -> Option<Time> {
        self.course.reaches(self.at.saturating_add(elapsed))
    }
}

impl Active {
    /// The same lineage with another configuration: what was counted and remembered stays.
    #[must_use]
    pub fn with(&self, fault: Arc<dyn AnyFault>) -> Active {
        Active {
            serial: self.serial,
            name: self.name.clone(),
            draws: self.draws,
            flow: self.flow,
            select: self.select.clone(),
            window: self.window,
            switch: self.switch.clone(),
            observed: self.observed,
            layer: self.layer,
            bodies: self.bodies,
            rule: self.rule.clone(),
            stealth: self.stealth,
            fault,
            shared: self.shared.clone(),
            tally: self.tally.clone(),
            on_abort: self.on_abort,
            release_over: self.release_over,
        }
    }

    /// Where it stands now.
    pub fn look(&self, now: Now) -> Look {
        if !self.switch.is_on(now) {
            return Look { open: None, next_edge: None };
        }
        let course = self.switch.course();
        let Some(elapsed) = course.elapsed(now.mono) else {
            return Look { open: None, next_edge: Some(course.origin) };
        };
        let phase = self.window.phase(elapsed);
        let end = Some(self.switch.ends_by(now)).filter(|end| *end != NEVER);
        Look {
            open: phase.open_since.map(|at| Open { at, elapsed: elapsed - at, course }),
            next_edge: phase.next_edge.and_then(|edge| course.reaches(edge)).into_iter().chain(end).min(),
        }
    }

    /// The same in monotonic time. Closed while the switch is off.
    pub fn phase(&self, now: Now) -> window::Phase {
        let Look { open, next_edge } = self.look(now);
        window::Phase { open_since: open.map(|open| open.course.origin.saturating_add(open.at)), next_edge }
    }

    /// When the window was first seen open; none: never yet. Whoever sees it first sets it, for all workers.
    fn see_open(&self, now: Now) -> Option<Time> {
        if let Some(before) = self.tally.first_opened() {
            return Some(before);
        }
        self.look(now).open?;
        let (mark, opened) = (&self.tally.opened, now.mono.max(1));
        Some(mark.compare_exchange(0, opened, Ordering::AcqRel, Ordering::Acquire).map_or_else(|set| set, |_| opened))
    }

    /// A time before which a closed window doesn't open. A pause or a wait can only move it further away; with the switch
    /// off nothing is known.
    fn opens_from(&self, now: Now) -> Time {
        if self.switch.is_on(now) {
            let course = self.switch.course();
            let elapsed = course.elapsed(now.mono).unwrap_or(0);
            self.window.phase(elapsed).next_edge.map_or(NEVER, |edge| course.origin.saturating_add(edge))
        } else if self.switch.is_over(now) {
            NEVER
        } else {
            0
        }
    }

    /// What it has this connection told at its beginning, if it selects it; that is on record.
    fn tells(&self, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Option<Settings> {
        let open = self.look(now).open?;
        let Some(unit) = self.select.unit(talk.ordinal, talk.client.map(|client| client.ip()), None) else {
            Tally::add(&self.tally.key_absent);
            return None;
        };
        let number = self.tally.eligible.fetch_add(1, Ordering::Relaxed) + 1;
        let is_selected = self.select.count.takes(number)
            && self.select.holds(self.draws.unit(unit).percentage(), open.at, open.elapsed);
        if !is_selected {
            return None;
        }
        [&self.tally.selected, &self.tally.injected, &self.tally.affected].into_iter().for_each(Tally::add);
        let what = What::Patched;
        records.push(Record {
            fault: self.name.clone(),
            tally: self.tally.clone(),
            ordinal: Some(talk.ordinal),
            request: None,
            unit: Some(unit),
            client: talk.client,
            flow: None,
            at: now.mono,
            injection: Injection { what, step: 0, draw: None, drawn: 0, scheduled: 0, achieved: 0 },
            released: false,
        });
        self.fault.settings().filter(|_| !self.observed).copied()
    }

    /// Asks the fault. Should it panic, its experiment is over before anybody else is asked.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&dyn AnyFault) -> T) -> T {
        let fallen = Fallen(self);
        let answer = ask(&*self.fault);
        std::mem::forget(fallen);
        answer
    }

    /// What it has done so far.
    pub fn read(&self) -> TallyReading {
        TallyReading { unread: self.fault.unread(&*self.shared), ..self.tally.read() }
    }

    /// Whether the window may be open once more, now or later. In doubt (while paused) it may.
    pub fn may_open(&self, now: Now) -> bool {
        let elapsed = self.switch.course().elapsed(now.mono).unwrap_or(0);
        let is_past = |end| elapsed >= end;
        !(self.switch.is_over(now) || self.switch.is_on(now) && self.window.end().is_some_and(is_past))
    }
}

/// Dropped by a panic only: see [`Active::ask`].
struct Fallen<'a>(&'a Active);

impl Drop for Fallen<'_> {
    fn drop(&mut self) {
        Tally::add(&self.0.tally.panicked); // first: who finds the experiment off finds why
        self.0.switch.end();
    }
}

/// Who a fault is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct FaultRef {
    /// Id of the run.
    pub experiment: Arc<str>,
    /// The experiment's name.
    pub experiment_name: Arc<str>,
    /// The fault's name.
    pub fault: Arc<str>,
    /// Its kind.
    pub kind: &'static str,
    /// The proxy it acts on.
    pub proxy: Arc<str>,
}

/// What becomes of held bytes on abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnAbort {
    /// They go on, in order.
    #[default]
    Release,
    /// The connection is closed. Datagrams that are held are dropped, and the association goes on.
    Close,
}

/// What one fault has done on one proxy; counted by the workers, only where a fault acts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Units that the fault could have selected while its window was open.
    pub eligible: AtomicU64,
    /// Units selected.
    pub selected: AtomicU64,
    /// Injections carried out.
    pub injected: AtomicU64,
    /// Units with at least one injection.
    pub affected: AtomicU64,
    /// Units held at this moment.
    pub held: AtomicU64,
    /// Units let go by an abort, a pause or the end of the window while they were held.
    pub released: AtomicU64,
    /// Units not selected because `max_active_faults` was reached.
    pub overflow: AtomicU64,
    /// Units without the key.
    pub key_absent: AtomicU64,
    /// Connections reset at the end of the fault because bytes had been withheld for good.
    pub reset_on_abort: AtomicU64,
    /// Units whose connection ended, by its client or server or with its proxy, while they were held: what was held is
    /// dropped.
    pub dropped: AtomicU64,
    /// Times that the fault decided over and over without getting on, and was passed over for that connection: a bug of
    /// the fault.
    pub stuck: AtomicU64,
    /// Times that the fault panicked, which ends its experiment: a bug of the fault.
    pub panicked: AtomicU64,
    /// Ledger records about injections that are on record already: a hold that has said so when it began was cut short.
    pub amended: AtomicU64,
    /// Ledger records lost because the ledger could not keep up (the counts above stay exact).
    pub unrecorded: AtomicU64,
    /// When the window was first seen open, monotonic ns; 0: not yet.
    pub opened: AtomicU64,
}

impl Tally {
    /// When the window was first seen open, if it was.
    pub(crate) fn first_opened(&self) -> Option<Time> {
        Some(self.opened.load(Ordering::Acquire)).filter(|opened| *opened > 0)
    }

    /// Adds one to a count.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts at this moment, but for `unread`: see [`Active::read`].
    pub fn read(&self) -> TallyReading {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TallyReading {
            eligible: get(&self.eligible),
            selected: get(&self.selected),
            injected: get(&self.injected),
            affected: get(&self.affected),
            held: get(&self.held),
            released: get(&self.released),
            overflow: get(&self.overflow),
            key_absent: get(&self.key_absent),
            reset_on_abort: get(&self.reset_on_abort),
            dropped: get(&self.dropped),
            stuck: get(&self.stuck),
            amended: get(&self.amended),
            unrecorded: get(&self.unrecorded),
            unread: 0,
        }
    }
}

/// A reading of a [`Tally`]; the fields are its, and `unread`: messages that the fault could not read and let by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)]
pub struct TallyReading {
    pub eligible: u64,
    pub selected: u64,
    pub injected: u64,
    pub affected: u64,
    pub held: u64,
    pub released: u64,
    pub overflow: u64,
    pub key_absent: u64,
    pub reset_on_abort: u64,
    #[serde(default)]
    pub dropped: u64,
    pub stuck: u64,
    #[serde(default)]
    pub amended: u64,
    pub unrecorded: u64,
    #[serde(default)]
    pub unread: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;
    use crate::fault::{Cx, Effect, Fault, Hooks};
    use crate::window::Phase;

    #[derive(Debug)]
    struct Nothing;

    impl Fault for Nothing {
        const KIND: &'static str = "nothing";
        const HOOKS: Hooks = Hooks::STREAM;
        const EFFECT: Effect = Effect::Keeps;
        type Shared = ();
        type State = ();
        fn alarm(&self, _: &Cx<'_, Self>) -> Option<Time> {
            None
        }
    }

    fn active(window: Window) -> Active {
        let word = |word: &str| Arc::<str>::from(word);
        Active {
            serial: 1,
            name: Arc::new(FaultRef {
                experiment: word("run"),
                experiment_name: word("test"),
                fault: word("nothing"),
                kind: Nothing::KIND,
                proxy: word("p"),
            }),
            draws: DrawKey::new(1, "test", "nothing"),
            flow: None,
            select: Select {
                percentage: crate::curve::Curve::Constant(100.0),
                ladder: None,
                key: crate::select::Key::Ordinal,
                count: crate::select::Count::All,
                cap: None,
            },
            window,
            switch: Cell::default().switch(),
            observed: false,
            layer: Layer::Connection,
            bodies: None,
            rule: None,
            stealth: false,
            shared: Arc::from(Nothing.new_shared()),
            fault: Arc::new(Nothing),
            tally: Arc::default(),
            on_abort: OnAbort::Release,
            release_over: 0,
        }
    }

    fn at(mono: u64) -> Now {
        Now { mono, boot: mono + 1_000 }
    }

    #[test]
    fn a_window_lies_on_the_timeline_of_its_experiment() {
        let active = active(Window { at: 10, length: Some(5), every: None, times: None });
        assert_eq!(active.phase(at(510)), Phase::CLOSED, "not started");
        active.switch.start(500);
        assert_eq!(active.phase(at(499)), Phase { open_since: None, next_edge: Some(500) });
        assert_eq!(active.phase(at(505)), Phase { open_since: None, next_edge: Some(510) });
        assert_eq!(active.phase(at(512)), Phase { open_since: Some(510), next_edge: Some(515) });
        active.switch.pause();
        assert_eq!(active.phase(at(513)), Phase::CLOSED);
        active.switch.start(600); // stood still for 100
        assert_eq!(active.phase(at(613)), Phase { open_since: Some(610), next_edge: Some(615) });
        active.switch.end();
        assert_eq!(active.phase(at(613)), Phase::CLOSED);
    }

    #[test]
    fn nothing_opens_or_closes_while_the_timeline_stands() {
        let active = active(Window { at: 10, length: Some(5), every: Some(20), times: None });
        active.switch.stop_at(12);
        active.switch.start(500);
        let curve_time = |mono| active.look(at(mono)).open.map(|open| open.elapsed);
        assert_eq!(active.phase(at(505)).next_edge, Some(510));
        assert_eq!(active.phase(at(511)), Phase { open_since: Some(510), next_edge: None }, "it closes after the stop");
        assert_eq!((curve_time(511), curve_time(512), curve_time(900)), (Some(1), Some(2), Some(2)));
        active.switch.go_on(900, 20);
        assert_eq!(active.phase(at(900)), Phase { open_since: Some(898), next_edge: Some(903) });
        assert_eq!((curve_time(902), curve_time(903)), (Some(4), None));
        assert_eq!(active.phase(at(905)).next_edge, None, "it opens again after the next stop");
        assert_eq!(active.opens_from(at(905)), 918, "and not before this");
        active.switch.set_limit(1_000);
        assert_eq!(active.phase(at(950)), Phase { open_since: None, next_edge: Some(1_000) }, "its hard end stays");
        active.switch.go_on(960, NEVER);
        assert_eq!(active.phase(at(970)), Phase { open_since: Some(970), next_edge: Some(975) });
        assert_eq!(active.phase(at(1_000)), Phase::CLOSED);
    }

    #[test]
    fn limit_and_lease_are_edges_too() {
        let active = active(Window::default());
        active.switch.start(500);
        assert_eq!(active.phase(at(500)), Phase { open_since: Some(500), next_edge: None });
        active.switch.set_limit(700);
        assert_eq!(active.phase(at(500)).next_edge, Some(700));
        active.switch.set_lease(1_600);
        assert_eq!(active.phase(at(500)).next_edge, Some(600));
        assert_eq!(active.phase(at(600)), Phase::CLOSED);
    }

    #[test]
    fn a_plan_is_indexed_by_proxy() {
        let slice = Arc::new(Slice::new(vec![Arc::new(active(Window::default()))], false));
        let plan = Plan::new([("p".into(), slice.clone())]);
        assert!(plan.slice("p").is_some_and(|found| Arc::ptr_eq(found, &slice)));
        assert!(plan.slice("q").is_none() && !plan.is_empty() && Plan::default().is_empty());
        let mut chain = crate::chain::Chain::new();
        let talk = Talk::new(0, None, 0);
        slice.actives[0].switch.start(0);
        chain.retune(plan.slice("p").map(|slice| &**slice), &talk, &mut 0, at(1));
        assert!(!chain.is_idle());
    }
}
