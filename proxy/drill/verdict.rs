//! The verdict: the first rule that applies.

use crate::view::Verdict;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It reached its planned end.
    Planned,
    /// A person, or whatever speaks for one.
    Person,
    /// An aborting guard.
    Guard,
    /// What had to hold before anything was injected did not.
    Unsteady,
    /// Its starter fell silent.
    Lease,
    /// Its hard end.
    Limit,
    /// The audit log can't be written: nobody would know of it.
    Audit,
    /// What a guard watches could not be read.
    Data,
    /// squall could not carry it out.
    Failure,
}

/// What became of an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It held.
    Met,
    /// It did not; in words.
    Missed(String),
    /// Too little happened to tell; in words.
    TooFew(String),
}

/// Hits of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hits {
    pub(crate) fault: String,
    pub(crate) hits: u64,
    pub(crate) min_hits: u64,
    /// Whether its planned time had passed.
    pub(crate) passed: bool,
}

/// Everything that the verdict rests on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) cause: Cause,
    /// Why it ended, in words.
    pub(crate) reason: String,
    pub(crate) hits: Vec<Hits>,
    /// Faults whose achieved values were too far from the scheduled ones; in words.
    pub(crate) inaccurate: Vec<String>,
    /// Faults that selected another share than they were told to; in words.
    pub(crate) mismatched: Vec<String>,
    /// Sources that could not be read; in words.
    pub(crate) missing: Vec<String>,
    /// Aborting guards that fired; in words.
    pub(crate) guards: Vec<String>,
    /// Probes that failed; in words.
    pub(crate) probes: Vec<String>,
    pub(crate) expects: Vec<Outcome>,
    /// Whether there is a hypothesis that could be upheld.
    pub(crate) stated: bool,
    /// Nothing acted, on purpose; what guards would have done, in words.
    pub(crate) observed: Option<Vec<String>>,
}

/// Sample-ratio mismatch: whether `selected` of `eligible` units is too far from the share that was asked for to be
/// chance (two-sided, p < 0.001, normal approximation; no opinion where that does not hold).
#[allow(clippy::cast_precision_loss)]
pub(crate) fn is_mismatch(eligible: u64, selected: u64, share: f64) -> bool {
    if share <= 0.0 || share >= 1.0 {
        return eligible > 0 && selected != if share >= 1.0 { eligible } else { 0 };
    }
    let (n, k) = (eligible as f64, selected as f64);
    let variance = n * share * (1.0 - share);
    variance >= 10.0 && ((k - n * share).abs() - 0.5) / variance.sqrt() > 3.2905
}

/// The verdict and why. Every reason of the rule that decided is given, not only the first.
pub(crate) fn verdict(facts: &Facts) -> (Verdict, Vec<String>) {
    if facts.cause == Cause::Unsteady {
        return (Verdict::Inconclusive, vec![facts.reason.clone()]);
    }
    if let Some(guards) = &facts.observed {
        return observed(facts, guards);
    }
    let rules = [
        (Verdict::Invalid, invalid(facts)),
        (Verdict::Refuted, refuted(facts)),
        (Verdict::Inconclusive, inconclusive(facts)),
    ];
    for (verdict, why) in rules {
        if !why.is_empty() {
            return (verdict, why);
        }
    }
    if !facts.stated {
        return (
            Verdict::Inconclusive,
            vec![format!("no hypothesis was stated that could be upheld: {}", upheld(facts))],
        );
    }
    (Verdict::Upheld, vec![upheld(facts)])
}

/// An observation tells nothing about the hypothesis; what it can tell is who would have been hit.
fn observed(facts: &Facts, guards: &[String]) -> (Verdict, Vec<String>) {
    let failed = (facts.cause == Cause::Failure).then(|| facts.reason.clone());
    let broken: Vec<String> = failed.into_iter().chain(facts.missing.iter().cloned()).collect();
    if !broken.is_empty() {
        return (Verdict::Invalid, broken);
    }
    let early = (facts.cause != Cause::Planned).then(|| facts.reason.clone());
    let missed = facts.hits.iter().filter(|hits| hits.passed && hits.hits < hits.min_hits);
    let missed = missed.map(|hits| {
        format!(
            "fault `{}` would have hit {} times, fewer than its min_hits of {}",
            hits.fault, hits.hits, hits.min_hits
        )
    });
    let why = std::iter::once("observed: nothing was injected".to_owned()).chain(early).chain(missed);
    (Verdict::Inconclusive, why.chain(facts.mismatched.iter().cloned()).chain(guards.iter().cloned()).collect())
}

fn invalid(facts: &Facts) -> Vec<String> {
    let hit = facts.hits.iter().filter(|hits| hits.passed && hits.hits < hits.min_hits).map(|hits| match hits.hits {
        0 => format!("fault `{}` hit nothing: the traffic did not go through it", hits.fault),
        n => format!("fault `{}` hit {n} times, fewer than its min_hits of {}", hits.fault, hits.min_hits),
    });
    let failed = (facts.cause == Cause::Failure).then(|| facts.reason.clone());
    hit.chain(facts.inaccurate.iter().cloned())
        .chain(facts.missing.iter().cloned())
        .chain(facts.mismatched.iter().cloned())
        .chain(failed)
        .collect()
}

fn refuted(facts: &Facts) -> Vec<String> {
    let missed = facts.expects.iter().filter_map(|outcome| match outcome {
        Outcome::Missed(why) => Some(why.clone()),
        _ => None,
    });
    facts.guards.iter().chain(&facts.probes).cloned().chain(missed).collect()
}

fn inconclusive(facts: &Facts) -> Vec<String> {
    let early =
        matches!(facts.cause, Cause::Person | Cause::Lease | Cause::Limit | Cause::Audit).then(|| facts.reason.clone());
    let few = facts.expects.iter().filter_map(|outcome| match outcome {
        Outcome::TooFew(why) => Some(why.clone()),
        _ => None,
    });
    early.into_iter().chain(few).collect()
}

fn upheld(facts: &Facts) -> String {
    match facts.expects.len() {
        0 => "every fault hit, and no guard or probe objected; nothing was expected".into(),
        1 => "every fault hit, and the expectation was met".into(),
        n => format!("every fault hit, and all {n} expectations were met"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            cause: Cause::Planned,
            reason: "planned end".into(),
            hits: vec![Hits { fault: "late".into(), hits: 5, min_hits: 1, passed: true }],
            inaccurate: vec![],
            mismatched: vec![],
            missing: vec![],
            guards: vec![],
            probes: vec![],
            expects: vec![Outcome::Met],
            stated: true,
            observed: None,
        }
    }

    #[test]
    fn each_rule_gives_its_verdict() {
        type Change = fn(&mut Facts);
        let table: [(&str, Verdict, Change); 24] = [
            ("no hypothesis", Verdict::Inconclusive, |facts| facts.stated = false),
            ("no hypothesis, but harm", Verdict::Refuted, |facts| {
                facts.stated = false;
                facts.guards.push("hot".into());
            }),
            ("unsteady before", Verdict::Inconclusive, |facts| {
                facts.cause = Cause::Unsteady;
                facts.probes.push("down".into());
            }),
            ("observed", Verdict::Inconclusive, |facts| {
                facts.observed = Some(vec![]);
                facts.expects.push(Outcome::Missed("p99".into()));
            }),
            ("observed, and no hits", Verdict::Inconclusive, |facts| {
                facts.observed = Some(vec![]);
                facts.hits[0].hits = 0;
            }),
            ("observed, and data missing", Verdict::Invalid, |facts| {
                facts.observed = Some(vec![]);
                facts.missing.push("gone".into());
            }),
            ("all well", Verdict::Upheld, |_| {}),
            ("nothing expected", Verdict::Upheld, |facts| facts.expects.clear()),
            ("no hits", Verdict::Invalid, |facts| facts.hits[0].hits = 0),
            ("too few hits", Verdict::Invalid, |facts| facts.hits[0].min_hits = 6),
            ("no hits, but its time had not passed", Verdict::Upheld, |facts| {
                facts.hits[0].hits = 0;
                facts.hits[0].passed = false;
            }),
            ("no hits asked for", Verdict::Upheld, |facts| {
                facts.hits[0].hits = 0;
                facts.hits[0].min_hits = 0;
            }),
            ("inaccurate", Verdict::Invalid, |facts| facts.inaccurate.push("late".into())),
            ("wrong share selected", Verdict::Invalid, |facts| facts.mismatched.push("share".into())),
            ("data missing", Verdict::Invalid, |facts| facts.missing.push("gone".into())),
            ("squall failed", Verdict::Invalid, |facts| facts.cause = Cause::Failure),
            ("guard", Verdict::Refuted, |facts| facts.guards.push("errors".into())),
            ("probe", Verdict::Refuted, |facts| facts.probes.push("down".into())),
            ("expectation missed", Verdict::Refuted, |facts| facts.expects.push(Outcome::Missed("p99".into()))),
            ("ended by a person", Verdict::Inconclusive, |facts| facts.cause = Cause::Person),
            ("lease ran out", Verdict::Inconclusive, |facts| facts.cause = Cause::Lease),
            ("time limit", Verdict::Inconclusive, |facts| facts.cause = Cause::Limit),
            ("no witness", Verdict::Inconclusive, |facts| facts.cause = Cause::Audit),
            ("too few events", Verdict::Inconclusive, |facts| facts.expects.push(Outcome::TooFew("p99".into()))),
        ];
        for (case, expected, change) in table {
            let mut facts = good();
            change(&mut facts);
            assert_eq!(verdict(&facts).0, expected, "{case}");
        }
    }

    #[test]
    fn a_share_that_chance_does_not_explain() {
        for (eligible, selected, share, expected) in [
            (1_000, 100, 0.1, false),
            (1_000, 131, 0.1, false), // z = 3.2
            (1_000, 133, 0.1, true),  // z = 3.4
            (1_000, 67, 0.1, true),
            (100, 100, 1.0, false),
            (100, 99, 1.0, true),
            (100, 1, 0.0, true),
            (10, 9, 0.1, false), // too few to tell
        ] {
            assert_eq!(is_mismatch(eligible, selected, share), expected, "{selected} of {eligible}");
        }
    }

    #[test]
    fn an_earlier_rule_wins() {
        let mut facts = good();
        facts.cause = Cause::Person;
        facts.expects.push(Outcome::Missed("p99 is 2 s".into()));
        assert_eq!(verdict(&facts), (Verdict::Refuted, vec!["p99 is 2 s".into()]));
        facts.hits[0].hits = 0;
        assert_eq!(verdict(&facts).0, Verdict::Invalid);
    }
}
