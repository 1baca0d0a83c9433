use std::io::Write;
use std::time::{Duration, Instant};

use squall_drill::view::State;

use super::support::{Reply, port, rest};

/// Generous: the bound is 50 ms, the machine may be busy.
const SOON: Duration = Duration::from_millis(500);

#[test]
fn an_abort_does_not_wait_for_starts_or_lookers() {
    let port = port();
    port.program.add("slow", State::Approved, &[]);
    port.program.starts.close();
    let start = "POST /v1/experiments/slow/start HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                 content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let stuck: Vec<_> = (0..2).map(|_| port.connect()).collect();
    stuck.iter().for_each(|mut stream| stream.write_all(start.as_bytes()).unwrap());
    port.program.starts.await_waiting(2);

    // No third start, but everything else goes on.
    port.post("/v1/experiments/slow/start", "{}").problem(503);
    assert_eq!(port.get("/v1/status").status, 200);
    let answer = port.post("/v1/abort", "{}");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["experiments"][0], "slow");
    port.program.starts.open();
    for stream in stuck {
        let text = rest(stream);
        assert!(text.starts_with("HTTP/1.1 409"), "{text}"); // the abort wins
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn the_answer_does_not_wait_for_the_last_byte() {
    let port = port();
    port.program.add("a", State::Running, &[]);
    port.program.drains.close();
    let began = Instant::now();
    let report = port.post("/v1/abort", "{}").json();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let expected = serde_json::json!({
        "experiments": ["a"], "stopped_injecting_us": 9, "released": 2, "permitted_us": 80, "drained_us": null
    });
    assert_eq!(report, expected);
}

#[test]
fn the_switch_is_thrown_before_the_body_is_there() {
    let port = port();
    port.program.add("a", State::Running, &[]);
    let mut stream = port.connect();
    let head = "POST /v1/abort HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    stream.write_all(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).unwrap();
    let reply = rest(stream);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert_eq!(*port.program.aborts.lock().unwrap(), [None]);
}

#[test]
fn an_abort_needs_no_body_but_none_of_a_browser_page() {
    let port = port();
    let ask = |headers: &[&str], body: &str| -> Reply { port.ask("POST /v1/abort", headers, body) };
    assert_eq!(ask(&[], "").status, 200);
    ask(&["content-type: text/plain"], "{}").problem(415);
    ask(&["content-type: application/x-www-form-urlencoded"], "").problem(415);
    ask(&["origin: http://evil.example"], "").problem(403);
    ask(&["transfer-encoding: chunked"], "0\r\n\r\n").status.checked_sub(400).expect("refused");
    assert_eq!(port.program.aborts.lock().unwrap().len(), 1);
}

#[test]
fn one_experiment_is_aborted_by_its_id() {
    let port = port();
    port.program.add("a", State::Running, &[]);
    port.program.add("b", State::Running, &[]);
    assert_eq!(port.post("/v1/experiments/a/abort", "{}").json()["state"], "stopped");
    port.post("/v1/experiments/a/abort", "{}").problem(409);
    port.post("/v1/experiments/c/abort", "{}").problem(404);
    assert_eq!(port.get("/v1/experiments/b").json()["state"], "running");
}
