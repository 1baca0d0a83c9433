//! Every attempt is on record, and the lever.

use squall_drill::audit::{Act, Decision};
use squall_drill::view::State;

use super::support::{Port, port};
use crate::routes;

/// The latest record; it is made before the answer goes out.
fn last(port: &Port) -> (Act, bool) {
    port.program.acts.lock().unwrap().last().cloned().unwrap_or_else(|| panic!("nothing is on record"))
}

/// Walks the table: whatever comes of a request, refused ones included, is on record with its route.
#[test]
fn every_route_leaves_a_record() {
    let port = port();
    port.program.add("drill-1", State::Running, &[]);
    for route in routes::table().iter().filter(|route| route.path != "/v1/events") {
        let path = route.path.replace("{id}", "drill-1").replace("{name}", "redis");
        port.program.acts.lock().unwrap().clear();
        let reply = port.ask(&format!("{} {path}", route.method), &["content-type: application/json"], "{}");
        let acts = port.program.acts.lock().unwrap().clone();
        if route.harmless && reply.status < 400 {
            assert!(acts.is_empty(), "{path}");
            continue;
        }
        let [(act, often)] = acts.as_slice() else { panic!("{path}: {acts:?}") };
        assert_eq!(act.action, format!("{} {}", route.method, route.path));
        let object = route.path.contains('{').then(|| if route.path.contains("{id}") { "drill-1" } else { "redis" });
        assert!(act.object.as_deref() == object || route.path == "/v1/experiments", "{act:?}");
        assert_eq!(act.decision, if reply.status < 400 { Decision::Allow } else { Decision::Deny }, "{path}");
        assert!(act.reason.as_ref().is_some_and(|reason| reason.starts_with(&reply.status.to_string())), "{act:?}");
        let looks = route.method == "GET" || route.path.ends_with("/renew");
        assert_eq!(*often, looks || reply.status >= 400, "{path}");
        let peer = act.peer.as_deref().unwrap_or_default();
        assert_eq!(peer.starts_with("127.0.0.1:"), !often, "{peer}: those that are counted go by their host");
    }
}

#[test]
fn what_is_refused_before_any_handler_is_on_record_too() {
    let port = port();
    let head = "content-type: application/json";
    for (request, headers, action, why) in [
        (
            "POST /v1/abort",
            &["origin: http://evil.example", head][..],
            "POST /v1/abort",
            "403: requests from other pages",
        ),
        ("GET /nowhere", &[], "GET (no route)", "404: there is nothing here"),
        ("DELETE /v1/status", &[], "DELETE /v1/status", "405: not with this method"),
        ("POST /v1/reload", &["content-type: text/plain"], "POST /v1/reload", "415: "),
        ("GET /v1/../v1/status", &[], "GET (no route)", "400: the path is not"),
    ] {
        port.ask(request, headers, "{}");
        let (act, often) = last(&port);
        assert!(often && act.decision == Decision::Deny && act.action == action, "{request}: {act:?}");
        assert!(act.reason.as_ref().is_some_and(|reason| reason.starts_with(why)), "{request}: {act:?}");
    }
}

#[test]
fn a_scenario_that_was_handed_in_is_on_record_by_its_id() {
    let port = port();
    port.ask("POST /v1/experiments", &["content-type: application/toml"], "name = \"drill\"").json();
    assert_eq!(last(&port).0.object.as_deref(), Some("drill"));
}

#[test]
fn the_lever_is_engaged_with_a_reason_and_released() {
    let port = port();
    port.program.add("drill-1", State::Running, &[]);
    for body in ["{}", r#"{"reason": ""}"#, r#"{"reason": "a\nb"}"#, r#"{"reason": "x", "by": "me"}"#] {
        port.post("/v1/lever/engage", body).problem(422);
    }
    assert!(port.program.aborts.lock().unwrap().is_empty());
    let engaged = port.post("/v1/lever/engage", r#"{"reason": "the site is down"}"#).json();
    assert_eq!((&engaged["lever"]["engaged"], &engaged["abort"]["experiments"][0]), (&true.into(), &"drill-1".into()));
    assert_eq!(*port.program.aborts.lock().unwrap(), [None]);
    let shown = port.get("/v1/lever").json();
    assert_eq!((&shown["reason"], &shown["by"]), (&"the site is down".into(), &"local".into()));
    assert_eq!(port.get("/v1/status").json()["lever"], shown);
    assert_eq!(port.post("/v1/lever/release", "{}").json()["engaged"], false);
}
