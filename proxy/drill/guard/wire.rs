//! What becomes of a guard in the data path: which events count, how much is too much, and whom it switches off.

use std::sync::Arc;

use squall_core::cell::{Bell, Switch};
use squall_core::scenario::{GuardAction, GuardCondition, GuardSpec, Metric};
use squall_core::time::Time;
use squall_core::tripwire::{Flip, Guarding, Limit, Source, Tripwire, budget};

use crate::metrics::{Watch, beyond_quantile};

/// What of a guard the workers can decide.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wiring {
    pub(crate) source: Source,
    pub(crate) limit: Limit,
    /// Where it counts: on proxies, or what workloads feel.
    pub(crate) proxies: Vec<Arc<str>>,
    pub(crate) workloads: Vec<usize>,
}

/// What of a guard the workers can decide; none: only a look at figures can. `objective`: of the slo of its proxies.
pub(crate) fn wiring(spec: &GuardSpec, watch: &Watch, objective: Option<f64>) -> Option<Wiring> {
    let units = if watch.http { Source::Requests } else { Source::Connections };
    let share = |above| Limit::Share { above, min_events: spec.min_events };
    // harm on a proxy that is named is that proxy's, and so is its budget; else load, where there is any, tells what is felt
    let is_proxys = match spec.condition {
        GuardCondition::Threshold { metric: Metric::ConnectionErrorRate, .. } | GuardCondition::Burn(_) => true,
        GuardCondition::Harm(_) => spec.proxy.is_some(),
        GuardCondition::Threshold { .. } => false,
    };
    let is_felt = !is_proxys && !watch.workloads.is_empty();
    let (source, limit) = match spec.condition {
        GuardCondition::Burn(rate) => (units, Limit::Burn { rate, budget: budget(objective?) }),
        GuardCondition::Harm(allowed) => (if is_felt { Source::Requests } else { units }, Limit::Harm(allowed)),
        GuardCondition::Threshold { metric: Metric::ConnectionErrorRate, above, .. } => {
            (Source::Connections, share(above?))
        }
        GuardCondition::Threshold { metric: Metric::ErrorRate, above, .. } => (Source::Requests, share(above?)),
        GuardCondition::Threshold { metric, above, .. } => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a duration, as it was parsed
            (Source::Answers(above? as Time), share(beyond_quantile(metric)?))
        }
    };
    let (proxies, workloads) = match is_felt {
        true => (Vec::new(), watch.workloads.clone()),
        false => (watch.proxies.clone(), Vec::new()),
    };
    Some(Wiring { source, limit, proxies, workloads })
}

/// Who is switched off, and who is told.
pub(crate) struct Laying<'a> {
    pub(crate) switch: &'a Arc<Switch>,
    /// When the first fault opens, ns on the timeline.
    pub(crate) from: Time,
    /// Nothing acts: guards only say what they would have done.
    pub(crate) observed: bool,
    pub(crate) bell: Bell,
    /// How many workers count, or workloads, if these are more.
    pub(crate) lanes: usize,
}

impl Laying<'_> {
    /// The guard in the data path.
    pub(crate) fn lay(&self, spec: &GuardSpec, wiring: &Wiring) -> Arc<Tripwire> {
        let flip = match spec.action {
            GuardAction::Abort if !self.observed => Flip::End,
            GuardAction::Pause if !self.observed => Flip::Pause,
            _ => Flip::Nothing,
        };
        let guarding = Guarding {
            source: wiring.source,
            limit: wiring.limit,
            over: spec.over,
            hold: spec.hold,
            flip,
            switch: self.switch.clone(),
            from: self.from,
            bell: self.bell.clone(),
        };
        Arc::new(Tripwire::new(guarding, self.lanes))
    }
}
