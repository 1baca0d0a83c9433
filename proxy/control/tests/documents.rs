use std::collections::BTreeSet;

use serde_json::Value;
use squall_drill::view::State;

use super::support::port;
use crate::routes;

#[test]
fn the_document_lists_exactly_the_routes() {
    let document = port().get("/openapi.json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut listed = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            listed.insert((path.clone(), method.to_ascii_uppercase()));
        }
    }
    let table: BTreeSet<_> =
        routes::table().iter().map(|route| (route.path.to_owned(), route.method.to_string())).collect();
    assert_eq!(listed, table);
}

#[test]
fn the_reference_for_people_lists_exactly_the_routes_too() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/control-port.md")).unwrap();
    let written: BTreeSet<&str> = text.lines().filter(|line| line.contains("| `/")).collect();
    let table = routes::table();
    let row = |route: &routes::Route| {
        format!("| {} | `{}` | {} | {} |", route.method, route.path, route.about, route.needs.role)
    };
    let routes: Vec<String> = table.iter().map(row).collect();
    assert_eq!(written, routes.iter().map(String::as_str).collect(), "docs/control-port.md");
}

/// Every route of the document is answered by the router: neither unknown nor with another method.
#[test]
fn every_route_of_the_document_is_served() {
    let port = port();
    let document = port.get("/openapi.json").json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|_| path != "/v1/events") {
            let path = path.replace("{name}", "nobody").replace("{id}", "nobody");
            let reply = port.ask(&format!("{} {path}", method.to_ascii_uppercase()), &[], "");
            assert_ne!(reply.status, 405, "{method} {path}");
            assert!(reply.status != 404 || reply.body.contains("nobody"), "{method} {path}: {reply:?}");
        }
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| walk(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let document = port().get("/openapi.json").json();
    let mut found = Vec::new();
    walk(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found {
        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
    let ok = &document["paths"]["/v1/proxies"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(ok["items"]["$ref"], "#/components/schemas/ProxyView");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let has_parameters = operation["parameters"].as_array().is_some_and(|list| !list.is_empty());
            assert_eq!(path.contains('{') || path == "/v1/experiments" && method == "post", has_parameters, "{path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let described = status == "204" || response["content"].as_object().is_some_and(|c| !c.is_empty());
                assert!(described, "{method} {path} {status}");
                assert!(
                    response["content"].as_object().is_none_or(|content| {
                        content
                            .values()
                            .all(|content| content["schema"].is_object() || content["schema"] == Value::Bool(true))
                    }),
                    "{method} {path} {status}: {response}"
                );
            }
        }
    }
}

#[test]
fn figures_carry_their_labels_and_go_with_what_they_are_about() {
    let port = port();
    let body = r#"{"listen":"127.0.0.1:0","upstream":"localhost:6379"}"#;
    port.ask("PUT /v1/proxies/redis", &["content-type: application/json"], body);
    port.program.add("drill-1", State::Running, &[]);
    let scrape = port.get("/metrics");
    assert!(scrape.head.contains("content-type: text/plain; version=0.0.4"));
    for line in [
        "squall_proxy_connections_total{proxy=\"redis\"} 12",
        "squall_proxy_connections_failed_total{proxy=\"redis\",origin=\"server\",cause=\"connect\"} 1",
        "squall_fault_injected_total{experiment=\"drill-1\",fault=\"late\",kind=\"latency\"} 3",
        "squall_fault_held{experiment=\"drill-1\",fault=\"late\",kind=\"latency\"} 2",
        "squall_experiment_state{experiment=\"drill-1\",state=\"running\"} 1",
        "# TYPE squall_proxy_connections_total counter",
        "# HELP squall_fault_held Units held now",
    ] {
        assert!(scrape.body.lines().any(|found| found == line), "{line}\n{}", scrape.body);
    }
    port.ask("DELETE /v1/proxies/redis", &[], "");
    assert!(!port.get("/metrics").body.contains("redis"));
}
