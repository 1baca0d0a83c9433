use std::time::Duration;

use squall_drill::engine::Keep;
use squall_drill::view::State;

use super::support::port;

const TOML: &str = "content-type: application/toml; charset=utf-8";

#[test]
fn a_scenario_goes_through_its_states() {
    let port = port();
    let made = port.ask("POST /v1/experiments?set=rate%3D5&set=who%3Da%20b", &[TOML], "name = \"drill\"\n");
    assert_eq!(made.status, 201, "{made:?}");
    assert!(made.head.contains("location: /v1/experiments/drill"));
    let view = made.json();
    assert_eq!((&view["id"], &view["state"]), (&"drill".into(), &"approved".into()));
    assert_eq!(view["digest"].as_str().unwrap().len(), 64);
    let sets = port.program.sets.lock().unwrap().clone();
    assert_eq!(sets, [("rate".into(), "5".into()), ("who".into(), "a b".into())]);

    for (verb, state) in [("start", "running"), ("pause", "paused"), ("resume", "running"), ("renew", "running")] {
        let answer = port.post(&format!("/v1/experiments/drill/{verb}"), "{}");
        assert_eq!((answer.status, &answer.json()["state"]), (200, &state.into()), "{verb}");
    }
    port.get("/v1/experiments/drill/report").problem(409);
    let aborted = port.post("/v1/experiments/drill/abort", "{}");
    assert_eq!((aborted.status, &aborted.json()["state"]), (200, &"stopped".into()));
    assert_eq!(aborted.json()["abort"]["drained_us"], 120);
    port.post("/v1/experiments/drill/start", "{}").problem(409);

    assert_eq!(port.get("/v1/experiments").json()[0]["id"], "drill");
    assert_eq!(port.get("/v1/experiments/drill/report").json()["verdict"], "upheld");
    let markdown = port.ask("GET /v1/experiments/drill/report", &["accept: text/markdown"], "");
    assert!(markdown.head.contains("content-type: text/markdown"));
    assert_eq!(markdown.body, "# upheld\n");
    port.ask("GET /v1/experiments/drill/report", &["accept: image/png"], "").problem(406);
}

#[test]
fn people_say_what_happened() {
    let port = port();
    port.program.add("drill", State::Running, &[]);
    let marked = port.post("/v1/experiments/drill/marks", r#"{"kind":"detected","by":"ann","text":"alert fired"}"#);
    assert_eq!(marked.status, 200, "{marked:?}");
    assert_eq!((&marked.json()["kind"], &marked.json()["by"]), (&"detected".into(), &"ann".into()));
    for (body, field) in [
        (r#"{"kind":"note"}"#, "text"),
        (r#"{"kind":"note","text":""}"#, "text"),
        (r#"{"kind":"detected","step":"a"}"#, "step"),
        (r#"{"kind":"step","by":"a\u001b[2J"}"#, "by"),
    ] {
        let refused = port.post("/v1/experiments/drill/marks", body).problem(422);
        assert_eq!(refused["errors"][0]["field"], field, "{body}");
    }
    for body in [r#"{"kind":"guessed"}"#, r#"{"kind":"note","text":"a","who":"b"}"#, "{}"] {
        port.post("/v1/experiments/drill/marks", body).problem(422);
    }
    port.post("/v1/experiments/nobody/marks", r#"{"kind":"detected"}"#).problem(404);
    port.program.add("over", State::Completed, &[]);
    port.post("/v1/experiments/over/marks", r#"{"kind":"detected"}"#).problem(409);
}

#[test]
fn one_can_be_started_to_observe() {
    let port = port();
    port.program.add("drill", State::Approved, &[]);
    assert_eq!(port.post("/v1/experiments/drill/start", r#"{"observe":true}"#).json()["observed"], true);
    port.post("/v1/experiments/drill/start", r#"{"observe":"yes"}"#).problem(422);
}

#[test]
fn a_scenario_as_json_is_taken_too() {
    let port = port();
    assert_eq!(port.post("/v1/experiments", r#"{"name":"drill"}"#).status, 201);
}

#[test]
fn mistakes_are_told_with_field_line_and_column() {
    let port = port();
    let refused = port.ask("POST /v1/experiments", &[TOML], "name = \"drill\"\n[[fault]]\n  bogus = 1\n").problem(422);
    let expected = serde_json::json!({
        "message": "unknown field `bogus`", "field": "fault[late].bogus", "line": 3, "column": 3,
        "expected": "expected one of: delay, jitter", "help": "did you mean `jitter`?"
    });
    assert_eq!(refused["errors"][0], expected);
    let broken = port.post("/v1/experiments", "{\n  \"name\": }").problem(400);
    assert_eq!((&broken["errors"][0]["line"], &broken["errors"][0]["column"]), (&2.into(), &11.into()));
    port.ask("POST /v1/experiments?st=a", &[TOML], "").problem(400);
    port.post("/v1/experiments/nobody/start", "{}").problem(404);
    port.program.add("unarmed", State::Approved, &[]);
    let unarmed = port.post("/v1/experiments/unarmed/start", "{}").problem(409);
    assert_eq!(unarmed["errors"].as_array().unwrap().len(), 2);
}

#[test]
fn a_detached_start_needs_an_end() {
    let port = port();
    port.program.add("a", State::Approved, &[]);
    let start = |body: &str| port.post("/v1/experiments/a/start", body);
    for body in [
        r#"{"detach":true}"#,
        r#"{"detach":true,"max":"0s"}"#,
        r#"{"detach":true,"max":"-5m"}"#,
        r#"{"detach":true,"max":"soon"}"#,
        r#"{"max":"5m"}"#,
    ] {
        assert_eq!(start(body).problem(422)["errors"][0]["field"], "max", "{body}");
    }
    start(r#"{"detached":true}"#).problem(422);
    start("[]").problem(422);
    start("1").problem(422);
    start("").problem(400);
    assert!(port.program.keeps.lock().unwrap().is_empty());
    assert_eq!(start(r#"{"detach":true,"max":"5m"}"#).status, 200);
    assert_eq!(start("{}").status, 200);
    let keeps = port.program.keeps.lock().unwrap().clone();
    assert_eq!(keeps, [Keep::Detached(Duration::from_secs(300)), Keep::Lease]);
}

#[test]
fn a_fault_is_changed_while_it_runs() {
    let port = port();
    port.program.add("drill", State::Running, &[]);
    let faults = port.get("/v1/experiments/drill").json()["faults"].clone();
    let name = faults[0]["name"].as_str().unwrap().to_owned();
    let path = format!("PATCH /v1/experiments/drill/faults/{name}");
    let json = ["content-type: application/json"];
    let changed = port.ask(&path, &json, r#"{"delay":"300ms","jitter":null}"#);
    assert_eq!((changed.status, &changed.json()["id"]), (200, &"drill".into()), "{changed:?}");
    let wrong = port.ask(&path, &json, r#"{"bogus":1}"#).problem(422);
    assert!(wrong["errors"][0]["field"].as_str().unwrap().ends_with(".bogus"), "{wrong}");
    for body in ["", "[]", "7", "{", r#"{"a":1"#] {
        let refused = port.ask(&path, &json, body);
        assert!(matches!(refused.status, 400 | 422), "{body}: {refused:?}");
    }
    port.ask(&path, &["content-type: text/plain"], "{}").problem(415);
    port.ask("PATCH /v1/experiments/drill/faults/nobody", &json, "{}").problem(404);
    port.ask("PATCH /v1/experiments/nobody/faults/late", &json, "{}").problem(404);
    port.program.add("over", State::Completed, &[]);
    port.ask(&format!("PATCH /v1/experiments/over/faults/{name}"), &json, r#"{"delay":"1ms"}"#).problem(409);
}
