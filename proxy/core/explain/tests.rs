#![allow(clippy::unwrap_used, clippy::panic)]
use std::sync::Arc;

use super::*;
use crate::diagnostic::Source;
use crate::http::{Method, StatusCode};
use crate::parse::{Options, scenario};
use crate::time::SECOND;

const PROXY: &str =
    "[[proxy]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:1\"\nprotocol = \"http\"\n";

fn told(fault: &str, never: &[&str], question: &Question) -> FaultExplanation {
    let text = format!("name = \"e\"\n{PROXY}[[fault]]\nproxy = \"web\"\nat = \"1s\"\nfor = \"1m\"\n{fault}");
    let source = Arc::new(Source { name: "a.toml".into(), text });
    let (checked, _) = scenario(&source, &Options::default()).unwrap();
    let never = NeverFault::compile(&never.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
    explain(&checked, &[], &never, 7, question).faults.remove(0)
}

fn question(target: &str) -> Question {
    let request = Request {
        method: Method::POST,
        target: target.into(),
        fields: [("x-tenant", "7")].into_iter().collect(),
        ..Request::default()
    };
    Question { request, ..Question::default() }
}

#[test]
fn a_rule_that_fails_is_told_with_its_condition() {
    let fault = "kind = \"latency\"\ndelay = \"1s\"\nmatch = { path = \"/v1/**\" }";
    let hit = told(fault, &["/healthz"], &question("/v1/a"));
    assert_eq!((hit.verdict, hit.holds, hit.phase), (Verdict::Hits, Some(true), Some("before_upstream")));
    let missed = told(fault, &[], &question("/v2/a"));
    assert_eq!((missed.verdict, missed.holds), (Verdict::Misses, Some(false)));
    assert!(missed.why.unwrap().contains("`path`: `/v2/a` is not"));
    let spared = told("kind = \"latency\"\ndelay = \"1s\"", &["/healthz"], &question("/healthz"));
    assert_eq!(spared.verdict, Verdict::Misses);
    assert!(spared.why.unwrap().contains("never_fault"));
}

#[test]
fn a_draw_is_held_against_the_whole_curve() {
    let fault = "kind = \"latency\"\ndelay = \"1s\"\nkey = \"header:x-tenant\"\npercentage = { from = 0, to = 100, over = \"10s\" }";
    let hit = told(fault, &[], &question("/"));
    let draw = hit.draw.unwrap();
    let [Stretch { from, to: None }] = hit.selected[..] else { panic!("{:?}", hit.selected) };
    assert!((from as f64 / SECOND as f64 - draw / 10.0).abs() < 0.001, "{draw} {from}");
    assert_eq!(told(fault, &[], &question("/other")).draw, Some(draw), "the same key, the same draw");
    let never = told(&fault.replace("100, over = \"10s\"", "0.000001, over = \"10s\""), &[], &question("/"));
    assert_eq!((never.verdict, never.selected), (Verdict::Misses, vec![]));
    let without =
        Question { request: Request { fields: Default::default(), ..question("/").request }, ..question("/") };
    let nobody = told(fault, &[], &without);
    assert_eq!((nobody.verdict, nobody.draw), (Verdict::Misses, None));
    assert!(nobody.to_string().contains("never, it has no such key"), "{nobody}");
}

#[test]
fn what_is_not_known_is_said() {
    let half = "kind = \"latency\"\ndelay = \"1s\"\npercentage = 50";
    let open = told(half, &[], &question("/"));
    assert_eq!((open.verdict, open.draw), (Verdict::Depends, None));
    let told_by = |unit| told(half, &[], &Question { unit: Some(unit), ..question("/") });
    let (one, other) = (told_by((3, 0)), told_by((3, 1)));
    assert!(one.draw.is_some() && one.draw != other.draw);
    assert_eq!(one.verdict == Verdict::Hits, one.draw.unwrap() < 50.0);
    assert_eq!(told("kind = \"latency\"\ndelay = \"1s\"\nfirst = 3", &[], &question("/")).verdict, Verdict::Depends);
    let late = "kind = \"cut\"\nphase = \"mid_body\"\nafter = \"1B\"\nhow = \"reset\"\nmatch = { status = [503] }";
    assert_eq!(told(late, &[], &question("/")).holds, None);
    let answered = |status| {
        let response = Response { status: StatusCode::from_u16(status).unwrap(), ..Response::default() };
        told(late, &[], &Question { response: Some(response), ..question("/") }).holds
    };
    assert_eq!((answered(503), answered(200)), (Some(true), Some(false)));
}

#[test]
fn what_clients_have_to_ask_for_is_told_with_who_may() {
    let fault = "kind = \"envoy_headers\"\nabort = true";
    let text = format!(
        "name = \"e\"\n{PROXY}http = {{ envoy_headers_from = [\"10.0.0.0/8\"] }}\n[[fault]]\nproxy = \"web\"\nfor = \"1m\"\n{fault}"
    );
    let source = Arc::new(Source { name: "a.toml".into(), text });
    let (checked, _) = scenario(&source, &Options::default()).unwrap();
    let mut asks = question("/");
    asks.request.fields.push("x-envoy-fault-abort-request", "500");
    let of = |client: &str, question: &Question| {
        let question = Question { client: Some(client.parse().unwrap()), ..question.clone() };
        explain(&checked, &[], &NeverFault::default(), 7, &question).faults.remove(0)
    };
    assert_eq!(of("10.1.2.3", &asks).verdict, Verdict::Hits);
    let stranger = of("192.0.2.1", &asks);
    assert!(stranger.verdict == Verdict::Misses && stranger.why.clone().unwrap().contains("source"), "{stranger:?}");
    assert_eq!(of("10.1.2.3", &question("/")).verdict, Verdict::Misses, "it does not ask");
}
