//! Guards: what is held against a limit while an experiment runs, and what they say of it. Those on what proxies count as
//! it happens fire in the data path ([`wire`]); here they are told, and the others are looked at from time to time.

pub(crate) mod wire;

use std::sync::Arc;

use squall_core::scenario::{GuardAction, GuardCondition, GuardSpec, Metric};
use squall_core::time::{Now, Time};
use squall_core::tripwire::{Source, Tripwire};

use crate::metrics::{Figures, Sliding, Watch, is_latency, show, word};
use crate::schedule::seconds;

/// A reading that is this near to its bound, 1 being the bound, is a near miss.
const NEAR: f64 = 0.8;

/// A guard at work.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) action: GuardAction,
    condition: GuardCondition,
    /// Index of its watch.
    pub(crate) watch: usize,
    /// What fires it in the data path; none: looks from time to time do.
    wire: Option<Arc<Tripwire>>,
    /// That counts requests.
    counts_requests: bool,
    over: Time,
    hold: Time,
    min_events: u64,
    sliding: Sliding,
    since: Option<Time>,
    told: bool,
    /// How often it fired.
    pub(crate) fired: u64,
    /// The latest reading.
    pub(crate) last: Option<f64>,
    /// The reading farthest towards its bound or beyond.
    pub(crate) worst: Option<f64>,
    /// A near miss was told.
    near: bool,
}

impl Guard {
    pub(crate) fn new(spec: &GuardSpec, watch: usize) -> Guard {
        Guard {
            name: spec.name.clone(),
            action: spec.action,
            condition: spec.condition.clone(),
            watch,
            wire: None,
            counts_requests: false,
            over: spec.over,
            hold: spec.hold,
            min_events: spec.min_events,
            sliding: Sliding::new(spec.over),
            since: None,
            told: false,
            fired: 0,
            last: None,
            worst: None,
            near: false,
        }
    }

    /// From now on this fires it in the data path.
    pub(crate) fn lay(&mut self, wire: Arc<Tripwire>) {
        self.counts_requests = wire.source() == Source::Requests;
        self.wire = Some(wire);
    }

    /// What it says if it has fired in the data path, and when that was, monotonic ns: once, until its condition has been
    /// false.
    pub(crate) fn tripped(&mut self) -> Option<(String, Time)> {
        let wire = self.wire.clone()?;
        let at = wire.tripped()?;
        if self.told {
            return None;
        }
        let (name, fatal, bound) = (&self.name, wire.fatal(), self.bound());
        let text = match self.condition {
            GuardCondition::Threshold { metric, .. } if is_latency(metric) => {
                let (word, share) = (word(metric), fatal * 100.0);
                format!("guard `{name}`: {word} is beyond its {bound}: {share:.2} % of the answers were slower")
            }
            _ => format!("guard `{name}`: {} is {}, {bound}", self.metric(), self.show(fatal)),
        };
        self.fired += 1;
        match self.condition {
            GuardCondition::Harm(_) => wire.rest(), // what it allows begins anew
            _ => self.told = true,
        }
        self.read_wire(&wire, None);
        Some((text, at))
    }

    /// Looks at the figures of its watch. Gives what it says when it fires: once, until its condition has been false.
    pub(crate) fn look(&mut self, now: Now, figures: &Figures) -> Option<String> {
        if let Some(wire) = self.wire.clone() {
            wire.look(now);
            self.read_wire(&wire, Some(now));
            if let Some((text, _)) = self.tripped() {
                return Some(text);
            }
        }
        let above = self.wire.as_ref().map(|wire| wire.since().is_some());
        let GuardCondition::Threshold { metric, above: upper, below: lower } = self.condition else {
            if above == Some(false) {
                self.rest();
            }
            return None;
        };
        let value = self.value(now.mono, metric, figures);
        self.last = value.or(self.last);
        if let Some(value) = value
            && self.worst.is_none_or(|worst| if upper.is_some() { value > worst } else { value < worst })
        {
            self.worst = Some(value);
        }
        let is_above = above.unwrap_or_else(|| value.zip(upper).is_some_and(|(value, bound)| value > bound));
        let is_below = value.zip(lower).is_some_and(|(value, bound)| value < bound);
        if !is_above && !is_below {
            self.rest();
            return None;
        }
        if self.wire.is_some() && !is_below {
            return None; // that is the wire's
        }
        let since = *self.since.get_or_insert(now.mono);
        if self.told || now.mono.saturating_sub(since) < self.hold {
            return None;
        }
        self.told = true;
        self.fired += 1;
        let value = value.map_or_else(String::new, |value| show(metric, value));
        Some(format!("guard `{}`: {} is {value}, {}", self.name, word(metric), self.bound()))
    }

    /// Its metric over the window; none: too few events for an opinion.
    fn value(&mut self, now: Time, metric: Metric, figures: &Figures) -> Option<f64> {
        let (window, length) = self.sliding.look(now, figures);
        let known = match window.events(metric) {
            Some(events) => events >= self.min_events,
            None => matches!(metric, Metric::ActiveConnections | Metric::Waiting) || self.sliding.is_full(length),
        };
        known.then(|| window.value(metric, length)).flatten()
    }

    /// Burn and harm have no figures but the wire's own.
    fn read_wire(&mut self, wire: &Tripwire, now: Option<Now>) {
        if !matches!(self.condition, GuardCondition::Threshold { .. }) {
            self.worst = wire.worst().or(self.worst);
            self.last = now.and_then(|now| wire.read(now)).or(self.last);
        }
    }

    /// Whether its condition does not hold at this moment, as far as anybody has looked.
    pub(crate) fn is_clean(&self) -> bool {
        let tripped = self.wire.as_ref().is_some_and(|wire| wire.since().is_some() || wire.tripped().is_some());
        !tripped && self.since.is_none() && !self.told
    }

    /// How far its worst reading came towards its bound: 1 at the bound, more beyond it; none: nothing can be near a bound of 0.
    pub(crate) fn closest(&self) -> Option<f64> {
        let worst = self.worst?;
        #[allow(clippy::cast_precision_loss)]
        let (above, below) = match self.condition {
            GuardCondition::Threshold { above, below, .. } => (above, below),
            GuardCondition::Burn(rate) => (Some(rate), None),
            GuardCondition::Harm(allowed) => (Some(allowed as f64), None),
        };
        let above = above.filter(|bound| *bound > 0.0).map(|bound| worst / bound);
        let below = below.filter(|_| worst > 0.0).map(|bound| bound / worst);
        above.into_iter().chain(below).reduce(f64::max)
    }

    /// Whether it came near its bound, or beyond it for a while, and did not fire.
    pub(crate) fn is_near_miss(&self) -> bool {
        self.fired == 0 && self.closest().is_some_and(|closest| closest >= NEAR)
    }

    /// What it says when it comes near for the first time.
    pub(crate) fn near(&mut self) -> Option<String> {
        if self.near || !self.is_near_miss() {
            return None;
        }
        self.near = true;
        let (name, metric) = (&self.name, self.metric());
        let worst = self.worst.map_or_else(String::new, |worst| self.show(worst));
        let percent = self.closest().unwrap_or_default() * 100.0;
        Some(format!("guard `{name}` came near: {metric} is {worst}, {percent:.0} % of its {}", self.bound()))
    }

    /// Starts anew: after a pause nothing of what came before counts, but for harm, which is allowed for the whole run. What
    /// has fired in the data path since is told all the same.
    pub(crate) fn reset(&mut self, now: Now) {
        self.sliding.clear();
        if let Some(wire) = &self.wire {
            wire.forget(now);
        }
        self.rest();
    }

    /// Starts anew after it was looked away from, whatever has fired meanwhile.
    pub(crate) fn settle(&mut self, now: Now) {
        self.told = true;
        self.reset(now);
    }

    /// What it watches, in one word.
    pub(crate) fn metric(&self) -> &'static str {
        match self.condition {
            GuardCondition::Threshold { metric, .. } => word(metric),
            GuardCondition::Burn(_) => "burn",
            GuardCondition::Harm(_) => "harm",
        }
    }

    /// What it counts there, in one word.
    pub(crate) fn label(&self, watch: &Watch) -> &'static str {
        match self.condition {
            GuardCondition::Threshold { metric, .. } => watch.label(metric),
            GuardCondition::Burn(_) | GuardCondition::Harm(_) if self.counts_requests => "request",
            GuardCondition::Burn(_) | GuardCondition::Harm(_) => "connection",
        }
    }

    /// A reading in words.
    pub(crate) fn show(&self, value: f64) -> String {
        match self.condition {
            GuardCondition::Threshold { metric, .. } => show(metric, value),
            GuardCondition::Burn(_) => format!("{value:.1}x"),
            GuardCondition::Harm(_) => format!("{value:.0}"),
        }
    }

    /// Its bound in words.
    pub(crate) fn bound(&self) -> String {
        match self.condition {
            GuardCondition::Threshold { metric, above, below } => {
                let above = above.map(|bound| format!("above {}", show(metric, bound)));
                let below = below.map(|bound| format!("below {}", show(metric, bound)));
                let bounds: Vec<String> = above.into_iter().chain(below).collect();
                format!("limit {}", bounds.join(" or "))
            }
            GuardCondition::Burn(rate) => {
                let short = self.over / squall_core::tripwire::SHORTER;
                format!("limit {rate}x over {} s and {:.3} s", seconds(self.over), seconds(short))
            }
            GuardCondition::Harm(allowed) => format!("limit {allowed}"),
        }
    }

    fn rest(&mut self) {
        self.since = None;
        if std::mem::take(&mut self.told)
            && let Some(wire) = &self.wire
        {
            wire.rest();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::trial::{guard, latencies};
    use squall_core::time::SECOND;

    fn at(mono: Time) -> Now {
        Now { mono, boot: mono }
    }

    fn requests(ok: u64, failed: u64) -> Figures {
        Figures { ok, failed, ..Default::default() }
    }

    #[test]
    fn it_fires_once_after_the_condition_has_held_long_enough() {
        let mut guard = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).hold(2).spec(), 0);
        let mut fired = Vec::new();
        for second in 0..10 {
            if guard.look(at(second * SECOND), &requests(second * 50, second * 50)).is_some() {
                fired.push(second);
            }
        }
        assert_eq!(fired, [3]); // first events at 1, held until 3
        assert_eq!(guard.fired, 1);
    }

    #[test]
    fn too_few_events_are_no_opinion() {
        let mut guard = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).spec(), 0);
        assert_eq!(guard.look(at(0), &requests(0, 0)), None);
        assert_eq!(guard.look(at(SECOND), &requests(0, 19)), None);
        assert!(
            guard
                .look(at(2 * SECOND), &requests(0, 20))
                .unwrap()
                .contains("error_rate is 100.00 %, limit above 20.00 %")
        );
    }

    #[test]
    fn a_condition_that_goes_away_starts_the_wait_anew() {
        let mut guard = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).hold(3).over(1).spec(), 0);
        let (mut ok, mut failed) = (0, 0);
        for second in 0..30 {
            if second % 3 == 0 {
                ok += 100
            } else {
                failed += 100
            }
            assert_eq!(guard.look(at(second * SECOND), &requests(ok, failed)), None, "at {second}");
        }
    }

    #[test]
    fn a_near_miss_is_told_once_and_is_none_once_it_has_fired() {
        let mut near = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).over(1).spec(), 0);
        let (mut ok, mut failed, mut told) = (0, 0, Vec::new());
        let mut second = |guard: &mut Guard, share: u64| {
            (ok, failed) = (ok + 100 - share, failed + share);
            let fired = guard.look(at(told.len() as u64 * SECOND), &requests(ok, failed)).is_some();
            told.push((share, fired, guard.near()));
        };
        [0, 0, 15, 17, 19].into_iter().for_each(|share| second(&mut near, share));
        assert!(near.is_near_miss());
        second(&mut near, 90);
        assert!(!near.is_near_miss() && near.fired == 1);
        let said: Vec<(u64, &str)> = told.iter().filter_map(|(at, _, text)| Some((*at, text.as_deref()?))).collect();
        assert_eq!(said, [(17, "guard `errors` came near: error_rate is 17.00 %, 85 % of its limit above 20.00 %")]);
    }

    #[test]
    fn nothing_is_near_a_bound_of_nothing_and_a_lower_bound_is_neared_from_above() {
        let mut none = Guard::new(&guard("errors", Metric::ErrorRate, 0.0).spec(), 0);
        none.look(at(0), &requests(0, 0));
        none.look(at(SECOND), &requests(100, 0));
        assert_eq!((none.worst, none.closest(), none.is_near_miss()), (Some(0.0), None, false));
        let mut slow = Guard::new(&guard("alive", Metric::Throughput, 0.0).below(10.0).spec(), 0);
        let answered = |n| Figures { latency: latencies(n, 1), ..requests(n, 0) };
        slow.look(at(0), &answered(0));
        slow.look(at(10 * SECOND), &answered(110));
        assert!(slow.is_near_miss() && slow.near().unwrap().contains("91 % of its limit below 10"), "{slow:?}");
    }

    #[test]
    fn no_traffic_is_a_throughput_of_nothing_once_the_window_is_full() {
        let mut guard = Guard::new(&guard("alive", Metric::Throughput, 0.0).below(5.0).spec(), 0);
        assert_eq!(guard.look(at(0), &requests(0, 0)), None);
        assert_eq!(guard.look(at(9 * SECOND), &requests(0, 0)), None);
        assert!(guard.look(at(10 * SECOND), &requests(0, 0)).is_some());
    }
}
