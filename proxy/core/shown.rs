//! What a client gets to see of a fault on HTTP exchanges: the fault itself is asked, as an exchange would ask it, without a
//! socket.

use std::fmt::Write as _;

use crate::fault::{AnyCx, Asked, Flow, NewBody, Patch, Reply, Ruling, Span};
use crate::http::{Request, Response};
use crate::scenario::{Checked, FaultSpec, Phase};

/// A limit may let so many exchanges pass before it answers.
const MOST: u64 = 10_000;

/// The answer that a fault makes, or what it changes of the service's own, as HTTP/1.1 writes it, or the event that it puts
/// into a stream; none: it answers nothing (or only after more than 10,000 exchanges), and changes no head. The request is `GET /`, without fields.
pub fn shown(scenario: &Checked, fault: &FaultSpec) -> Option<String> {
    if let Some(text) = inserted(scenario, fault) {
        return Some(text);
    }
    let (phase, made) = (fault.phase?, fault.fault.as_ref().ok()?);
    let host = fault.proxy.strip_prefix("host:").unwrap_or(&fault.proxy);
    let request = Request { authority: host.to_owned(), target: "/".into(), ..Request::default() };
    let response =
        matches!(phase, Phase::AfterUpstreamHead | Phase::MidBody | Phase::AfterUpstream).then(|| Response {
            fields: [("content-type", "text/event-stream")].into_iter().collect(), // what is about streams acts on no other
            ..Response::default()
        });
    let shared = made.new_shared();
    let flow = fault.flow.unwrap_or(Flow::Downstream);
    let draw = fault.draws(0, &scenario.name).unit(0);
    let (span, mut injected) = (Span::default(), Vec::new());
    for _ in 0..MOST {
        let mut state = made.new_state();
        let cx = AnyCx {
            state: state.as_mut(),
            shared: shared.as_ref(),
            draw,
            span: &span,
            now: 1,
            elapsed: 0,
            flow,
            exchange: None,
            injected: &mut injected,
        };
        let asked = Asked { phase, request: &request, response: response.as_ref(), client: None, began: 1, arrived: 1 };
        let text = match made.exchange(cx, &asked) {
            Ruling::Pass => continue,
            Ruling::Answer { reply, .. } => answered(&reply, &mark(scenario, fault)),
            Ruling::Patch(patch) if patch.side == Flow::Downstream => patched(&patch, &mark(scenario, fault)),
            _ => return None,
        };
        return Some(text);
    }
    None
}

/// The event that a fault on streams of events is written to put in.
fn inserted(scenario: &Checked, fault: &FaultSpec) -> Option<String> {
    let all: serde_json::Value = serde_json::from_str(&scenario.canonical).ok()?;
    let is_it = |one: &&serde_json::Value| one["kind"] == "sse" && one["name"].as_str().unwrap_or("sse") == fault.name;
    Some(all["fault"].as_array()?.iter().find(is_it)?["text"].as_str()?.to_owned())
}

/// The field by which an answer is known to be a fault's; nothing if it is not to say so.
fn mark(scenario: &Checked, fault: &FaultSpec) -> String {
    if fault.stealth { String::new() } else { format!("x-squall-fault: {}/{}\n", scenario.name, fault.name) }
}

fn answered(reply: &Reply, mark: &str) -> String {
    let Reply { head, body, trailers } = reply;
    let mut text = format!("HTTP/1.1 {}\n", head.status);
    for (name, value) in head.fields.iter() {
        line(&mut text, &String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
    }
    text.push_str(mark);
    line(&mut text, "content-length", &body.len().to_string());
    let _written = write!(text, "\n{}", String::from_utf8_lossy(body));
    for (name, value) in trailers.iter().flat_map(|fields| fields.iter()) {
        line(&mut text, &String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
    }
    text
}

fn patched(patch: &Patch, mark: &str) -> String {
    let mut text = match patch.status {
        Some(status) => format!("HTTP/1.1 {status}\n"),
        None => "HTTP/1.1 (the service's own status)\n".to_owned(),
    };
    patch.set.iter().chain(&patch.add).for_each(|(name, value)| line(&mut text, name, value));
    text.push_str(mark);
    text.push_str("(and the service's own fields");
    if !patch.remove.is_empty() {
        let _written = write!(text, ", without {}", patch.remove.join(", "));
    }
    text.push_str(")\n\n");
    match &patch.body {
        Some(NewBody::Put(body)) => text.push_str(&String::from_utf8_lossy(body)),
        Some(NewBody::Rewrite { .. }) => text.push_str("(the service's own body, changed)\n"),
        None => text.push_str("(the service's own body)\n"),
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    let _written = writeln!(text, "{name}: {value}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::Source;
    use crate::parse::{Options, scenario};

    fn of(fault: &str) -> Option<String> {
        let text =
            format!("name = 'x'\nmax_duration = '1m'\n[[fault]]\nname = 'f'\nproxy = 'host:a.example'\n{fault}\n");
        let (checked, _) = scenario(&Arc::new(Source { name: "x".into(), text }), &Options::default()).unwrap();
        shown(&checked, &checked.faults[0])
    }

    #[test]
    fn what_a_fault_answers_is_shown_as_it_is_written() {
        let error = "kind = 'error'\nhttp_status = 429\nheaders = { 'retry-after' = '2' }\nbody = 'at {{host}}'";
        let head = "HTTP/1.1 429 Too Many Requests\nretry-after: 2\n";
        let rest = "content-length: 12\n\nat a.example";
        assert_eq!(of(error).unwrap(), format!("{head}x-squall-fault: x/f\n{rest}"));
        assert_eq!(of(&format!("{error}\nstealth = true")).unwrap(), format!("{head}{rest}"));
        assert_eq!(
            of(&format!("{error}\nphase = 'after_upstream'")).unwrap(),
            format!("{head}x-squall-fault: x/f\n{rest}")
        );
        let limit = of("kind = 'rate_limit'\nlimit = 3\nwindow = '60s'\nbody = 'slow'").unwrap();
        assert!(
            limit.starts_with("HTTP/1.1 429 Too Many Requests\nretry-after: 60\n") && limit.ends_with("\n\nslow"),
            "{limit}"
        );
    }

    #[test]
    fn what_a_fault_changes_is_shown_beside_what_stays() {
        let patch = of("kind = 'patch'\nset = { date = 'never' }\nremove = ['etag']").unwrap();
        let own = "(and the service's own fields, without etag)\n\n(the service's own body)\n";
        assert_eq!(patch, format!("HTTP/1.1 (the service's own status)\ndate: never\nx-squall-fault: x/f\n{own}"));
        assert!(of("kind = 'replace'\nbody = 'new'\nhttp_status = 500").unwrap().ends_with("\n\nnew"));
        assert!(of("kind = 'sse'\nhow = 'content_type'").unwrap().contains("content-type: text/html\n"));
        assert_eq!(of("kind = 'latency'\ndelay = '1s'"), None);
        assert_eq!(of("kind = 'sse'\nhow = 'stall'"), None);
        assert_eq!(of("kind = 'sse'\nhow = 'error'\ntext = 'data: oops'").unwrap(), "data: oops");
    }
}
