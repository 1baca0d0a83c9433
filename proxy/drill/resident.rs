//! An experiment without a timeline, whose faults come, change and go one by one while it runs: what the
//! Toxiproxy-compatible port is made of. It ends like any other: by an abort, its lease, or the end of the process.

use std::sync::Arc;

use squall_core::plan::{Active, OnAbort};
use squall_core::scenario::{Checked, FaultSpec};
use squall_core::time::Time;

use crate::book::Entry;
use crate::engine::Inner;
use crate::view::Refusal;

/// Faults that have gone and are still shown, the latest.
const GONE: usize = 256;

/// A fault of a resident experiment.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) spec: FaultSpec,
    pub(crate) active: Arc<Active>,
    /// Removed: kept for its counts.
    pub(crate) gone: bool,
}

/// A running experiment of this kind. Dropping it ends nothing.
#[derive(Clone)]
pub struct Resident {
    inner: Arc<Inner>,
    entry: Arc<Entry>,
    lease: Option<Time>,
}

impl Resident {
    pub(crate) fn new(inner: Arc<Inner>, entry: Arc<Entry>, lease: Option<Time>) -> Resident {
        Resident { inner, entry, lease }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.entry.id
    }

    /// Renews its lease, if it has one. False: it is over or ending, and what it did is lifted.
    pub fn renew(&self) -> bool {
        let now = self.inner.now();
        let Some(switch) = self.entry.switch().filter(|_| self.entry.ending().is_none()) else { return false };
        if switch.is_over(now) {
            return false;
        }
        self.lease.is_none_or(|lease| crate::lease::renew(&switch, now, lease))
    }

    /// Puts a fault in force at the end of its proxy's chain. `spec.proxy` is one proxy's name, which need not be open.
    /// Gives what [`Resident::change`] and [`Resident::remove`] know it by.
    ///
    /// # Errors
    /// The experiment is over, or the kind can not be run.
    pub fn add(&self, spec: FaultSpec) -> Result<u64, Refusal> {
        let switch = self.alive()?;
        self.inner.may_expose()?;
        let mut compiler = self.inner.compiler();
        let active = compiler.lodge(&self.identity(switch), &self.entry.checked, &spec)?;
        let (serial, active) = (active.serial, Arc::new(active));
        self.entry.tenants(|tenants| {
            tenants.push(Tenant { spec: spec.clone(), active: active.clone(), gone: false });
            let gone = tenants.iter().filter(|tenant| tenant.gone).count();
            if gone > GONE
                && let Some(oldest) = tenants.iter().position(|tenant| tenant.gone)
            {
                tenants.remove(oldest);
            }
        });
        compiler.put(self.inner.plane.cell(), &self.entry.id, active);
        drop(compiler);
        self.tell(format!("fault `{}` added: {}", spec.name, spec.summary));
        Ok(serial)
    }

    /// Changes a fault on live connections: what it has counted and what it holds stay.
    ///
    /// # Errors
    /// The experiment is over, the kind can not be run, or the fault is gone.
    pub fn change(&self, serial: u64, spec: FaultSpec) -> Result<(), Refusal> {
        self.alive()?;
        self.inner.may_expose()?;
        let fault = spec.fault.clone().map_err(|why| Refusal::NotArmed(vec![why]))?;
        let mut compiler = self.inner.compiler();
        let changed = self.entry.tenants(|tenants| {
            let tenant = tenants.iter_mut().find(|tenant| tenant.active.serial == serial && !tenant.gone)?;
            let mut active = tenant.active.with(fault);
            active.select.percentage = spec.percentage.clone();
            tenant.active = Arc::new(active);
            tenant.spec = spec.clone();
            Some(tenant.active.clone())
        });
        let changed = changed.ok_or_else(|| Refusal::State(format!("fault `{}` is gone", spec.name)))?;
        compiler.put(self.inner.plane.cell(), &self.entry.id, changed);
        drop(compiler);
        self.tell(format!("fault `{}` changed: {}", spec.name, spec.summary));
        Ok(())
    }

    /// Takes a fault out; what it holds goes on. Nothing happens if it is gone.
    pub fn remove(&self, serial: u64) {
        let mut compiler = self.inner.compiler();
        let name = self.entry.tenants(|tenants| {
            let tenant = tenants.iter_mut().find(|tenant| tenant.active.serial == serial && !tenant.gone)?;
            tenant.gone = true;
            Some(tenant.spec.name.clone())
        });
        compiler.take(self.inner.plane.cell(), &self.entry.id, serial);
        drop(compiler);
        if let Some(name) = name {
            self.tell(format!("fault `{name}` removed"));
        }
    }

    fn alive(&self) -> Result<Arc<squall_core::cell::Switch>, Refusal> {
        let switch = self.entry.switch().filter(|_| self.entry.ending().is_none());
        switch.ok_or_else(|| Refusal::State(format!("`{}` is over", self.entry.id)))
    }

    fn identity(&self, switch: Arc<squall_core::cell::Switch>) -> crate::compile::Identity {
        crate::compile::Identity { id: self.entry.id.clone(), seed: self.entry.seed, switch, observed: false }
    }

    fn tell(&self, text: String) {
        self.inner.tell(&self.entry, "fault", text);
    }
}

/// A scenario that brings nothing and never ends by itself.
pub(crate) fn scenario(name: &str, title: &str) -> Checked {
    Checked {
        name: name.into(),
        title: Some(title.into()),
        owner: None,
        hypothesis: None,
        environments: Vec::new(),
        tags: Vec::new(),
        teaches: None,
        expected: None,
        source: None,
        verified_on: None,
        seed: None,
        max_duration: Some(squall_core::unit::Duration::MAX.0),
        max_percentage: None,
        max_active_faults: None,
        on_abort: OnAbort::Release,
        release_over: 0,
        runbook: None,
        parameters: Vec::new(),
        services: Vec::new(),
        proxies: Vec::new(),
        workloads: Vec::new(),
        faults: Vec::new(),
        steps: Vec::new(),
        before: Default::default(),
        guards: Vec::new(),
        probes: Vec::new(),
        expects: Vec::new(),
        forecast: None,
        approvals_required: 0,
        digest: String::new(),
        canonical: format!("{{\"name\":\"{name}\"}}"),
    }
}
