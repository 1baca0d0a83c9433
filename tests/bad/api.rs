//! Requests that the control port can't take: each is told why, and neither traffic nor experiments notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{GOVERNED, Room, Running, echo, round_trip};

/// A running squall with traffic to watch and an experiment under way.
struct Port {
    room: Room,
    serve: Running,
    experiments: Vec<(String, String)>,
}

struct Reply {
    status: u16,
    head: String,
    body: Value,
}

const JSON: &str = "content-type: application/json\r\n";
const TOML: &str = "content-type: application/toml\r\n";

impl Port {
    fn new() -> Port {
        let (room, upstream) = (Room::new(), echo());
        let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
        room.squall(&["inject", "default", "latency", "delay=1ms", "--for", "60s", "--detach"]).exits(0);
        let mut port = Port { room, serve, experiments: Vec::new() };
        port.experiments = port.states();
        assert_eq!(port.experiments, [("inject-default-latency-1".into(), "running".into())]);
        port
    }

    fn connect(&self) -> TcpStream {
        let control = self.serve.control();
        let stream = TcpStream::connect(control.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect();
        let _ = stream.write_all(request); // it may be refused before it is sent
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or_default() }
    }

    fn ask(&self, line: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let common = format!("host: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n");
        self.raw(format!("{line} HTTP/1.1\r\n{common}{headers}\r\n{body}").as_bytes())
    }

    fn states(&self) -> Vec<(String, String)> {
        let list = self.ask("GET /v1/experiments", "", "").body;
        let text = |view: &Value, key: &str| view[key].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|view| (text(view, "id"), text(view, "state"))).collect()
    }

    /// What was refused has changed nothing.
    #[track_caller]
    fn is_as_before(&self) {
        assert_eq!(round_trip(&self.serve.proxy("default")).unwrap(), "hello");
        assert_eq!(self.states(), self.experiments);
        let proxies = self.ask("GET /v1/proxies", "", "").body;
        assert_eq!(proxies.as_array().unwrap().len(), 1, "{proxies:#}");
    }
}

impl Reply {
    /// A problem of this status whose text has these words.
    #[track_caller]
    fn problem(&self, status: u16, words: &str) -> &Reply {
        assert_eq!(self.status, status, "{} {:#}", self.head, self.body);
        assert!(self.head.to_ascii_lowercase().contains("content-type: application/problem+json"), "{}", self.head);
        assert_eq!(self.body["status"], json!(status));
        assert!(self.body.to_string().contains(words), "no {words:?} in {:#}", self.body);
        self
    }

    /// One of its mistakes is about this field.
    #[track_caller]
    fn about(&self, field: &str) {
        let fields: Vec<_> = self.body["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
        assert!(fields.contains(&&json!(field)), "no {field} in {:#}", self.body);
    }
}

#[test]
fn who_asks_and_how_is_checked() {
    let port = Port::new();
    port.ask("POST /v1/abort", "origin: http://evil.example\r\n", "").problem(403, "");
    port.raw(b"POST /v1/abort HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
        .problem(421, "`evil.example` is not a name of this control port");
    port.raw(b"POST /v1/abort HTTP/1.1\r\nconnection: close\r\n\r\n").problem(400, "");
    port.ask("POST /v1/abort", "content-type: text/plain\r\n", "{}").problem(415, "application/json");
    port.ask("POST /v1/experiments", "content-type: text/plain\r\n", "name = \"a\"").problem(415, "application/toml");
    port.ask("GET /v1/abort", "", "").problem(405, "");
    port.ask("DELETE /v1/experiments", "", "").problem(405, "");
    port.ask("PUT /v1/status", JSON, "{}").problem(405, "");
    port.ask("GET /v1/nothing", "", "").problem(404, "");
    port.ask("GET /v1//status", "", "").problem(400, "");
    port.is_as_before();
}

#[test]
fn bodies_that_are_too_long_or_broken_are_refused() {
    let port = Port::new();
    let long = "x".repeat(5 << 20);
    port.ask("POST /v1/experiments", TOML, &long).problem(413, "larger than");
    port.ask("PUT /v1/proxies/x", JSON, &long).problem(413, "larger than");
    port.ask("PUT /v1/proxies/x", JSON, "{\"listen\":").problem(400, "");
    port.ask("PUT /v1/proxies/x", JSON, &"[".repeat(50_000)).problem(422, "expected a JSON object");
    port.ask("POST /v1/experiments", JSON, &"[".repeat(50_000)).problem(400, "");
    port.ask("POST /v1/experiments", TOML, &"[".repeat(50_000)).problem(422, "nested deeper than");
    let head =
        "POST /v1/experiments HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/toml\r\n";
    port.raw(&[head.as_bytes(), b"content-length: 2\r\n\r\n\xff\xfe"].concat()).problem(400, "UTF-8");
    port.is_as_before();
}

#[test]
fn a_slow_body_does_not_keep_others_waiting() {
    let port = Port::new();
    let head = "POST /v1/experiments HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/toml\r\ncontent-length: 99\r\n\r\nname";
    let mut slow: Vec<TcpStream> = (0..20).map(|_| port.connect()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(head.as_bytes()).unwrap());
    port.is_as_before();
    let mut answer = String::new();
    slow[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("problem+json"), "{answer}");
    port.is_as_before();
}

#[test]
fn wrong_fields_are_named() {
    let port = Port::new();
    let proxy = |body: Value| port.ask("PUT /v1/proxies/x", JSON, &body.to_string());
    proxy(json!({ "listen": 5, "upstream": "127.0.0.1:1" })).problem(422, "string");
    proxy(json!({ "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "upstrem": "a" })).problem(422, "upstrem");
    proxy(json!({ "listen": "127.0.0.1:0", "upstream": "192.0.2.1:1" })).problem(422, "").about("upstream");
    proxy(json!({ "listen": "127.0.0.1:0" })).problem(422, "upstream");
    proxy(json!({ "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "name": "y" })).problem(422, "").about("name");
    let unix = json!({ "listen": "127.0.0.1:0", "upstream": "unix:/tmp/x", "protocol": "udp" });
    proxy(unix).problem(422, "unix sockets are not carried");
    let idle = json!({ "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "idle_timeout": "60s" });
    proxy(idle).problem(422, "`idle_timeout` is for proxies");
    port.ask("PUT /v1/proxies/X_Y", JSON, r#"{"listen":"127.0.0.1:0","upstream":"127.0.0.1:1"}"#).problem(422, "");
    let fault = json!({ "kind": "latency", "proxy": "default", "delay": -5, "jiter": "1ms", "for": "1s" });
    let scenario = json!({ "name": "a", "max_duration": "1m", "fault": [fault] });
    let refused = port.ask("POST /v1/experiments", JSON, &scenario.to_string());
    refused.problem(422, "did you mean `jitter`?").about("fault[latency].delay");
    refused.about("fault[latency].jiter");
    let toml = "name = \"a\"\nmax_duration = \"1m\"\n[[fault]]\nkind = \"reset\"\nproxy = \"defalt\"\nfor = \"1s\"\n";
    let refused = port.ask("POST /v1/experiments", TOML, toml);
    refused.problem(422, "did you mean `default`?").about("fault[reset].proxy");
    assert_eq!((&refused.body["errors"][0]["line"], &refused.body["errors"][0]["column"]), (&json!(5), &json!(9)));
    port.ask("POST /v1/experiments?set=x", TOML, toml).problem(400, "set=name=value");
    port.is_as_before();
}

#[test]
fn ids_and_states_that_do_not_fit_are_refused() {
    let port = Port::new();
    for id in ["nobody-1", "..%2f..%2fetc", "a%00", "%ff", &"x".repeat(3000)] {
        for action in ["start", "pause", "resume", "abort", "renew"] {
            let reply = port.ask(&format!("POST /v1/experiments/{id}/{action}"), JSON, "{}");
            assert!(matches!(reply.status, 400 | 404), "{id} {action}: {}", reply.head);
            reply.problem(reply.status, "");
        }
        assert!(matches!(port.ask(&format!("GET /v1/experiments/{id}/report"), "", "").status, 400 | 404));
        assert!(matches!(port.ask(&format!("DELETE /v1/proxies/{id}"), "", "").status, 400 | 404));
    }
    let id = &port.experiments[0].0;
    port.ask(&format!("POST /v1/experiments/{id}/start"), JSON, "{}").problem(409, "runs already");
    port.ask(&format!("POST /v1/experiments/{id}/resume"), JSON, "{}").problem(409, "");
    port.ask(&format!("GET /v1/experiments/{id}/report"), "", "").problem(409, "not over");
    port.ask(&format!("POST /v1/experiments/{id}/start"), JSON, r#"{"detach":true}"#).problem(422, "").about("max");
    port.ask(&format!("POST /v1/experiments/{id}/start"), JSON, r#"{"detach":1}"#).problem(422, "boolean");
    port.is_as_before();
}

#[test]
fn an_abort_wins_over_a_start() {
    let port = Port::new();
    let scenario = &format!(
        "{GOVERNED}name = \"race\"\nmax_duration = \"1m\"\n[[fault]]\nkind = \"reset\"\nproxy = \"default\"\nfor = \"30s\"\n"
    );
    for _ in 0..10 {
        let id = port.ask("POST /v1/experiments", TOML, scenario).body["id"].as_str().unwrap().to_owned();
        std::thread::scope(|scope| {
            let start = scope.spawn(|| port.ask(&format!("POST /v1/experiments/{id}/start"), JSON, "{}").status);
            let abort = scope.spawn(|| port.ask(&format!("POST /v1/experiments/{id}/abort"), JSON, "{}").status);
            assert!(matches!(start.join().unwrap(), 200 | 409));
            assert_eq!(abort.join().unwrap(), 200);
        });
        assert_eq!(round_trip(&port.serve.proxy("default")).unwrap(), "hello", "its fault is on");
        port.ask(&format!("POST /v1/experiments/{id}/start"), JSON, "{}").problem(409, "");
    }
    assert_eq!(port.states().last(), port.experiments.last());
    port.room.squall(&["abort"]).exits(0);
}
