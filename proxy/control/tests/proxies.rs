use squall_drill::view::State;

use super::support::port;

const BODY: &str = r#"{"listen":"127.0.0.1:0","upstream":"localhost:6379"}"#;
const JSON: &str = "content-type: application/json";

#[test]
fn a_proxy_is_added_changed_shown_and_removed() {
    let port = port();
    let put = |body| port.ask("PUT /v1/proxies/redis", &[JSON], body);
    assert_eq!(port.get("/readyz").status, 503);
    assert_eq!(put(BODY).status, 201);
    assert_eq!(port.get("/readyz").status, 200);
    assert_eq!(put(BODY).status, 200);
    let changed = put(r#"{"listen":"127.0.0.1:40000","upstream":"localhost:6380","max_connections":5}"#);
    assert_eq!(changed.status, 200);
    assert_eq!(changed.json()["upstream"], "localhost:6380");
    // Named by the port that 0 became, the listener stays what it was.
    assert_eq!(port.program.proxies.lock().unwrap()["redis"].spec.listen, "127.0.0.1:0");

    let one = port.get("/v1/proxies/redis").json();
    assert_eq!(one["listen"], "127.0.0.1:40000");
    assert_eq!((&one["max_connections"], &one["accepted"]), (&5.into(), &12.into()));
    assert_eq!(port.get("/v1/proxies").json().as_array().unwrap().len(), 1);
    let status = port.get("/v1/status").json();
    let expected = serde_json::json!([{
        "name": "redis", "listen": "127.0.0.1:40000", "upstream": "localhost:6380", "protocol": "tcp"
    }]);
    assert_eq!(status["proxies"], expected);
    assert_eq!(status["environment"], "local");

    assert_eq!(port.ask("DELETE /v1/proxies/redis", &[], "").status, 204);
    port.ask("DELETE /v1/proxies/redis", &[], "").problem(404);
    port.get("/v1/proxies/redis").problem(404);
}

#[test]
fn a_refused_change_changes_nothing() {
    let port = port();
    port.ask("PUT /v1/proxies/a", &[JSON], BODY);
    let before = port.get("/v1/proxies").body;
    let put = |path: &str, body: &str| port.ask(&format!("PUT /v1/proxies/{path}"), &[JSON], body);
    put("a", r#"{"listen":"127.0.0.1:9","upstream":"localhost:1"}"#).problem(409);
    let other = put("a", r#"{"name":"b","listen":"127.0.0.1:0","upstream":"localhost:1"}"#).problem(422);
    assert_eq!(other["errors"][0]["field"], "name");
    let bad = put("b_c", BODY).problem(422);
    assert_eq!(bad["errors"][0]["field"], "name");
    let unknown = put("a", r#"{"listen":"127.0.0.1:0","upstrem":"localhost:1"}"#).problem(422);
    assert!(unknown["detail"].as_str().unwrap().contains("upstrem"));
    assert_eq!(unknown["errors"][0]["line"], 1);
    assert_eq!(port.get("/v1/proxies").body, before);
}

#[test]
fn the_proxies_of_a_running_experiment_are_its_own() {
    let port = port();
    port.ask("PUT /v1/proxies/shop", &[JSON], BODY);
    port.program.add("drill-1", State::Running, &["shop"]);
    assert_eq!(port.get("/v1/proxies/shop").json()["experiment"], "drill-1");
    let refused = port.ask("DELETE /v1/proxies/shop", &[], "").problem(409);
    assert!(refused["detail"].as_str().unwrap().contains("drill-1"));
    port.ask("PUT /v1/proxies/shop", &[JSON], BODY).problem(409);
    port.program.experiments.lock().unwrap()[0].state = State::Completed;
    assert_eq!(port.ask("DELETE /v1/proxies/shop", &[], "").status, 204);
}
