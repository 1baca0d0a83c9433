//! report.md

use std::fmt::{self, Write};

use serde_json::Value;

use super::{Line, Story};
use crate::marks::shown;
use crate::schedule::seconds;
use crate::steps::length;
use crate::view::{ApprovalView, ConsentView};

/// The report for people.
pub(crate) fn write(story: &Story) -> String {
    let mut out = String::new();
    let _ = fill(&mut out, story); // a String takes everything
    out
}

fn fill(out: &mut String, story: &Story) -> fmt::Result {
    let (total, checked) = (story.total(), &story.entry.checked);
    writeln!(
        out,
        "eligible {} / selected {} / injected {} / affected {}\n",
        total.eligible, total.selected, total.injected, total.affected
    )?;
    let verdict = if story.is_observed() { "observed" } else { story.verdict.word() };
    writeln!(out, "# {}: {verdict}\n", story.entry.id)?;
    if story.is_observed() {
        writeln!(out, "**Only observed: nothing was injected. All counts are of what would have been.**\n")?;
    }
    if let Some(title) = &checked.title {
        writeln!(out, "{}\n", plain(title))?;
    }
    for why in &story.why {
        writeln!(out, "- {}", plain(why))?;
    }
    writeln!(out)?;
    let consent = story.consent();
    let facts = [
        ("hypothesis", checked.hypothesis.clone().unwrap_or_else(|| "none written".into())),
        ("owner", checked.owner.clone().unwrap_or_else(|| "none named".into())),
        ("state", format!("{}, because {}", story.state.word(), story.reason)),
        ("began", story.began.clone()),
        ("ended", story.ended.clone()),
        ("took", took(story)),
        ("environment", story.environment.clone()),
        ("seed", story.entry.seed.to_string()),
        ("digest", checked.digest.clone()),
        ("handed in by", consent.submitted_by.clone()),
        ("approved by", approved(&consent)),
        ("started by", consent.started_by.clone().unwrap_or_else(|| "nobody".into())),
    ];
    table(out, ["", ""], facts.iter().map(|(name, value)| [(*name).to_owned(), value.clone()]))?;
    before(out, story)?;
    people(out, story)?;
    timeline(out, story)?;
    faults(out, story)?;
    lines(out, "Expectations", &story.expects)?;
    lines(out, "Forecast (scored, never deciding)", &story.forecast)?;
    watched(out, story)?;
    loads(out, story)?;
    services(out, story)?;
    end(out, story)
}

fn approved(consent: &ConsentView) -> String {
    let by = |approval: &ApprovalView| match approval.max_exposure {
        None => format!("{} at {}", approval.by, approval.at),
        Some(most) => format!("{} at {}, up to {most} %", approval.by, approval.at),
    };
    match (consent.required, consent.approvals.as_slice()) {
        (0, []) => "nobody: none was required".into(),
        (_, []) => "nobody".into(),
        (_, approvals) => approvals.iter().map(by).collect::<Vec<_>>().join("; "),
    }
}

fn took(story: &Story) -> String {
    let paused = match story.paused {
        0 => String::new(),
        paused => format!(", and was paused for {:.1} s", seconds(paused)),
    };
    let waited = match story.waited {
        0 => String::new(),
        waited => format!(", waited {} for people", length(waited)),
    };
    format!("{:.1} s of {:.1} s planned{waited}{paused}", seconds(story.elapsed), seconds(story.planned))
}

fn before(out: &mut String, story: &Story) -> fmt::Result {
    if story.before.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Before anything was injected\n")?;
    let rows = story.before.iter().map(|condition| {
        let what = match condition.source.as_str() {
            "turn" => format!("{} (turn)", condition.what),
            _ => condition.what.to_owned(),
        };
        [what, condition.bound.clone(), condition.shown.clone(), condition.outcome.replace('_', " ")]
    });
    table(out, ["what", "must hold", "measured", "outcome"], rows)
}

fn people(out: &mut String, story: &Story) -> fmt::Result {
    let people = &story.people;
    if people.steps.is_empty() && people.marks.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## People\n")?;
    writeln!(out, "- time to detect: {}", shown(people.time_to_detect_s))?;
    writeln!(out, "- time to mitigate: {}\n", shown(people.time_to_mitigate_s))?;
    let rows = people.steps.iter().map(|step| {
        let asked = step.asked_at.map_or_else(|| "-".into(), |at| format!("{at:.2} s"));
        let by = step.by.iter().chain(&step.text).cloned().collect::<Vec<_>>().join(": ");
        [step.name.clone(), step.manual.clone(), asked, step.outcome.clone(), by]
    });
    if !people.steps.is_empty() {
        table(out, ["step", "what", "asked at", "outcome", "by"], rows)?;
        writeln!(out)?;
    }
    if people.marks.is_empty() {
        return Ok(());
    }
    let rows = people.marks.iter().map(|mark| {
        let at = mark.at.map_or_else(|| "before".into(), |at| format!("{at:.2} s"));
        [at, mark.time.clone(), mark.told()]
    });
    table(out, ["marked at", "time", "what"], rows)
}

fn timeline(out: &mut String, story: &Story) -> fmt::Result {
    writeln!(out, "\n## Timeline\n")?;
    let rows = story.moments.iter().map(|moment| {
        [moment.at.map_or_else(|| "before".into(), |at| format!("{at:.2} s")), moment.kind.clone(), moment.text.clone()]
    });
    table(out, ["at", "what", ""], rows)
}

fn faults(out: &mut String, story: &Story) -> fmt::Result {
    writeln!(out, "\n## Faults\n")?;
    let header =
        ["fault", "kind", "on", "what", "eligible", "selected", "injected", "affected", "overflow", "reset at the end"];
    let rows = story.faults.iter().map(|fault| {
        let tally = &fault.tally;
        let (name, on) = (fault.name.clone(), fault.proxies.join(", "));
        let counts =
            [tally.eligible, tally.selected, tally.injected, tally.affected, tally.overflow, tally.reset_on_abort];
        let [eligible, selected, injected, affected, overflow, reset] = counts.map(|count| count.to_string());
        [name, fault.kind.into(), on, fault.summary.clone(), eligible, selected, injected, affected, overflow, reset]
    });
    table(out, header, rows)?;
    let approximated = story.faults.iter().filter_map(|fault| Some((&fault.name, fault.approximated?)));
    for (n, (name, why)) in approximated.enumerate() {
        let space = if n == 0 { "\n" } else { "" };
        writeln!(out, "{space}- `{name}` is approximated: {why}")?;
    }
    for (n, fault) in story.faults.iter().filter(|fault| !fault.ladder.is_empty()).enumerate() {
        let space = if n == 0 { "\n" } else { "" };
        let rungs = fault.ladder.iter().map(|rung| format!("{} % from {:.1} s", rung.percentage, rung.at));
        writeln!(out, "{space}- the ladder of `{}`: {}", fault.name, rungs.collect::<Vec<_>>().join(", "))?;
    }
    let values = story.faults.iter().flat_map(|fault| fault.values.iter().map(move |value| (fault, value)));
    let rows: Vec<[String; 8]> = values
        .map(|(fault, value)| {
            let unit = text(&value["unit"]);
            let pair = |what: &str| ["p50", "p99"].map(|part| figure(&value[what][part], &unit)).join(" / ");
            [
                fault.name.clone(),
                text(&value["what"]),
                text(&value["count"]),
                pair("drawn"),
                pair("scheduled"),
                pair("achieved"),
                pair("error"),
                text(&value["cut_short"]),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nValues as p50 / p99; error is |achieved - scheduled|.\n")?;
    table(out, ["fault", "effect", "count", "drawn", "scheduled", "achieved", "error", "cut short"], rows.into_iter())
}

/// A value with its unit, in the size that people read.
fn figure(value: &Value, unit: &str) -> String {
    match (unit, value.as_f64()) {
        ("us", Some(us)) if us >= 1e6 => format!("{:.2} s", us / 1e6),
        ("us", Some(us)) if us >= 1e3 => format!("{:.1} ms", us / 1e3),
        ("us", Some(us)) => format!("{us:.0} us"),
        _ => format!("{} {unit}", text(value)),
    }
}

fn lines(out: &mut String, title: &str, lines: &[Line]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## {title}\n")?;
    let rows = lines.iter().map(|line| {
        let metric = match line.source {
            "turn" => format!("{} (turn)", line.metric),
            _ => line.metric.to_owned(),
        };
        let during = format!("{:?}", line.during).to_lowercase();
        [metric, during, line.bound.clone(), line.shown.clone(), line.outcome.replace('_', " ")]
    });
    table(out, ["metric", "during", "bound", "measured", "outcome"], rows)
}

fn watched(out: &mut String, story: &Story) -> fmt::Result {
    if !story.guards.is_empty() {
        writeln!(out, "\n## Guards\n")?;
        let rows = story.guards.iter().map(|guard| {
            let (metric, bound) = (guard.metric.to_owned(), guard.bound.clone());
            let closest = guard.closest.map_or_else(|| "-".into(), |closest| format!("{:.0} %", closest * 100.0));
            let closest = if guard.near_miss { format!("**{closest}: near miss**") } else { closest };
            [
                guard.name.clone(),
                metric,
                guard.source.into(),
                bound,
                guard.shown.clone(),
                guard.fired.to_string(),
                closest,
            ]
        });
        table(out, ["guard", "metric", "of", "bound", "worst", "fired", "of its limit"], rows)?;
    }
    if story.probes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Probes\n")?;
    let rows = story.probes.iter().map(|probe| {
        let first = probe.first_failure.clone().unwrap_or_default();
        let may = match (probe.failures, probe.tolerance) {
            (1, 0.0) => "none".to_owned(),
            (1, share) => format!("{} %", share * 100.0),
            (row, 0.0) => format!("{} in a row", row - 1),
            (row, share) => format!("{} in a row, else {} %", row - 1, share * 100.0),
        };
        let [runs, failed, counted] = [probe.runs, probe.failed, probe.counted].map(|count| count.to_string());
        [probe.name.clone(), runs, failed, counted, may, probe.outcome.replace('_', " "), first]
    });
    table(out, ["probe", "checks", "failed", "counted", "may fail", "outcome", "first failure"], rows)
}

fn loads(out: &mut String, story: &Story) -> fmt::Result {
    if story.workloads.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Load\n")?;
    let counts = ["name", "intended", "unsent", "ok", "failed", "failed_injected", "retried", "unanswered"];
    let rows = story.workloads.iter().map(|load| {
        let [name, intended, unsent, ok, failed, injected, retried, unanswered] =
            counts.map(|count| text(&load[count]));
        let us = &load["latency_us"];
        let latency = format!("{} / {} us", text(&us["p50"]), text(&us["p99"]));
        [name, intended, unsent, ok, failed, injected, retried, unanswered, latency]
    });
    let header =
        ["load", "intended", "unsent", "ok", "failed", "ended by a fault", "retried", "unanswered", "p50 / p99"];
    table(out, header, rows)?;
    datagrams(out, story)?;
    let requests = story.workloads.iter().flat_map(|load| {
        let own = load["requests"].as_array().into_iter().flatten();
        own.map(|request| {
            let [name, count, failed, injected] =
                ["name", "count", "failed", "failed_injected"].map(|count| text(&request[count]));
            let us = &request["latency_us"];
            let latency = format!("{} / {} us", text(&us["p50"]), text(&us["p99"]));
            [text(&load["name"]), name, count, failed, injected, latency]
        })
    });
    let requests: Vec<[String; 6]> = requests.collect();
    if requests.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    table(out, ["load", "request", "sent", "failed", "ended by a fault", "p50 / p99"], requests.into_iter())
}

fn datagrams(out: &mut String, story: &Story) -> fmt::Result {
    let counts = ["lost", "late", "duplicated", "reordered", "corrupted"];
    let mut rows = story.workloads.iter().filter(|load| load["datagrams"].is_object()).map(|load| {
        let [lost, late, duplicated, reordered, corrupted] = counts.map(|count| text(&load["datagrams"][count]));
        [text(&load["name"]), lost, late, duplicated, reordered, corrupted]
    });
    let Some(first) = rows.next() else { return Ok(()) };
    writeln!(out)?;
    table(
        out,
        ["datagrams of", "lost", "late", "came again", "out of order", "corrupted"],
        std::iter::once(first).chain(rows),
    )
}

fn services(out: &mut String, story: &Story) -> fmt::Result {
    if story.services.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Services: what came to them\n")?;
    let counts = ["name", "connections", "requests", "turned_away", "unknown"];
    let rows = story.services.iter().map(|service| counts.map(|count| text(&service[count])));
    table(out, ["service", "connections", "requests", "turned away", "not recorded"], rows)
}

fn end(out: &mut String, story: &Story) -> fmt::Result {
    writeln!(out, "\n## At the end\n")?;
    if let Some(release) = &story.release {
        let us = |value: Option<u64>| value.map_or_else(|| "not yet".into(), |us| format!("after {us} us"));
        let (stopped, released) = (release.stopped_injecting_us, release.released);
        let (permitted, drained) = (us(release.permitted_us), us(release.drained_us));
        writeln!(
            out,
            "- no new injection after {stopped} us; {released} held were let go {permitted}, the last byte written {drained}"
        )?;
    }
    let (over, dropped) = (story.entry.checked.release_over, total_dropped(story));
    if over > 0 {
        writeln!(out, "- what was held was let go over up to {}", length(over))?;
    }
    if dropped > 0 {
        writeln!(
            out,
            "- {dropped} connections or requests ended while they were held: what was held of them was dropped"
        )?;
    }
    let residue = &story.residue;
    let mark = if residue.proven { "" } else { "**" };
    writeln!(out, "- {mark}{}{mark}", residue.text)?;
    let ledger = &story.ledger;
    writeln!(
        out,
        "- ledger: {} of {} injections recorded, {} lost because it could not keep up, {} not in the file",
        ledger.recorded, ledger.injections, ledger.lost, ledger.unwritten
    )?;
    match &story.audit {
        Ok(Some(point)) => {
            writeln!(out, "- audit log of {}: {} records, the last is `{}`", point.origin, point.size, point.head)
        }
        Ok(None) => Ok(()),
        Err(why) => writeln!(out, "- **{}**", plain(why)),
    }
}

fn total_dropped(story: &Story) -> u64 {
    story.faults.iter().map(|fault| fault.tally.dropped).sum()
}

fn table<const N: usize>(out: &mut String, header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> fmt::Result {
    writeln!(out, "| {} |", header.join(" | "))?;
    writeln!(out, "|{}", "---|".repeat(N))?;
    for row in rows {
        writeln!(out, "| {} |", row.map(|cell| plain(&cell)).join(" | "))?;
    }
    Ok(())
}

/// Text from outside as one cell: no line breaks, no markup of a table, no HTML.
fn plain(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|").replace('<', "&lt;")
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
