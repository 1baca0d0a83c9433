//! Which faults of a scenario one request would meet, and why, told without opening a socket.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::chain::Dialogue;
use crate::http::{Request, Response};
use crate::matcher::{self, Facts, MatchSpec, NeverFault};
use crate::parse::glob;
use crate::plan::Layer;
use crate::scenario::{Checked, FaultSpec, Protocol, ProxySpec};
use crate::select::{Count, Key, Select};
use crate::time::Time;
use crate::unit::Duration;

/// A request to ask about, and what is known beside it.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Its head.
    pub request: Request,
    /// Length of its body, bytes.
    pub size: Option<u64>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// The protocols that the client offers in it.
    pub alpn: Vec<Vec<u8>>,
    /// The answer's head.
    pub response: Option<Response>,
    /// The connection's number on its listener, and the request's on its connection, from 0: what stands for it where the
    /// key is `ordinal`.
    pub unit: Option<(u64, u64)>,
}

/// See [`explain`].
#[derive(Clone, Debug, serde::Serialize)]
pub struct Explanation {
    /// The experiment's name.
    pub name: String,
    /// For draws.
    pub seed: u64,
    /// The path as rules see it.
    pub path: String,
    /// Whether `never_fault` of the configuration leaves the request alone.
    pub never_fault: bool,
    /// By fault.
    pub faults: Vec<FaultExplanation>,
}

/// What one fault makes of the request.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FaultExplanation {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// The proxies, as written.
    pub proxy: String,
    /// What it does, in words.
    pub summary: String,
    /// Where in the exchange it acts; none: on connections, whatever they carry.
    pub phase: Option<&'static str>,
    /// All in one word.
    pub verdict: Verdict,
    /// Whether its rule holds; none: that depends on what is not known.
    pub holds: Option<bool>,
    /// Which condition fails, or what is not known.
    pub why: Option<String>,
    /// What stands for the request in draws.
    pub key: String,
    /// The selection draw, 0 to 100: selected while it is below the percentage; none: it has no such key, or there is
    /// nothing to tell it by.
    pub draw: Option<f64>,
    /// The percentage over the time since the window opened, in words.
    pub percentage: String,
    /// When it is selected, ns since the window opened.
    pub selected: Vec<Stretch>,
    /// `first`, `nth` or `each`, in words: the order of arrival decides.
    pub count: Option<String>,
    /// When the fault acts, in words.
    pub window: String,
}

/// Whether a fault would hit the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would, while it acts and the request is selected.
    Hits,
    /// It would not.
    Misses,
    /// That depends on what is not known: the answer, the order of arrival.
    Depends,
}

/// A time, ns since the window opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stretch {
    /// From.
    pub from: Time,
    /// Up to; none: to the end.
    pub to: Option<Time>,
}

/// Tells what each fault of a scenario would make of a request. `others`: proxies that it does not bring itself.
pub fn explain(
    checked: &Checked,
    others: &[ProxySpec],
    never: &NeverFault,
    seed: u64,
    question: &Question,
) -> Explanation {
    let never_fault = never.matches(&question.request);
    let one = |fault: &FaultSpec| {
        let named = checked.proxies.iter().chain(others).find(|spec| glob(&fault.proxy, &spec.name));
        // an exchange is what is asked about
        let layer = fault.layer(named.map_or(Protocol::Http, |spec| spec.protocol));
        let rule = named.map_or(Ok(fault.matches.clone()), |spec| fault.rule_on(&spec.way));
        fault_explanation(checked, fault, (layer, rule), seed, never_fault, question)
    };
    Explanation {
        name: checked.name.clone(),
        seed,
        path: crate::http::normal_path(question.request.path()).into_owned(),
        never_fault,
        faults: checked.faults.iter().map(one).collect(),
    }
}

fn fault_explanation(
    checked: &Checked,
    fault: &FaultSpec,
    (layer, matches): (Layer, Result<Option<Arc<MatchSpec>>, String>),
    seed: u64,
    never_fault: bool,
    question: &Question,
) -> FaultExplanation {
    let phase = match layer {
        Layer::Connection => None,
        Layer::Exchange(phase) | Layer::Either(phase) => Some(phase),
    };
    let (holds, why) = match (phase, never_fault, matches) {
        (Some(_), true, _) => (Some(false), Some("`never_fault` of the configuration has its path".to_owned())),
        (.., Err(why)) => (Some(false), Some(why)),
        (.., Ok(matches)) => rule(matches.as_deref(), question),
    };
    let (key, count) = (fault.key.clone(), fault.count);
    let select = Select { percentage: fault.percentage.clone(), ladder: None, key, count, cap: None };
    let unit = unit(&select, phase.is_some(), question);
    let draw = unit.map(|unit| fault.draws(seed, &checked.name).unit(unit).percentage());
    let by_arrival = matches!(select.key, Key::Ordinal) && question.unit.is_none();
    let selected = match draw {
        Some(draw) => stretches(&select, draw, fault.window.length),
        None if by_arrival && takes_all(&select) => vec![Stretch { from: 0, to: None }],
        None => Vec::new(),
    };
    let nobody = match draw {
        Some(_) => selected.is_empty(),
        None => !by_arrival,
    };
    let verdict = match holds {
        Some(false) => Verdict::Misses,
        _ if nobody => Verdict::Misses,
        None => Verdict::Depends,
        Some(true) if (by_arrival && selected.is_empty()) || fault.count != Count::All => Verdict::Depends,
        Some(true) => Verdict::Hits,
    };
    FaultExplanation {
        name: fault.name.clone(),
        kind: fault.kind,
        proxy: fault.proxy.clone(),
        summary: fault.summary.clone(),
        phase: phase.map(|phase| phase.word()),
        verdict,
        holds,
        why,
        key: match &fault.key {
            Key::Ordinal => "ordinal".into(),
            Key::Client => "client".into(),
            Key::Http(key) => key.to_string(),
        },
        draw,
        percentage: percentage(&select),
        selected,
        count: match fault.count {
            Count::All => None,
            Count::First(n) => Some(format!("the first {n} of those that match")),
            Count::Nth(n) => Some(format!("number {n} of those that match")),
            Count::Each(n) => Some(format!("every {n}th of those that match")),
        },
        window: window(fault),
    }
}

fn rule(rule: Option<&MatchSpec>, question: &Question) -> (Option<bool>, Option<String>) {
    let Some(rule) = rule else { return (Some(true), None) };
    if rule.needs_answer() && question.response.is_none() {
        return (None, Some("it looks at the answer, which is not given".into()));
    }
    let facts = Facts {
        client: question.client,
        sni: question.sni.as_deref(),
        alpn: &question.alpn,
        request_size: question.size,
        response: question.response.as_ref(),
    };
    match matcher::explain(rule, &question.request, &facts) {
        Ok(()) => (Some(true), None),
        Err(why) => (Some(false), Some(why)),
    }
}

/// What stands in draws for the request, or for its connection.
fn unit(select: &Select, exchange: bool, question: &Question) -> Option<u64> {
    let (connection, number) = match (&select.key, question.unit) {
        (Key::Ordinal, None) => return None,
        (_, unit) => unit.unwrap_or_default(),
    };
    let dialogue = exchange.then(|| Dialogue {
        number,
        request: question.request.clone(),
        size: question.size,
        response: question.response.clone(),
        answered: None,
    });
    select.unit(connection, question.client, dialogue.as_ref())
}

/// When a unit with this draw is selected, within the window.
fn stretches(select: &Select, draw: f64, length: Option<Time>) -> Vec<Stretch> {
    let within = |at: &Time| length.is_none_or(|length| *at < length);
    let mut all = Vec::new();
    let mut at = 0;
    loop {
        let next = select.next_change(draw, at).filter(within);
        if select.holds(draw, 0, at) {
            all.push(Stretch { from: at, to: next });
        }
        let Some(next) = next else { return all };
        at = next;
    }
}

fn takes_all(select: &Select) -> bool {
    select.percentage.values().into_iter().all(|share| *share >= 100.0)
}

fn percentage(select: &Select) -> String {
    use crate::curve::Curve;
    match &select.percentage {
        Curve::Constant(share) => format!("{share} %"),
        Curve::Ramp { from, to, over } => format!("{from} % to {to} % over {}", Duration(*over)),
        Curve::Steps { steps, hold } => {
            let steps: Vec<String> = steps.iter().map(|share| format!("{share} %")).collect();
            format!("{}, each for {} at least", steps.join(", "), Duration(*hold))
        }
    }
}

fn window(fault: &FaultSpec) -> String {
    let window = &fault.window;
    let first = match window.length {
        None => format!("from {} to the end", Duration(window.at)),
        Some(length) => format!("from {} for {}", Duration(window.at), Duration(length)),
    };
    match (window.every, window.times) {
        (None, _) => first,
        (Some(every), None) => format!("{first}, every {}", Duration(every)),
        (Some(every), Some(times)) => format!("{first}, every {}, {times} times", Duration(every)),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  seed {}  path {}", self.name, self.seed, self.path)?;
        if self.never_fault {
            writeln!(f, "`never_fault` of the configuration has this path: no fault touches its exchanges")?;
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl fmt::Display for FaultExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Hits => "would hit it",
            Verdict::Misses => "would not",
            Verdict::Depends => "may hit it",
        };
        writeln!(f, "{}: {verdict}: {} on {}, {}", self.name, self.kind, self.proxy, self.summary)?;
        match self.phase {
            Some(phase) => writeln!(f, "  phase     {phase}")?,
            None => writeln!(f, "  phase     none: it acts on connections, whatever they carry")?,
        }
        match (self.holds, &self.why) {
            (Some(true), _) => writeln!(f, "  match     holds")?,
            (Some(false), Some(why)) => writeln!(f, "  match     does not hold: {why}")?,
            (_, why) => writeln!(f, "  match     not known: {}", why.as_deref().unwrap_or("?"))?,
        }
        write!(f, "  selected  by {}, {}: ", self.key, self.percentage)?;
        match self.draw {
            None if !self.selected.is_empty() => writeln!(f, "every one")?,
            None if self.key == "ordinal" => writeln!(f, "the order of arrival decides (--unit)")?,
            None => writeln!(f, "never, it has no such key")?,
            Some(draw) => writeln!(f, "draw {draw:.3}, {}", stretches_in_words(&self.selected))?,
        }
        if let Some(count) = &self.count {
            writeln!(f, "  count     {count}")?;
        }
        writeln!(f, "  window    {}", self.window)
    }
}

fn stretches_in_words(stretches: &[Stretch]) -> String {
    if let [Stretch { from: 0, to: None }] = stretches {
        return "all the time".into();
    }
    let words = stretches.iter().map(|stretch| match stretch.to {
        Some(to) => format!("from {} to {} after it opens", Duration(stretch.from), Duration(to)),
        None => format!("from {} after it opens", Duration(stretch.from)),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "never".into() } else { words.join(" and ") }
}

#[cfg(test)]
mod tests;
