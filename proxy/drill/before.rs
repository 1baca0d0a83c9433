//! `[[before]]`: the steady state, watched under load before anything is injected.

use serde::Serialize;
use squall_core::scenario::{BeforeSpec, Metric};
use squall_core::time::Time;

use crate::metrics::{Figures, Watch, show, word};
use crate::steps::length;

/// What must hold before the timeline begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    conditions: Vec<Condition>,
    /// Since the first look.
    stretch: Option<Stretch>,
}

#[derive(Clone, Debug)]
struct Condition {
    spec: BeforeSpec,
    of: Of,
    seen: Option<Seen>,
}

/// What it is about.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// Index of its watch.
    Watch(usize),
    /// Index of its probe.
    Probe(usize),
}

/// What was found, and whether that is as it must be.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    value: Option<f64>,
    holds: Result<(), String>,
}

/// A stretch that is being watched: since when, from which figures, and how many connections were open.
#[derive(Clone, Debug)]
struct Stretch {
    since: Time,
    first: Vec<Option<Figures>>,
    active: Vec<(u64, u64)>,
}

/// A condition with what was found, for the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BeforeStory {
    /// The metric, or `probe`.
    pub(crate) what: &'static str,
    /// Where a metric comes from, or the probe's name.
    pub(crate) source: String,
    /// In words.
    pub(crate) bound: String,
    /// In the unit of the metric.
    pub(crate) value: Option<f64>,
    /// In words.
    pub(crate) shown: String,
    /// `held`, `did_not_hold`, `not_seen`.
    pub(crate) outcome: &'static str,
}

impl Before {
    /// `watches`: the watch of each condition on a metric; `probes`: their names by index.
    pub(crate) fn new(specs: &[BeforeSpec], watches: &[usize], probes: &[&str]) -> Before {
        let conditions = specs.iter().enumerate().map(|(n, spec)| {
            let of = match spec {
                BeforeSpec::Metric { .. } => Of::Watch(watches.get(n).copied().unwrap_or_default()),
                BeforeSpec::Probe(name) => {
                    Of::Probe(probes.iter().position(|known| known == name).unwrap_or(usize::MAX))
                }
            };
            Condition { spec: spec.clone(), of, seen: None }
        });
        Before { conditions: conditions.collect(), stretch: None }
    }

    /// Whether a probe has to pass.
    pub(crate) fn asks(&self, probe: usize) -> bool {
        self.conditions.iter().any(|condition| matches!(condition.of, Of::Probe(own) if own == probe))
    }

    /// Whether any metric is watched.
    pub(crate) fn watches(&self) -> bool {
        self.conditions.iter().any(|condition| matches!(condition.of, Of::Watch(_)))
    }

    /// What is to hold, in words; none: nothing was asked for.
    pub(crate) fn told(&self) -> Option<String> {
        let told: Vec<String> = self.conditions.iter().map(|condition| condition.spec.told()).collect();
        (!told.is_empty()).then(|| format!("must hold before anything is injected: {}", told.join(", ")))
    }

    /// Takes the result of a probe's check in.
    pub(crate) fn take(&mut self, probe: usize, passed: &Result<(), String>) {
        for condition in &mut self.conditions {
            if matches!(condition.of, Of::Probe(own) if own == probe) && condition.seen.is_none() {
                let BeforeSpec::Probe(name) = &condition.spec else { continue };
                let holds = passed.clone().map_err(|why| format!("probe `{name}` failed: {why}"));
                condition.seen = Some(Seen { value: None, holds });
            }
        }
    }

    /// Looks at the figures of all watches.
    pub(crate) fn look(&mut self, now: Time, figures: &[Option<Figures>]) {
        let counts = || figures.iter().map(|figures| figures.as_ref().map_or(0, |figures| figures.active));
        let stretch = self.stretch.get_or_insert_with(|| Stretch {
            since: now,
            first: figures.to_vec(),
            active: counts().map(|active| (active, active)).collect(),
        });
        for ((least, most), active) in stretch.active.iter_mut().zip(counts()) {
            (*least, *most) = ((*least).min(active), (*most).max(active));
        }
        let length = now.saturating_sub(stretch.since);
        for condition in self.conditions.iter_mut().filter(|condition| condition.seen.is_none()) {
            let (BeforeSpec::Metric { metric, below, above, watched, .. }, Of::Watch(watch)) =
                (&condition.spec, condition.of)
            else {
                continue;
            };
            if length < *watched {
                continue;
            }
            let pair = figures.get(watch).cloned().flatten().zip(stretch.first.get(watch).cloned().flatten());
            let active = stretch.active.get(watch).copied().unwrap_or_default();
            condition.seen = Some(judge(*metric, *below, *above, length, pair, active));
        }
    }

    /// Whether everything has been found out.
    pub(crate) fn is_settled(&self) -> bool {
        self.conditions.iter().all(|condition| condition.seen.is_some())
    }

    /// What does not hold, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        let seen = self.conditions.iter().filter_map(|condition| condition.seen.as_ref());
        seen.filter_map(|seen| seen.holds.clone().err()).collect()
    }

    /// For the report.
    pub(crate) fn story(&self, watches: &[Watch]) -> Vec<BeforeStory> {
        let story = self.conditions.iter().map(|condition| {
            let value = condition.seen.as_ref().and_then(|seen| seen.value);
            let (what, source, shown) = match (&condition.spec, condition.of) {
                (BeforeSpec::Metric { metric, .. }, Of::Watch(watch)) => {
                    let source = watches.get(watch).map_or("", |watch| watch.label(*metric));
                    (word(*metric), source.to_owned(), value.map(|value| show(*metric, value)))
                }
                (BeforeSpec::Probe(name), _) => ("probe", name.clone(), None),
                (BeforeSpec::Metric { metric, .. }, Of::Probe(_)) => (word(*metric), String::new(), None),
            };
            let (outcome, why) = match condition.seen.as_ref().map(|seen| &seen.holds) {
                None => ("not_seen", "not seen to the end"),
                Some(Ok(())) => ("held", "passed"),
                Some(Err(why)) => ("did_not_hold", why.as_str()),
            };
            let shown = shown.unwrap_or_else(|| why.to_owned());
            BeforeStory { what, source, bound: condition.spec.told(), value, shown, outcome }
        });
        story.collect()
    }
}

/// Over the whole stretch; connections open at their worst moment. Where nothing happened, nothing holds.
#[allow(clippy::cast_precision_loss)]
fn judge(
    metric: Metric,
    below: Option<f64>,
    above: Option<f64>,
    length: Time,
    figures: Option<(Figures, Figures)>,
    (least, most): (u64, u64),
) -> Seen {
    let Some((now, first)) = figures else {
        return Seen { value: None, holds: Err(format!("{} can't be read", word(metric))) };
    };
    let came = now.since(&first);
    let (low, high) = match metric {
        Metric::ActiveConnections => (Some(least as f64), Some(most as f64)),
        Metric::Throughput if came.latency.is_empty() => (None, None),
        _ => {
            let value = came.value(metric, length);
            (value, value)
        }
    };
    let (Some(low), Some(high)) = (low, high) else {
        return Seen { value: None, holds: Err(format!("{}: nothing happened that could tell", word(metric))) };
    };
    let missed = |value: f64, than: &str, bound: f64| {
        let (value, bound) = (show(metric, value), show(metric, bound));
        Err(format!("{} was {value}, not {than} {bound}", word(metric)))
    };
    match (below, above) {
        (Some(below), _) if high >= below => Seen { value: Some(high), holds: missed(high, "below", below) },
        (_, Some(above)) if low <= above => Seen { value: Some(low), holds: missed(low, "above", above) },
        (Some(_), _) => Seen { value: Some(high), holds: Ok(()) },
        _ => Seen { value: Some(low), holds: Ok(()) },
    }
}

/// Its bound in words.
trait Told {
    fn told(&self) -> String;
}

impl Told for BeforeSpec {
    fn told(&self) -> String {
        match self {
            BeforeSpec::Probe(name) => format!("probe `{name}` passes"),
            BeforeSpec::Metric { metric, below, above, watched, .. } => {
                let above = above.map(|bound| format!("above {}", show(*metric, bound)));
                let below = below.map(|bound| format!("below {}", show(*metric, bound)));
                let bounds: Vec<String> = above.into_iter().chain(below).collect();
                format!("{} {} over {}", word(*metric), bounds.join(" and "), length(*watched))
            }
        }
    }
}
