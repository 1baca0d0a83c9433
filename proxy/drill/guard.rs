//! Guards on a threshold: a metric over a sliding window, beyond its bound for as long as `for` says.

use squall_core::scenario::{GuardAction, GuardCondition, GuardSpec, Metric};
use squall_core::time::Time;

use crate::metrics::{Figures, Sliding, show, word};

/// A reading that is this near to its bound, 1 being the bound, is a near miss.
const NEAR: f64 = 0.8;

/// A guard at work.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) name: String,
    pub(crate) action: GuardAction,
    pub(crate) metric: Metric,
    /// Index of its watch.
    pub(crate) watch: usize,
    above: Option<f64>,
    below: Option<f64>,
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
    /// A guard on a threshold; none for the other conditions, which are refused before.
    pub(crate) fn new(spec: &GuardSpec, watch: usize) -> Option<Guard> {
        let GuardCondition::Threshold { metric, above, below } = spec.condition else { return None };
        Some(Guard {
            name: spec.name.clone(),
            action: spec.action,
            metric,
            watch,
            above,
            below,
            hold: spec.hold,
            min_events: spec.min_events,
            sliding: Sliding::new(spec.over),
            since: None,
            told: false,
            fired: 0,
            last: None,
            worst: None,
            near: false,
        })
    }

    /// Looks at the figures of its watch. Gives what it says when it fires: once, until its condition has been false.
    pub(crate) fn look(&mut self, now: Time, figures: &Figures) -> Option<String> {
        let (window, length) = self.sliding.look(now, figures);
        let known = match window.events(self.metric) {
            Some(events) => events >= self.min_events,
            None => self.metric == Metric::ActiveConnections || self.sliding.is_full(length),
        };
        let value = known.then(|| window.value(self.metric, length)).flatten();
        let Some(value) = value else {
            self.rest();
            return None;
        };
        self.last = Some(value);
        let worse = |worst: f64| if self.above.is_some() { value > worst } else { value < worst };
        if self.worst.is_none_or(worse) {
            self.worst = Some(value);
        }
        if !self.above.is_some_and(|bound| value > bound) && !self.below.is_some_and(|bound| value < bound) {
            self.rest();
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if self.told || now.saturating_sub(since) < self.hold {
            return None;
        }
        self.told = true;
        self.fired += 1;
        Some(format!("guard `{}`: {} is {}, {}", self.name, word(self.metric), show(self.metric, value), self.bound()))
    }

    /// How far its worst reading came towards its bound: 1 at the bound, more beyond it; none: nothing can be near a bound of 0.
    pub(crate) fn closest(&self) -> Option<f64> {
        let worst = self.worst?;
        let above = self.above.filter(|bound| *bound > 0.0).map(|bound| worst / bound);
        let below = self.below.filter(|_| worst > 0.0).map(|bound| bound / worst);
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
        let (name, metric) = (&self.name, self.metric);
        let worst = self.worst.map_or_else(String::new, |worst| show(metric, worst));
        let percent = self.closest().unwrap_or_default() * 100.0;
        Some(format!("guard `{name}` came near: {} is {worst}, {percent:.0} % of its {}", word(metric), self.bound()))
    }

    /// Starts anew: after a pause nothing of what came before counts.
    pub(crate) fn reset(&mut self) {
        self.sliding.clear();
        self.rest();
    }

    /// Its bound in words.
    pub(crate) fn bound(&self) -> String {
        let above = self.above.map(|bound| format!("above {}", show(self.metric, bound)));
        let below = self.below.map(|bound| format!("below {}", show(self.metric, bound)));
        let bounds: Vec<String> = above.into_iter().chain(below).collect();
        format!("limit {}", bounds.join(" or "))
    }

    fn rest(&mut self) {
        self.since = None;
        self.told = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::trial::{guard, latencies};
    use squall_core::time::SECOND;

    fn requests(ok: u64, failed: u64) -> Figures {
        Figures { ok, failed, ..Default::default() }
    }

    #[test]
    fn it_fires_once_after_the_condition_has_held_long_enough() {
        let mut guard = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).hold(2).spec(), 0).unwrap();
        let mut fired = Vec::new();
        for second in 0..10 {
            if guard.look(second * SECOND, &requests(second * 50, second * 50)).is_some() {
                fired.push(second);
            }
        }
        assert_eq!(fired, [3]); // first events at 1, held until 3
        assert_eq!(guard.fired, 1);
    }

    #[test]
    fn too_few_events_are_no_opinion() {
        let mut guard = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).spec(), 0).unwrap();
        assert_eq!(guard.look(0, &requests(0, 0)), None);
        assert_eq!(guard.look(SECOND, &requests(0, 19)), None);
        assert!(
            guard.look(2 * SECOND, &requests(0, 20)).unwrap().contains("error_rate is 100.00 %, limit above 20.00 %")
        );
    }

    #[test]
    fn a_condition_that_goes_away_starts_the_wait_anew() {
        let mut guard = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).hold(3).over(1).spec(), 0).unwrap();
        let (mut ok, mut failed) = (0, 0);
        for second in 0..30 {
            if second % 3 == 0 {
                ok += 100
            } else {
                failed += 100
            }
            assert_eq!(guard.look(second * SECOND, &requests(ok, failed)), None, "at {second}");
        }
    }

    #[test]
    fn a_near_miss_is_told_once_and_is_none_once_it_has_fired() {
        let mut near = Guard::new(&guard("errors", Metric::ErrorRate, 0.2).over(1).spec(), 0).unwrap();
        let (mut ok, mut failed, mut told) = (0, 0, Vec::new());
        let mut second = |guard: &mut Guard, share: u64| {
            (ok, failed) = (ok + 100 - share, failed + share);
            let fired = guard.look(told.len() as u64 * SECOND, &requests(ok, failed)).is_some();
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
        let mut none = Guard::new(&guard("errors", Metric::ErrorRate, 0.0).spec(), 0).unwrap();
        none.look(0, &requests(0, 0));
        none.look(SECOND, &requests(100, 0));
        assert_eq!((none.worst, none.closest(), none.is_near_miss()), (Some(0.0), None, false));
        let mut slow = Guard::new(&guard("alive", Metric::Throughput, 0.0).below(10.0).spec(), 0).unwrap();
        let answered = |n| Figures { latency: latencies(n, 1), ..requests(n, 0) };
        slow.look(0, &answered(0));
        slow.look(10 * SECOND, &answered(110));
        assert!(slow.is_near_miss() && slow.near().unwrap().contains("91 % of its limit below 10"), "{slow:?}");
    }

    #[test]
    fn no_traffic_is_a_throughput_of_nothing_once_the_window_is_full() {
        let mut guard = Guard::new(&guard("alive", Metric::Throughput, 0.0).below(5.0).spec(), 0).unwrap();
        assert_eq!(guard.look(0, &requests(0, 0)), None);
        assert_eq!(guard.look(9 * SECOND, &requests(0, 0)), None);
        assert!(guard.look(10 * SECOND, &requests(0, 0)).is_some());
    }
}
