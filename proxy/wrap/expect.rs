//! `--expect`: what must hold of a run, for every host that it is about.

use std::str::FromStr;

use serde::Serialize;

use super::verdict::{Host, Verdict};

/// An expectation was missed.
pub const MISSED: u8 = 70;
/// An expectation could not be decided: nothing happened that it is about.
pub const UNPROVEN: u8 = 71;

/// `amplification<=3`, `no-silent-truncation`
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    text: String,
    what: Figure,
    least: f64,
    most: f64,
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Amplification,
    Attempts,
    Calls,
    Faults,
    Retried,
    Recovered,
    Surfaced,
    Swallowed,
    Unknown,
    RetryAfter,
    BackOff,
}

const FIGURES: [(&str, Figure); 11] = [
    ("amplification", Figure::Amplification),
    ("attempts", Figure::Attempts),
    ("calls", Figure::Calls),
    ("faults", Figure::Faults),
    ("retried", Figure::Retried),
    ("recovered", Figure::Recovered),
    ("surfaced", Figure::Surfaced),
    ("swallowed", Figure::Swallowed),
    ("unknown", Figure::Unknown),
    ("retry-after-honoured", Figure::RetryAfter),
    ("back-off", Figure::BackOff),
];

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Expect, String> {
        let of = |what, least, most| Expect { text: text.to_owned(), what, least, most, strict: false };
        match text {
            "no-silent-truncation" => return Ok(of(Figure::Swallowed, 0.0, 0.0)),
            "retry-after-honoured" => return Ok(of(Figure::RetryAfter, 100.0, 100.0)),
            _ => {}
        }
        let words = || {
            let names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
            format!(
                "`{text}`: expected one of {} with <=, <, >=, > or = and a number, or no-silent-truncation",
                names.join(", ")
            )
        };
        let at = text.find(['<', '>', '=']).ok_or_else(words)?;
        let (name, rest) = text.split_at(at);
        let what = FIGURES.iter().find(|(known, _)| *known == name.trim()).map(|(_, what)| *what).ok_or_else(words)?;
        let end = rest.find(|c| !matches!(c, '<' | '>' | '=')).unwrap_or(rest.len());
        let (sign, number) = rest.split_at(end);
        let number = number.trim().trim_end_matches('%').trim_end_matches("ms").trim();
        let number: f64 = number.parse().ok().filter(|it: &f64| it.is_finite()).ok_or_else(words)?;
        let bounds = match sign {
            "<=" | "<" => (f64::NEG_INFINITY, number),
            ">=" | ">" => (number, f64::INFINITY),
            "=" | "==" => (number, number),
            _ => return Err(words()),
        };
        Ok(Expect { strict: matches!(sign, "<" | ">"), ..of(what, bounds.0, bounds.1) })
    }
}

/// What became of an expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// As it was written.
    pub expect: String,
    /// True: it holds; false: it was missed; none: nothing happened that it is about.
    pub met: Option<bool>,
    /// What was found, in words.
    pub found: String,
}

impl Expect {
    /// Holds it against a run.
    pub fn judge(&self, verdict: &Verdict) -> Judged {
        let found: Vec<(&str, f64)> =
            verdict.hosts.iter().filter_map(|host| Some((host.host.as_str(), self.figure(host)?))).collect();
        let missed: Vec<String> = found
            .iter()
            .filter(|(_, value)| !self.holds(*value))
            .map(|(host, value)| format!("{host}: {value}"))
            .collect();
        let (met, found) = match (found.is_empty(), missed.is_empty()) {
            (true, _) => (None, "nothing happened that it is about".to_owned()),
            (_, true) => (
                Some(true),
                found.iter().map(|(host, value)| format!("{host}: {value}")).collect::<Vec<_>>().join(", "),
            ),
            (_, false) => (Some(false), missed.join(", ")),
        };
        Judged { expect: self.text.clone(), met, found }
    }

    fn holds(&self, value: f64) -> bool {
        match self.strict {
            true => value > self.least && value < self.most,
            false => value >= self.least && value <= self.most,
        }
    }

    /// None: nothing happened there that it is about.
    #[allow(clippy::cast_precision_loss)]
    fn figure(&self, host: &Host) -> Option<f64> {
        let count = |n: u64| Some(n as f64);
        let met_a_fault = |n: u64| (host.faults > 0).then_some(n as f64);
        match self.what {
            Figure::Amplification => host.amplification,
            Figure::Attempts => count(host.attempts),
            Figure::Calls => count(host.calls),
            Figure::Faults => count(host.faults),
            Figure::Retried => met_a_fault(host.retried),
            Figure::Recovered => met_a_fault(host.recovered),
            Figure::Surfaced => met_a_fault(host.surfaced),
            Figure::Swallowed => (host.truncated > 0).then_some(host.swallowed as f64),
            Figure::Unknown => met_a_fault(host.unknown),
            Figure::RetryAfter => {
                let figures = host.retry_after;
                (figures.of > 0).then(|| figures.honoured as f64 * 100.0 / figures.of as f64)
            }
            Figure::BackOff => host.back_off.map(|back_off| back_off.median_ms),
        }
    }
}

/// The exit code of them all; none: all hold.
pub fn code(judged: &[Judged]) -> Option<u8> {
    match () {
        () if judged.iter().any(|one| one.met == Some(false)) => Some(MISSED),
        () if judged.iter().any(|one| one.met.is_none()) => Some(UNPROVEN),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(host: Host) -> Verdict {
        let host = Host { host: "api.test".into(), ..host };
        Verdict { exit_code: 0, hosts: vec![host], tunnels: Default::default(), calls_lost: 0, bypassed: Vec::new() }
    }

    #[test]
    fn bounds_hold_or_are_missed_or_say_nothing() {
        let met = |text: &str, host: Host| text.parse::<Expect>().unwrap().judge(&run(host)).met;
        let with = |amplification| Host { amplification, ..Host::default() };
        assert_eq!(met("amplification<=3", with(Some(3.0))), Some(true));
        assert_eq!(met("amplification < 3", with(Some(3.0))), Some(false));
        assert_eq!(met("amplification<=3", with(None)), None);
        let truncated = |swallowed| Host { truncated: 1, swallowed, ..Host::default() };
        assert_eq!(met("no-silent-truncation", truncated(0)), Some(true));
        assert_eq!(met("no-silent-truncation", truncated(1)), Some(false));
        assert_eq!(met("no-silent-truncation", Host::default()), None);
        let honoured = super::super::verdict::Honoured { honoured: 1, of: 2 };
        assert_eq!(met("retry-after-honoured>=50%", Host { retry_after: honoured, ..Host::default() }), Some(true));
        assert_eq!(met("retry-after-honoured", Host { retry_after: honoured, ..Host::default() }), Some(false));
        for wrong in ["", "amplification", "speed<3", "calls<=many", "calls=>3"] {
            assert!(wrong.parse::<Expect>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        let judged = |met| Judged { expect: String::new(), met, found: String::new() };
        assert_eq!(code(&[judged(Some(true))]), None);
        assert_eq!(code(&[judged(None), judged(Some(true))]), Some(UNPROVEN));
        assert_eq!(code(&[judged(None), judged(Some(false))]), Some(MISSED));
    }
}
