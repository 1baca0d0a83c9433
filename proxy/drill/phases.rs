//! What a watch has seen in each phase of a run: before the first fault, while faults act, after the last one, and in all.

use squall_core::scenario::{During, ExpectSpec, Metric};
use squall_core::time::{MILLI, SECOND, Time};

use crate::metrics::{Figures, Sliding, show, word};
use crate::schedule::Schedule;
use crate::verdict::Outcome;

/// Fewer events than this are too few for an expectation.
pub(crate) const MIN_EVENTS: u64 = 20;

/// A stretch of a run, opened and closed with the timeline: pauses are in none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter {
    total: Figures,
    peak: u64,
    length: Time,
    open: Option<(Time, Figures)>,
}

impl Meter {
    /// Opens or closes the stretch at this reading.
    fn set(&mut self, open: bool, now: Time, figures: &Figures) {
        if open {
            self.peak = self.peak.max(figures.active);
        }
        if open == self.open.is_some() {
            return;
        }
        match self.open.take() {
            None => self.open = Some((now, figures.clone())),
            Some((since, before)) => {
                self.total.add(&figures.since(&before));
                self.length += now.saturating_sub(since);
            }
        }
    }

    /// A metric over what has been closed; for connections open, the most at one moment.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::ActiveConnections => (self.length > 0).then_some(self.peak as f64),
            _ => self.total.value(metric, self.length),
        }
    }

    fn has_enough(&self, metric: Metric) -> bool {
        self.length > 0 && self.total.events(metric).is_none_or(|events| events >= MIN_EVENTS)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// On the timeline, ns.
    pub(crate) elapsed: Time,
    /// Its age, ns: with what the timeline stood for steps.
    pub(crate) lived: Time,
    /// Its age when the last fault had ended; none: none has an end, or it has not come.
    pub(crate) ended: Option<Time>,
}

/// The phases of one watch.
#[derive(Clone, Debug)]
pub(crate) struct Phases {
    pub(crate) baseline: Meter,
    pub(crate) faults: Meter,
    pub(crate) recovery: Meter,
    pub(crate) all: Meter,
    second: Sliding,
    /// From the end of the last fault until the first second that was as good as the baseline, ns. What people take for
    /// a step in that time counts.
    pub(crate) recovered: Option<Time>,
    /// How long that was watched, ns.
    since_end: Option<Time>,
}

impl Default for Phases {
    fn default() -> Phases {
        Phases {
            baseline: Meter::default(),
            faults: Meter::default(),
            recovery: Meter::default(),
            all: Meter::default(),
            second: Sliding::new(SECOND),
            recovered: None,
            since_end: None,
        }
    }
}

impl Phases {
    /// Takes a reading in. `place`: none while the timeline does not run.
    pub(crate) fn look(&mut self, schedule: &Schedule, place: Option<Place>, now: Time, figures: &Figures) {
        let last_end = schedule.last_end;
        let is_past = |at: Option<Time>| place.zip(at).is_some_and(|(place, at)| place.elapsed >= at);
        let begun = is_past(Some(schedule.first_open));
        let ended = is_past(last_end);
        self.baseline.set(place.is_some() && !begun, now, figures);
        self.faults.set(begun && !ended, now, figures);
        self.recovery.set(ended, now, figures);
        self.all.set(place.is_some(), now, figures);
        let Some((place, last_end)) = place.zip(last_end) else {
            self.second.clear();
            return;
        };
        self.since_end = place.ended.map(|ended| place.lived.saturating_sub(ended));
        if self.recovered.is_some() || place.elapsed.saturating_add(2 * SECOND) < last_end {
            return;
        }
        let (second, length) = self.second.look(now, figures);
        if ended && self.second.is_full(length) && self.is_as_good(&second, length) {
            self.recovered = self.since_end;
        }
    }

    /// One second's p99 at most 1.5 × baseline + 5 ms, and its error rate at most one point above.
    #[allow(clippy::cast_precision_loss)]
    fn is_as_good(&self, second: &Figures, length: Time) -> bool {
        let p99 =
            |of: Option<f64>, base: Option<f64>| of.zip(base).is_some_and(|(v, b)| v <= 1.5 * b + 5.0 * MILLI as f64);
        let errors = second.value(Metric::ErrorRate, length).unwrap_or(0.0);
        p99(second.value(Metric::P99, length), self.baseline.value(Metric::P99))
            && errors <= self.baseline.value(Metric::ErrorRate).unwrap_or(0.0) + 0.01
    }

    /// Holds an expectation against what was seen; `elapsed` is where the timeline ended.
    pub(crate) fn judge(&self, expect: &ExpectSpec, schedule: &Schedule, elapsed: Time) -> (Option<f64>, Outcome) {
        if expect.metric == Metric::Recovery {
            return self.judge_recovery(expect, schedule, elapsed);
        }
        let meter = match expect.during {
            During::Faults => &self.faults,
            During::Recovery => &self.recovery,
            During::All => &self.all,
        };
        let metric = expect.metric;
        let value = meter.value(metric);
        let Some(measured) = value.filter(|_| meter.has_enough(metric)) else {
            let events = meter.total.events(metric).unwrap_or(0);
            return (value, Outcome::TooFew(format!("{}: {events} events are too few to tell", word(metric))));
        };
        (value, compare(expect, measured))
    }

    #[allow(clippy::cast_precision_loss)]
    fn judge_recovery(&self, expect: &ExpectSpec, schedule: &Schedule, elapsed: Time) -> (Option<f64>, Outcome) {
        let few = |why: &str| (None, Outcome::TooFew(format!("recovery: {why}")));
        let Some(on_timeline) = schedule.last_end.and_then(|end| elapsed.checked_sub(end)) else {
            return few("the faults had not ended");
        };
        let since_end = self.since_end.unwrap_or(0).max(on_timeline);
        if !self.baseline.has_enough(Metric::P99) {
            return few("too little happened before the first fault to tell what good looks like");
        }
        if let Some(recovered) = self.recovered {
            return (Some(recovered as f64), compare(expect, recovered as f64));
        }
        match expect.below {
            Some(below) if since_end as f64 >= below => {
                (None, Outcome::Missed(format!("recovery: not back within {}", show(Metric::Recovery, below))))
            }
            _ => few("it ended before that could be seen"),
        }
    }
}

fn compare(expect: &ExpectSpec, value: f64) -> Outcome {
    let metric = expect.metric;
    let say =
        |than: &str, bound| format!("{} was {}, not {than} {}", word(metric), show(metric, value), show(metric, bound));
    if let Some(below) = expect.below.filter(|below| value >= *below) {
        return Outcome::Missed(say("below", below));
    }
    if let Some(above) = expect.above.filter(|above| value <= *above) {
        return Outcome::Missed(say("above", above));
    }
    Outcome::Met
}
