//! What match rules cost a request that none of them is for: `cargo bench -p squall-core --bench rules`. Nanoseconds per
//! request, the best of several rounds, for 10, 100 and 1,000 rules.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods)] // a stopwatch: nothing decides by this time

use std::hint::black_box;
use std::time::Instant;

use serde_json::{Value, json};
use squall_core::http::{Method, Request};
use squall_core::matcher::{Facts, MatchSpec, NeverFault, Rules};

fn main() {
    println!("{:<28}{:>8}{:>8}{:>8}", "ns per request", 10, 100, 1_000);
    for (name, shape) in SHAPES {
        let costs = [10, 100, 1_000].map(|n| cost(&(0..n).map(shape).collect::<Vec<_>>()));
        println!("{name:<28}{:>8.0}{:>8.0}{:>8.0}", costs[0], costs[1], costs[2]);
    }
    let never = NeverFault::compile(&["/healthz".into(), "/readyz".into(), "/admin/**".into()]);
    let request = request();
    println!("{:<28}{:>8.0}", "three of never_fault", best(|| u64::from(never.matches(black_box(&request)))));
}

/// The nth rule of a shape.
type Shape = fn(usize) -> Value;

const SHAPES: [(&str, Shape); 8] = [
    ("mixed", |n| SHAPES[1 + n % (SHAPES.len() - 1)].1(n)),
    ("exact path", |n| json!({ "method": ["GET"], "path": { "exact": format!("/v1/orders/{n}") } })),
    ("glob on path", |n| json!({ "path": format!("/v1/customers/{n}/**") })),
    ("regex on path", |n| json!({ "path": { "regex": format!("/v1/invoices/{n}/[0-9]+") } })),
    ("host", |n| json!({ "host": format!("*.shop-{n}.example.com") })),
    ("header under one path", |n| json!({ "path": "/v1/charges/**", "headers": { "x-tenant": n.to_string() } })),
    (
        "query and source",
        |n| json!({ "source": [format!("10.{}.{}.0/24", n / 256, n % 256)], "query": { "mode": "test" } }),
    ),
    ("end of path, one pass", |n| json!({ "path": { "regex": format!(".*/receipt-{n}") } })),
];

fn request() -> Request {
    let fields = [
        ("user-agent", "curl/8.5.0"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("content-type", "application/json"),
        ("content-length", "128"),
        ("x-tenant", "tenant-of-nobody"),
        ("x-request-id", "6f1c1b7e-6d0a-4a5e-9d7b-2f0c7a0c2b11"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    Request {
        method: Method::POST,
        authority: "api.example.com".into(),
        target: "/v1/charges/ch_3MqLiJ?expand=customer".into(),
        fields: fields.into_iter().collect(),
        ..Request::default()
    }
}

fn cost(rules: &[Value]) -> f64 {
    let rules: Vec<MatchSpec> = rules.iter().map(|rule| serde_json::from_value(rule.clone()).unwrap()).collect();
    assert!(rules.iter().all(|rule| rule.impossible().is_none()));
    let compiled = Rules::compile(rules.iter().map(Some));
    let (request, mut matching) = (request(), Vec::new());
    let facts = Facts { client: "192.0.2.7".parse().ok(), request_size: Some(128), ..Facts::default() };
    let cost = best(|| {
        compiled.matching(black_box(&request), &facts, &mut matching);
        matching.len() as u64
    });
    assert!(matching.is_empty());
    cost
}

/// The best of some rounds, per operation.
fn best(mut operation: impl FnMut() -> u64) -> f64 {
    const OPERATIONS: u32 = 20_000;
    let rounds = (0..10).map(|_| {
        let start = Instant::now();
        for _ in 0..OPERATIONS {
            black_box(operation());
        }
        start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}
