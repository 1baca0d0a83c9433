//! The report of a run: report.json, and report.md for people. First what was hit, then everything else.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use squall_core::plan::{Active, TallyReading};
use squall_core::plane::{ServiceReading, WorkloadReading};
use squall_core::scenario::{Checked, During, ExpectSpec, FaultSpec, Metric};
use squall_core::time::Time;

use crate::audit::Checkpoint;
use crate::before::BeforeStory;
use crate::book::{Entry, sum};
use crate::compile::Actives;
use crate::evidence::Evidence;
use crate::marks::{MarkKind, Marked, time_to};
use crate::metrics::{Watch, show, word};
use crate::residue::Residue;
use crate::run::Run;
use crate::schedule::seconds;
use crate::verdict::Outcome;
use crate::view::{AbortReport, ConsentView, Rung, State, Verdict};

mod markdown;

/// Everything that a report is made from.
pub(crate) struct Story {
    pub(crate) entry: Arc<Entry>,
    pub(crate) state: State,
    pub(crate) verdict: Verdict,
    pub(crate) why: Vec<String>,
    /// Why it ended.
    pub(crate) reason: String,
    pub(crate) environment: String,
    pub(crate) began: String,
    pub(crate) ended: String,
    pub(crate) elapsed: Time,
    pub(crate) paused: Time,
    pub(crate) waited: Time,
    pub(crate) planned: Time,
    pub(crate) faults: Vec<FaultStory>,
    pub(crate) expects: Vec<Line>,
    pub(crate) forecast: Vec<Line>,
    pub(crate) people: People,
    pub(crate) before: Vec<BeforeStory>,
    pub(crate) guards: Vec<GuardStory>,
    pub(crate) probes: Vec<ProbeStory>,
    pub(crate) services: Vec<Value>,
    pub(crate) workloads: Vec<Value>,
    pub(crate) moments: Vec<Moment>,
    /// How what was held at the end was let go.
    pub(crate) release: Option<AbortReport>,
    pub(crate) ledger: LedgerStory,
    /// What was left of it.
    pub(crate) residue: Residue,
    /// Where the audit log stood after its end, or why it could not be written.
    pub(crate) audit: Result<Option<Checkpoint>, String>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moment {
    /// Seconds on the timeline; none: it had not begun.
    pub(crate) at: Option<f64>,
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// What one fault did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FaultStory {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) proxies: Vec<Arc<str>>,
    pub(crate) summary: String,
    /// Why what it does is only near to what it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approximated: Option<&'static str>,
    pub(crate) min_hits: u64,
    pub(crate) tally: TallyReading,
    pub(crate) values: Vec<Value>,
    /// Where its exposure ladder stood, and since when; empty: it has none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ladder: Vec<Rung>,
}

/// An expectation or a bet with what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) metric: &'static str,
    /// Where the value comes from: request, turn or connection.
    pub(crate) source: &'static str,
    pub(crate) during: During,
    /// In words.
    pub(crate) bound: String,
    /// Rates 0 to 1, latencies and recovery in ns, throughput per second.
    pub(crate) value: Option<f64>,
    /// The value in words.
    pub(crate) shown: String,
    /// `met`, `missed`, `too_few`, and for bets `hit`, `too_high`, `too_low`, `not_measured`.
    pub(crate) outcome: &'static str,
}

/// A guard with its readings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GuardStory {
    pub(crate) name: String,
    pub(crate) metric: &'static str,
    pub(crate) source: &'static str,
    pub(crate) bound: String,
    pub(crate) fired: u64,
    pub(crate) last: Option<f64>,
    pub(crate) worst: Option<f64>,
    /// The worst reading in words.
    pub(crate) shown: String,
    /// How far the worst reading came towards the bound: 1 at the bound.
    pub(crate) closest: Option<f64>,
    /// It came near, or beyond for less long than it takes, and did not fire.
    pub(crate) near_miss: bool,
}

/// A probe with its results.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProbeStory {
    pub(crate) name: String,
    pub(crate) runs: u64,
    /// Checks that did not pass.
    pub(crate) failed: u64,
    /// Those of them that were in a row of at least `failures`.
    pub(crate) counted: u64,
    pub(crate) failures: u64,
    /// Share of `runs` that may be counted, 0 to 1.
    pub(crate) tolerance: f64,
    /// `passed`, `failed`, `not_run`.
    pub(crate) outcome: &'static str,
    /// What the first failure that counts said.
    pub(crate) first_failure: Option<String>,
}

/// What people did and said.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct People {
    /// Seconds from the opening of the first fault, pauses left out; none: nobody marked it.
    pub(crate) time_to_detect_s: Option<f64>,
    pub(crate) time_to_mitigate_s: Option<f64>,
    pub(crate) steps: Vec<StepStory>,
    pub(crate) marks: Vec<Marked>,
}

/// A step with what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StepStory {
    pub(crate) name: String,
    pub(crate) manual: String,
    /// Seconds on the timeline; none: it was not asked for.
    pub(crate) asked_at: Option<f64>,
    /// Seconds from the question to the mark; none: nobody marked it.
    pub(crate) took_s: Option<f64>,
    pub(crate) by: Option<String>,
    pub(crate) text: Option<String>,
    /// In words.
    pub(crate) outcome: String,
}

/// How complete the ledger is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct LedgerStory {
    pub(crate) injections: u64,
    pub(crate) recorded: u64,
    /// Lost because the ledger could not keep up.
    pub(crate) lost: u64,
    /// Taken in, but not in the file.
    pub(crate) unwritten: u64,
}

impl Story {
    /// What all faults did.
    pub(crate) fn total(&self) -> TallyReading {
        sum(self.faults.iter().map(|fault| fault.tally))
    }

    /// report.json
    pub(crate) fn json(&self) -> Value {
        let (entry, total) = (&self.entry, self.total());
        let checked = &entry.checked;
        let mut report = json!({
            "summary": {
                "eligible": total.eligible, "selected": total.selected, "injected": total.injected,
                "affected": total.affected,
            },
            "id": entry.id, "name": checked.name, "title": checked.title, "owner": checked.owner,
            "hypothesis": checked.hypothesis, "tags": checked.tags, "environment": self.environment,
            "state": self.state, "verdict": self.verdict, "why": self.why, "reason": self.reason,
            "seed": entry.seed, "digest": checked.digest, "began": self.began, "ended": self.ended,
            "elapsed_s": seconds(self.elapsed), "paused_s": seconds(self.paused), "planned_s": seconds(self.planned),
            "timeline": self.moments, "faults": self.faults, "services": self.services,
            "workloads": self.workloads,
            "expectations": self.expects, "forecast": self.forecast, "guards": self.guards, "probes": self.probes,
            "release": self.release, "release_over_s": seconds(checked.release_over), "residue": self.residue,
            "ledger": self.ledger, "runbook": checked.runbook, "waited_s": seconds(self.waited),
            "before": self.before, "people": self.people,
            "audit": match &self.audit {
                Ok(checkpoint) => json!(checkpoint),
                Err(why) => json!({ "failure": why }),
            },
        });
        report["consent"] = json!(self.consent());
        if self.is_observed() {
            report["observed"] = json!(true);
        }
        report
    }

    /// Who handed it in, approved it, started it.
    pub(crate) fn consent(&self) -> ConsentView {
        let card = self.entry.card();
        card.consents.view(&card.required)
    }

    /// Whether nothing acted, on purpose.
    pub(crate) fn is_observed(&self) -> bool {
        self.entry.card().observed
    }

    /// report.md
    pub(crate) fn markdown(&self) -> String {
        markdown::write(self)
    }
}

/// run.json: where a run stands, for whoever finds its directory. `over`: state, verdict, reason and end.
pub(crate) fn card(entry: &Entry, began: &str, over: Option<(State, Verdict, &str, &str)>) -> Value {
    let (state, verdict, reason, ended) = match over {
        None => (State::Running, None, None, None),
        Some((state, verdict, reason, ended)) => (state, Some(verdict), Some(reason), Some(ended)),
    };
    json!({
        "id": entry.id, "name": entry.checked.name, "seed": entry.seed, "digest": entry.checked.digest, "began": began,
        "over": over.is_some(), "state": state, "verdict": verdict, "reason": reason, "ended": ended,
    })
}

pub(crate) fn faults(entry: &Entry, actives: &Actives, evidence: &Evidence, run: &Run) -> Vec<FaultStory> {
    let story = |spec: &FaultSpec, actives: &[Arc<Active>], ladder: &[Rung]| FaultStory {
        ladder: ladder.to_vec(),
        name: spec.name.clone(),
        kind: spec.kind,
        proxies: actives.iter().map(|active| active.name.proxy.clone()).collect(),
        summary: spec.summary.clone(),
        approximated: actives.iter().find_map(|active| active.fault.approximated()),
        min_hits: spec.min_hits,
        tally: sum(actives.iter().map(|active| active.read())),
        values: evidence.of(&spec.name),
    };
    let mut faults: Vec<FaultStory> = entry
        .checked
        .faults
        .iter()
        .zip(actives)
        .enumerate()
        .map(|(n, (spec, actives))| story(spec, actives, run.ladders.changes(n)))
        .collect();
    entry.tenants(|tenants| {
        faults.extend(tenants.iter().map(|tenant| story(&tenant.spec, std::slice::from_ref(&tenant.active), &[])));
    });
    faults
}

pub(crate) fn expects(run: &Run, watches: &[Watch], judged: &[(ExpectSpec, Option<f64>, Outcome)]) -> Vec<Line> {
    let lines = judged.iter().zip(&run.expects).map(|((spec, value, outcome), (_, watch))| {
        let below = spec.below.map(|bound| format!("below {}", show(spec.metric, bound)));
        let above = spec.above.map(|bound| format!("above {}", show(spec.metric, bound)));
        Line {
            metric: word(spec.metric),
            source: watches.get(*watch).map_or("", |watch| watch.label(spec.metric)),
            during: if spec.metric == Metric::Recovery { During::Recovery } else { spec.during },
            bound: below.into_iter().chain(above).collect::<Vec<_>>().join(" and "),
            value: *value,
            shown: value.map_or_else(|| "not measured".into(), |value| show(spec.metric, value)),
            outcome: match outcome {
                Outcome::Met => "met",
                Outcome::Missed(_) => "missed",
                Outcome::TooFew(_) => "too_few",
            },
        }
    });
    lines.collect()
}

pub(crate) fn forecast(checked: &Checked, run: &Run, watch: Option<usize>) -> Vec<Line> {
    let Some((forecast, watch)) = checked.forecast.as_ref().zip(watch) else { return Vec::new() };
    let bets = forecast.metrics.iter().map(|(metric, (low, high))| {
        let value = run.during_faults(watch, *metric);
        Line {
            metric: word(*metric),
            source: "",
            during: During::Faults,
            bound: format!("{} to {}", show(*metric, *low), show(*metric, *high)),
            value,
            shown: value.map_or_else(|| "not measured".into(), |value| show(*metric, value)),
            outcome: match value {
                None => "not_measured",
                Some(value) if value > *high => "too_high",
                Some(value) if value < *low => "too_low",
                Some(_) => "hit",
            },
        }
    });
    bets.collect()
}

pub(crate) fn guards(run: &Run, watches: &[Watch]) -> Vec<GuardStory> {
    let guards = run.guards.iter().map(|guard| GuardStory {
        name: guard.name.clone(),
        metric: guard.metric(),
        source: watches.get(guard.watch).map_or("", |watch| guard.label(watch)),
        bound: guard.bound(),
        fired: guard.fired,
        last: guard.last,
        worst: guard.worst,
        shown: guard.worst.map_or_else(|| "no reading".into(), |value| guard.show(value)),
        closest: guard.closest(),
        near_miss: guard.is_near_miss(),
    });
    guards.collect()
}

pub(crate) fn people(run: &Run, entry: &Entry) -> People {
    let steps = run.steps.all.iter().map(|step| {
        let mark = step.done.as_ref().and_then(|done| done.mark.as_ref());
        StepStory {
            name: step.spec.name.clone(),
            manual: step.spec.manual.clone(),
            asked_at: step.asked.then(|| seconds(step.spec.at)),
            took_s: mark.map(|mark| seconds(mark.took)),
            by: mark.and_then(|mark| mark.by.clone()),
            text: mark.and_then(|mark| mark.text.clone()),
            outcome: step.outcome(),
        }
    });
    let marks = entry.card().marks.clone();
    People {
        time_to_detect_s: time_to(&marks, MarkKind::Detected),
        time_to_mitigate_s: time_to(&marks, MarkKind::Mitigated),
        steps: steps.collect(),
        marks,
    }
}

pub(crate) fn probes(run: &Run) -> Vec<ProbeStory> {
    let probes = run.probes.iter().map(|probe| ProbeStory {
        name: probe.spec.name.clone(),
        runs: probe.runs,
        failed: probe.failed,
        counted: probe.counted,
        failures: probe.spec.failures,
        tolerance: probe.spec.tolerance,
        outcome: match (probe.runs, probe.has_failed()) {
            (0, _) => "not_run",
            (_, true) => "failed",
            (_, false) => "passed",
        },
        first_failure: probe.first_failure.clone(),
    });
    probes.collect()
}

pub(crate) fn services(checked: &Checked, readings: &[ServiceReading]) -> Vec<Value> {
    let services = checked.services.iter().zip(readings).map(|(spec, reading)| {
        json!({
            "name": spec.name, "connections": reading.connections, "requests": reading.requests,
            "turned_away": reading.turned_away, "unknown": reading.unknown,
        })
    });
    services.collect()
}

pub(crate) fn workloads(checked: &Checked, readings: &[WorkloadReading]) -> Vec<Value> {
    let workloads = checked.workloads.iter().zip(readings).map(|(spec, reading)| {
        let at = |quantile| reading.latency.quantile(quantile).map(|ns| ns / 1_000);
        let requests = spec.kind.names().into_iter().zip(&reading.requests).map(|(name, own)| {
            let at = |quantile| own.latency.quantile(quantile).map(|ns| ns / 1_000);
            json!({
                "name": name, "count": own.ok + own.failed + own.failed_injected, "ok": own.ok, "failed": own.failed,
                "failed_injected": own.failed_injected, "latency_us": { "p50": at(0.5), "p99": at(0.99) },
            })
        });
        json!({
            "name": spec.name, "intended": reading.intended, "unsent": reading.unsent, "ok": reading.ok,
            "failed": reading.failed, "failed_injected": reading.failed_injected, "retried": reading.retried,
            "reasons": reading.reasons, "unanswered": reading.in_flight, "datagrams": reading.datagrams,
            "requests": requests.collect::<Vec<_>>(),
            "latency_us": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99.9": at(0.999) },
        })
    });
    workloads.collect()
}

pub(crate) fn ledger(evidence: &Evidence, tally: &TallyReading) -> LedgerStory {
    let (recorded, unwritten) = (evidence.seen(), evidence.unwritten());
    LedgerStory { injections: tally.injected, recorded, lost: tally.unrecorded, unwritten }
}
