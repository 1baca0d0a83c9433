//! Guards on a threshold: a metric over a sliding window, beyond its bound for as long as `for` says.

use squall_core::scenario::{GuardAction, GuardCondition, GuardSpec, Metric};
use squall_core::time::Time;

use crate::metrics::{Figures, Sliding, show, word};

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
    use crate::trial::guard;
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
    fn no_traffic_is_a_throughput_of_nothing_once_the_window_is_full() {
        let mut guard = Guard::new(&guard("alive", Metric::Throughput, 0.0).below(5.0).spec(), 0).unwrap();
        assert_eq!(guard.look(0, &requests(0, 0)), None);
        assert_eq!(guard.look(9 * SECOND, &requests(0, 0)), None);
        assert!(guard.look(10 * SECOND, &requests(0, 0)).is_some());
    }
}
