#![allow(clippy::unwrap_used)]
use super::*;

mod random;

fn rule(json: serde_json::Value) -> Result<MatchSpec, serde_json::Error> {
    serde_json::from_value(json)
}

#[test]
fn every_field_is_taken() {
    let spec = rule(serde_json::json!({
        "method": ["GET", "POST"], "path": "/v1/**", "host": { "exact": "a" }, "query": { "q": { "present": false } },
        "headers": { "x": { "regex": "^a+$" } }, "source": ["10.0.0.0/8", "::1"], "sni": "*.a", "grpc_service": "a.B",
        "grpc_method": "C", "content_type": "text/*", "request_size": { "min": "1KiB" }, "status": [503, "4xx", "500-502"],
        "response_headers": { "y": { "present": true } }, "not": { "path": "/healthz" },
        "any": [{ "method": ["GET"] }, {}], "all": [{ "host": "a" }]
    }));
    let spec = spec.unwrap();
    assert_eq!(spec.impossible(), None);
    assert!(spec.needs_answer());
    assert_eq!(spec.status.unwrap()[1], StatusRange { low: 400, high: 499 });
    assert_eq!(spec.query["q"], Pattern::Absent);
    assert!(spec.source.unwrap()[0].contains("::ffff:10.1.2.3".parse().unwrap()));
}

#[test]
fn what_means_nothing_is_refused() {
    for json in [
        serde_json::json!({ "pat": "/" }),
        serde_json::json!({ "path": { "regex": "(" } }),
        serde_json::json!({ "path": { "exact": "a", "glob": "b" } }),
        serde_json::json!({ "path": {} }),
        serde_json::json!({ "method": ["get"] }),
        serde_json::json!({ "source": ["10.0.0.0/33"] }),
        serde_json::json!({ "status": [700] }),
        serde_json::json!({ "status": ["502-500"] }),
    ] {
        assert!(rule(json.clone()).is_err(), "{json}");
    }
}

/// Rules, and the field that is named for each.
#[test]
fn a_rule_that_can_match_nothing_is_told() {
    use serde_json::json;
    for (json, field) in [
        (json!({ "method": [] }), "method"),
        (json!({ "any": [] }), "any"),
        (json!({ "path": "v1" }), "path"),
        (json!({ "path": "*" }), "path"),
        (json!({ "path": "*/v1" }), "path"),
        (json!({ "path": "/a//b" }), "path"),
        (json!({ "path": "/a/../b" }), "path"),
        (json!({ "path": { "exact": "/a/%2e/b" } }), "path"),
        (json!({ "path": "/a?b=c" }), "path"),
        (json!({ "path": { "regex": "v1/.*" } }), "path"),
        (json!({ "path": { "present": false } }), "path"),
        (json!({ "host": "a.example:80" }), "host"),
        (json!({ "host": "[::1]:80" }), "host"),
        (json!({ "host": "https://a" }), "host"),
        (json!({ "sni": { "exact": "a:443" } }), "sni"),
        (json!({ "grpc_service": "a/b" }), "grpc_service"),
        (json!({ "content_type": "text/html; charset=utf-8" }), "content_type"),
        (json!({ "headers": { ":path": "/a" } }), "headers"),
        (json!({ "response_headers": { "a b": "*" } }), "response_headers"),
        (json!({ "request_size": { "min": "2B", "max": "1B" } }), "request_size"),
        (json!({ "not": {} }), "not"),
        (json!({ "all": [{ "method": [] }, {}] }), "all"),
        (json!({ "any": [{ "method": [] }] }), "any"),
        // what contradicts itself
        (json!({ "method": ["GET"], "not": { "method": ["GET", "PUT"] } }), "not"),
        (json!({ "method": ["GET"], "all": [{ "method": ["PUT"] }] }), "all"),
        (json!({ "path": "/a/**", "not": { "path": "/a/**" } }), "not"),
        (json!({ "path": "/a/b", "not": { "path": "/a/*" } }), "not"),
        (json!({ "path": "/a/b", "method": ["GET"], "not": { "path": "/a/*", "method": ["GET"] } }), "not"),
        (json!({ "headers": { "x": "*" }, "all": [{ "headers": { "X": { "present": false } } }] }), "all"),
        (json!({ "headers": { "x": "1" }, "not": { "headers": { "x": { "present": true } } } }), "not"),
        (
            json!({ "headers": { "x": { "present": false } }, "not": { "headers": { "x": { "present": false } } } }),
            "not",
        ),
        (json!({ "all": [{ "host": { "exact": "a" } }, { "host": { "exact": "b" } }] }), "all"),
        (json!({ "host": "a.example", "all": [{ "host": { "regex": "b.*" } }] }), "all"),
        (json!({ "path": "/a", "any": [{ "path": "/b" }, { "path": "/c" }] }), "any"),
        (json!({ "source": ["10.0.0.0/8"], "all": [{ "source": ["192.0.2.0/24"] }] }), "all"),
        (json!({ "source": ["10.1.0.0/16"], "not": { "source": ["10.0.0.0/8"] } }), "not"),
        (json!({ "status": ["5xx"], "all": [{ "status": [404] }] }), "all"),
        (json!({ "status": [503], "not": { "status": ["5xx"] } }), "not"),
        (json!({ "request_size": { "min": "2B" }, "all": [{ "request_size": { "max": "1B" } }] }), "all"),
        (json!({ "grpc_service": "a.B", "path": "/v1/a/b" }), "path"),
        (json!({ "grpc_service": "a.B", "path": "/a.C/M" }), "path"),
        (json!({ "grpc_method": "Get*", "path": "/a.C/Set" }), "path"),
        (json!({ "grpc_method": "M", "content_type": { "exact": "text/html" } }), "content_type"),
    ] {
        let spec = rule(json.clone()).unwrap();
        assert_eq!(spec.impossible().map(|(field, _)| field), Some(field), "{json} {:?}", spec.impossible());
    }
}

#[test]
fn a_rule_that_can_match_something_is_not_refused() {
    use serde_json::json;
    for json in [
        json!({}),
        json!({ "any": [{ "method": [] }, {}] }),
        json!({ "path": "/a/" }),
        json!({ "path": "**" }),
        json!({ "path": { "exact": "*" }, "method": ["OPTIONS"] }),
        json!({ "path": "/.well-known/**" }),
        json!({ "path": { "regex": "^/v1/.*" } }),
        json!({ "path": { "regex": "(/a|/b)/.*" } }),
        json!({ "host": "[::1]" }),
        json!({ "host": "::1" }),
        json!({ "method": ["GET", "PUT"], "not": { "method": ["GET"] } }),
        json!({ "path": "/a/**", "not": { "path": "/a/b" } }),
        // two fields of one name
        json!({ "headers": { "x": { "exact": "1" } }, "all": [{ "headers": { "x": { "exact": "2" } } }] }),
        json!({ "headers": { "x": "1" }, "not": { "headers": { "x": "2" } } }),
        json!({ "path": "/a", "any": [{ "path": "/b" }, { "method": ["GET"] }] }),
        json!({ "path": "/a/b", "not": { "path": "/a/*", "method": ["GET"] } }),
        json!({ "source": ["10.1.0.0/16"], "all": [{ "source": ["10.0.0.0/8"] }] }),
        json!({ "grpc_service": "a.*", "path": "/a.B/M", "content_type": "application/grpc+proto" }),
        json!({ "grpc_service": { "present": false }, "path": "/v1" }),
    ] {
        assert_eq!(rule(json.clone()).unwrap().impossible(), None, "{json}");
    }
}

#[test]
fn networks_of_ipv4_in_ipv6_are_ipv4() {
    let network = |text: &str| text.parse::<Network>().unwrap();
    assert_eq!(network("::ffff:10.0.0.0/104"), network("10.0.0.0/8"));
    assert!(network("::ffff:10.1.2.3").contains("10.1.2.3".parse().unwrap()));
    assert!(
        !network("::/0").contains("10.1.2.3".parse().unwrap())
            && network("0.0.0.0/0").contains("::ffff:1.2.3.4".parse().unwrap())
    );
    assert!(
        "::ffff:10.0.0.0/64".parse::<Network>().is_ok_and(|network| !network.contains("10.0.0.1".parse().unwrap()))
    );
}
