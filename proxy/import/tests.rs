#![allow(clippy::unwrap_used, clippy::panic)]
use std::sync::Arc;

use squall_core::diagnostic::Source;
use squall_core::http::{Method, Request};
use squall_core::matcher::{Facts, explain};
use squall_core::parse::{Options, scenario};
use squall_core::scenario::Checked;

use super::*;

fn wish() -> Wish {
    Wish { name: "imported".into(), proxy: None, max_duration: "10m".into() }
}

#[track_caller]
fn checked(draft: &Draft) -> Checked {
    let text = draft.to_string();
    let source = Arc::new(Source { name: "a.toml".into(), text: text.clone() });
    match scenario(&source, &Options::default()) {
        Ok((checked, _)) => checked,
        Err(mistakes) => panic!("{text}\n{mistakes:?}"),
    }
}

/// Whether the nth fault's rule holds for a request: method, host, target, headers.
fn holds(checked: &Checked, fault: usize, request: (&str, &str, &str, &[(&str, &str)])) -> bool {
    let (method, authority, target, fields) = request;
    let request = Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        authority: authority.into(),
        target: target.into(),
        fields: fields.iter().copied().collect(),
        ..Request::default()
    };
    checked.faults[fault].matches.as_ref().is_none_or(|rule| explain(rule, &request, &Facts::default()).is_ok())
}

const BOOTSTRAP: &str = r#"
static_resources:
  listeners:
  - name: ingress
    address: { socket_address: { address: 0.0.0.0, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          route_config:
            virtual_hosts:
            - name: shop
              domains: ["shop.example.com", "*.shop.example.com:*"]
              routes:
              - match: { prefix: "/static/" }
                route: { cluster: assets }
              - match: { path_separated_prefix: "/v1", headers: [{ name: x-canary, present_match: true }] }
                route: { cluster: Payments_v2 }
                typed_per_filter_config:
                  envoy.filters.http.fault:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                    abort: { http_status: 503, percentage: { numerator: 2500, denominator: TEN_THOUSAND } }
          http_filters:
          - name: envoy.filters.http.fault
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
              max_active_faults: 100
              delay_percent_runtime: fault.delay
              delay:
                fixed_delay: 1.5s
                percentage: { numerator: 10, denominator: HUNDRED }
              response_rate_limit:
                fixed_limit: { limit_kbps: 64 }
                percentage: { numerator: 100 }
              headers:
              - { name: ":method", string_match: { exact: POST } }
              - { name: ":path", prefix_match: /v1/charges }
              - { name: x-user, string_match: { prefix: test-, ignore_case: true } }
              - { name: x-internal, present_match: true, invert_match: true }
"#;

#[test]
fn a_whole_configuration_of_envoy() {
    let draft = envoy(BOOTSTRAP, wish()).unwrap();
    let mut checked = checked(&draft);
    checked.faults.sort_by_key(|fault| fault.kind != "error");
    let told: Vec<_> =
        checked.faults.iter().map(|fault| (&*fault.name, fault.kind, &*fault.proxy, &*fault.summary)).collect();
    assert_eq!(
        told,
        [
            ("abort", "error", "payments-v2", "status 503"),
            ("delay", "latency", "upstream", "delay 1500ms"),
            ("slow-answer", "bandwidth", "upstream", "64KiB/s per connection"),
        ]
    );
    assert_eq!(*checked.faults[0].percentage.values()[0], 25.0);
    assert_eq!(checked.max_active_faults, Some(100));
    let lost: Vec<&str> = draft.lost().collect();
    for told in ["http_filters[0].typed_config.delay_percent_runtime", "here both act"] {
        assert!(lost.iter().any(|what| what.contains(told)), "{told}: {lost:?}");
    }

    let canary: &[_] = &[("x-canary", "1")];
    assert!(holds(&checked, 0, ("GET", "a.shop.example.com:80", "/v1/a", canary)));
    assert!(!holds(&checked, 0, ("GET", "shop.example.com", "/v1/a", &[])));
    assert!(!holds(&checked, 0, ("GET", "other.example.com", "/v1/a", canary)));
    assert!(!holds(&checked, 0, ("GET", "shop.example.com", "/v10", canary)));
    for (at, _) in checked.faults.iter().enumerate().skip(1) {
        let user: &[_] = &[("x-user", "TEST-7")];
        assert!(holds(&checked, at, ("POST", "a", "/v1/charges?x=1", user)));
        assert!(!holds(&checked, at, ("GET", "a", "/v1/charges", user)));
        assert!(!holds(&checked, at, ("POST", "a", "/v1/charges", &[("x-user", "test-7"), ("x-internal", "1")])));
        assert!(!holds(&checked, at, ("POST", "a", "/v1/charges", &[("x-user", "nobody")])));
    }
}

#[test]
fn a_filter_by_itself_in_json_and_what_it_can_not_carry() {
    let json = r#"{
        "upstreamCluster": "ratings|v1",
        "delay": { "headerDelay": {}, "percentage": { "numerator": 100 } },
        "abort": { "httpStatus": 429 },
        "responseRateLimit": { "fixedLimit": { "limitKbps": "8" }, "percentage": { "numerator": 5000, "denominator": "MILLION" } },
        "filterMetadata": { "a": 1 }
    }"#;
    let draft = envoy(json, wish()).unwrap();
    let checked = checked(&draft);
    let told: Vec<_> = checked.faults.iter().map(|fault| (&*fault.name, &*fault.proxy, &*fault.summary)).collect();
    assert_eq!(
        told,
        [
            ("asked-delay", "ratings-v1", "as clients ask: delays up to 30s"),
            ("slow-answer", "ratings-v1", "8KiB/s per connection"),
        ]
    );
    assert_eq!(*checked.faults[1].percentage.values()[0], 0.5);
    let lost: Vec<&str> = draft.lost().collect();
    for (what, why) in [("delay", "envoy_headers_from"), ("abort", "0 %"), ("filterMetadata", "no counterpart")] {
        assert!(lost.iter().any(|line| line.contains(what) && line.contains(why)), "{what}: {lost:?}");
    }
    assert_eq!(lost.len(), 3);
}

#[test]
fn what_clients_ask_for_with_headers_is_asked_for_here_too() {
    let yaml = "
        delay: { header_delay: {}, percentage: { numerator: 5 } }
        abort: { header_abort: {}, percentage: { numerator: 100 } }
        response_rate_limit: { header_limit: {}, percentage: { numerator: 100 } }";
    let draft = envoy(yaml, wish()).unwrap();
    let checked = checked(&draft);
    let told: Vec<_> = checked.faults.iter().map(|fault| (fault.kind, &*fault.summary)).collect();
    let of = |what: &str| format!("as clients ask: {what}");
    let expected = [of("delays up to 30s"), of("aborts"), of("answers down to 1KiB/s")];
    assert_eq!(told, expected.each_ref().map(|summary| ("envoy_headers", summary.as_str())));
    assert_eq!(*checked.faults[0].percentage.values()[0], 5.0);
}

#[test]
fn a_condition_without_counterpart_takes_its_fault_with_it() {
    for (condition, place) in [
        ("downstream_nodes: [edge]", "downstream_nodes"),
        ("headers: [{ name: x-n, range_match: { start: 1, end: 9 } }]", "headers[0].range_match"),
        ("headers: [{ name: ':path', string_match: { safe_regex: { regex: '/a.*' } } }]", "headers[0]"),
        ("headers: [{ name: ':method', prefix_match: P }]", "headers[0]"),
    ] {
        let text = format!("delay: {{ fixed_delay: 1s, percentage: {{ numerator: 1 }} }}\n{condition}");
        let draft = envoy(&text, wish()).unwrap();
        assert!(!draft.has_faults() && draft.lost().any(|what| what.contains(place)), "{draft}");
    }
}

const BOOKINFO: &str = r#"
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ratings }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: ratings
spec:
  hosts: [ratings.default.svc.cluster.local]
  http:
  - match:
    - headers: { end-user: { exact: jason } }
      uri: { prefix: /ratings }
    - queryParams: { debug: { exact: "1" } }
    fault:
      delay: { percentage: { value: 12.5 }, fixedDelay: 1m7s }
    route: [{ destination: { host: ratings, subset: v1 } }]
  - match:
    - uri: { regex: "/reviews/[0-9]+" }
      method: { exact: GET }
      withoutHeaders: { x-internal: {} }
    fault:
      abort: { httpStatus: 500 }
    route: [{ destination: { host: ratings, subset: v1 } }]
  - match:
    - sourceLabels: { app: web }
    fault:
      delay: { fixedDelay: 5s }
  - fault:
      abort: { http2Error: REFUSED_STREAM, percentage: { value: 1 } }
"#;

#[test]
fn virtual_services_of_istio() {
    let draft = istio(BOOKINFO, wish()).unwrap();
    let checked = checked(&draft);
    let told: Vec<_> = checked.faults.iter().map(|fault| (&*fault.name, &*fault.proxy, &*fault.summary)).collect();
    assert_eq!(told, [("delay", "ratings", "delay 67s"), ("abort", "ratings", "status 500")]);
    assert_eq!(*checked.faults[0].percentage.values()[0], 12.5);
    assert_eq!(*checked.faults[1].percentage.values()[0], 100.0);
    let jason: &[_] = &[("End-User", "jason")];
    assert!(
        holds(&checked, 0, ("GET", "a", "/ratings/1", jason)) && holds(&checked, 0, ("GET", "a", "/x?debug=1", &[]))
    );
    assert!(!holds(&checked, 0, ("GET", "a", "/ratings/1", &[])) && !holds(&checked, 0, ("GET", "a", "/x", jason)));
    assert!(holds(&checked, 1, ("GET", "a", "/reviews/7", &[])));
    assert!(!holds(&checked, 1, ("GET", "a", "/reviews/7", &[("x-internal", "1")])));
    assert!(!holds(&checked, 1, ("GET", "a", "/reviews/7?debug=1", &[])), "the first route takes it");
    let lost: Vec<&str> = draft.lost().collect();
    assert!(
        lost[0].contains("ratings.http[2].fault") && lost[0].contains("source_labels")
            || lost[0].contains("sourceLabels"),
        "{lost:?}"
    );
    assert!(lost[1].contains("ratings.http[3].fault"), "{lost:?}");
    assert_eq!(lost.len(), 2);
}

#[test]
fn statuses_of_grpc_come_by_number_or_name() {
    let filter = "abort: { grpc_status: 14, percentage: { numerator: 100 } }";
    let filter = envoy(filter, wish()).unwrap();
    assert!(filter.to_string().contains("\ngrpc_status = 14\n"));
    assert_eq!(checked(&filter).faults[0].kind, "error");
    let service = "kind: VirtualService\nspec: { http: [{ fault: { abort: { grpcStatus: UNAVAILABLE } } }] }";
    assert!(istio(service, wish()).unwrap().to_string().contains("\ngrpc_status = 14\n"));
    let wrong = "kind: VirtualService\nspec: { http: [{ fault: { abort: { grpcStatus: NOPE } } }] }";
    assert!(istio(wrong, wish()).unwrap().lost().any(|what| what.contains("NOPE")));
}

#[test]
fn what_is_no_such_file_is_refused() {
    for text in ["", "a: [", "a: b", "[]", "kind: VirtualService\nspec: { http: [{ route: [] }] }"] {
        assert!(envoy(text, wish()).is_err() && istio(text, wish()).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(envoy(&deep, wish()).is_err());
    let laughs = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n\
                  d: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e]\ng: [*f, *f, *f, *f, *f]";
    assert!(envoy(laughs, wish()).is_err());
}

#[test]
fn nothing_in_a_file_gets_out_of_its_comment_or_text() {
    let text = "delay: { fixed_delay: 1s, percentage: { numerator: 1 } }\nheaders: [{ name: \"x\", exact_match: \"a\\\"\\nb\" }]\n\"k\\n[[fault]]\": 1";
    let draft = envoy(text, wish()).unwrap();
    assert_eq!(checked(&draft).faults.len(), 1, "{draft}");
}
