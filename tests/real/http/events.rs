//! Server-sent events, heard by `httpx-sse` and by Node's `eventsource`, which connects again as browsers do.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::programs::{installed, run};
use crate::support::{Room, Running, Serve, python};

/// The server, and squall before it.
struct Stream {
    squall: Serve,
    upstream: String,
    _server: Running,
    _room: Room,
}

impl Stream {
    fn new() -> Stream {
        let room = Room::new();
        let server = Running::start(python::script("http/events_peer.py").arg("serve").stdin(Stdio::piped()));
        let upstream = format!("127.0.0.1:{}", server.wait_for("port "));
        let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\nprotocol = \"http\"");
        let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
        Stream { squall, upstream, _server: server, _room: room }
    }

    /// What a client with these limits hears, in seconds: on silence, and on all.
    #[track_caller]
    fn heard(&self, silence: f64, patience: f64) -> Value {
        let url = format!("http://{}/events", self.squall.address);
        let words = [silence, patience].map(|seconds| seconds.to_string());
        python::result(&run(python::script("http/events_peer.py").args(["hear", &url]).args(words)))
    }

    #[track_caller]
    fn start(&self, fault: &str) -> String {
        self.squall.start(&format!("[[fault]]\nname = \"sse\"\nkind = \"sse\"\nproxy = \"default\"\n{fault}\n"))
    }

    /// What a patient client hears with a fault on, which does one thing.
    #[track_caller]
    fn with(&self, fault: &str) -> Value {
        let id = self.start(fault);
        let heard = self.heard(20.0, 50.0);
        let ledger = self.stop(&id);
        assert_eq!(ledger.len(), 1, "{fault}: {ledger:?}");
        heard
    }

    /// Ends it; its ledger.
    #[track_caller]
    fn stop(&self, id: &str) -> Vec<Value> {
        self.squall.stop(id);
        self.squall.over(id);
        self.squall.ledger(id, "sse")
    }
}

/// The first so many events, as a client tells of them.
fn events(count: usize) -> Vec<Value> {
    let event = |n: usize| match n % 3 {
        0 => json!(["message", format!("{{\"n\":{n}}}"), n.to_string()]),
        1 => json!(["named", format!("{{\"n\":\n{n}}}"), n.to_string()]),
        _ => json!(["message", format!("{{\"n\":{n},\"text\":\"grün\"}}"), n.to_string()]),
    };
    (0..count).map(event).collect()
}

#[track_caller]
fn hears(heard: &Value, count: usize, end: &str) {
    assert_eq!((&heard["events"], &heard["end"]), (&json!(events(count)), &json!(end)));
}

#[test]
fn events_are_equal_and_none_waits_for_the_next() {
    let stream = Stream::new();
    let direct = format!("http://{}/events", stream.upstream);
    let direct = python::result(&run(python::script("http/events_peer.py").args(["hear", &direct, "20", "50"])));
    hears(&direct, 10, "complete");
    hears(&stream.heard(20.0, 50.0), 10, "complete");
    let base = format!("http://{}", stream.squall.address);
    let turns = python::result(&run(python::script("http/events_peer.py").args(["turns", &base, "50"])));
    assert_eq!(turns, json!({ "came": 50, "rest": 0 }));
}

#[test]
fn a_stream_ends_after_some_events_or_within_one() {
    let stream = Stream::new();
    hears(&stream.with("how = \"truncate\"\nafter = 4"), 4, "complete");
    hears(&stream.with("how = \"truncate\"\nafter = 4\nend = \"fin\""), 4, "RemoteProtocolError");
    hears(&stream.with("how = \"truncate\"\nafter = 4\nend = \"reset\""), 4, "ReadError");
    // some bytes of the fifth have come: no client may take them for an event
    hears(&stream.with("how = \"cut\"\nafter = 4\nbytes = \"9B\""), 4, "RemoteProtocolError");
    hears(&stream.with("how = \"cut\"\nafter = 4\nbytes = \"9B\"\nend = \"complete\""), 4, "complete");
}

#[test]
fn a_stream_stalls_with_and_without_signs_of_life() {
    let stream = Stream::new();
    let id = stream.start("how = \"stall\"\nafter = 3");
    hears(&stream.heard(1.5, 50.0), 3, "ReadTimeout");
    assert_eq!(stream.stop(&id).len(), 1);
    // comments come often enough that a limit on silence never fires, and no event
    let id = stream.start("how = \"stall\"\nafter = 3\nkeepalive = \"100ms\"");
    let heard = stream.heard(2.5, 4.0);
    hears(&heard, 3, "open");
    assert!(heard["comments"].as_u64() >= Some(10), "{heard}");
    // comments are summed up, second by second
    let ledger = stream.stop(&id);
    let (stalled, inserted): (Vec<_>, Vec<_>) = ledger.iter().partition(|line| line["what"] == "stalled");
    assert_eq!(stalled.len(), 1, "{ledger:?}");
    assert!(inserted.len() >= 2 && inserted.iter().all(|line| line["what"] == "inserted"), "{ledger:?}");
}

#[test]
fn an_event_is_put_in_or_spoiled() {
    let stream = Stream::new();
    let heard = stream.with("how = \"error\"\nafter = 5");
    let (before, error) = heard["events"].as_array().unwrap().split_at(5);
    assert_eq!((before, error.len()), (&*events(5), 1), "{heard}");
    assert_eq!((&error[0][0], &heard["end"]), (&json!("error"), &json!("complete")));
    let data: Value = serde_json::from_str(error[0][1].as_str().unwrap()).unwrap();
    assert_eq!(data["error"]["type"], "server_error");

    let heard = stream.with("how = \"error\"\nafter = 5\nend = \"never\"\ntext = \"event: note\\ndata: lost\"");
    let mut all = events(10);
    all.insert(5, json!(["note", "lost", "4"])); // it has no id: the one before holds on
    assert_eq!((&heard["events"], &heard["end"]), (&json!(all), &json!("complete")));

    let heard = stream.with("how = \"malformed\"\nafter = 2");
    let mut all = events(10);
    all[2][1] = json!("{\"n\":2,\"text\":\"grün\"");
    assert_eq!((&heard["events"], &heard["end"]), (&json!(all), &json!("complete")));
}

#[test]
fn events_come_at_a_rate() {
    let stream = Stream::new();
    let id = stream.start("how = \"pace\"\nrate = 10");
    let heard = stream.heard(20.0, 50.0);
    hears(&heard, 10, "complete");
    assert!(heard["took"].as_f64().unwrap() >= 0.9, "{heard}");
    let waited = |line: &Value| line["achieved"].as_u64().unwrap();
    let ledger = stream.stop(&id);
    assert!(ledger.iter().map(waited).sum::<u64>() >= 800_000_000, "{ledger:?}");
}

#[test]
fn an_answer_of_another_type_is_no_stream() {
    let stream = Stream::new();
    hears(&stream.with("how = \"content_type\""), 0, "SSEError");
}

#[test]
fn a_browsers_source_hears_all_events_across_cuts_and_gives_up_on_a_wrong_type() {
    let stream = Stream::new();
    let listen = || {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut node = Command::new(installed("node"));
        node.arg(here.join("tests/real/http/events_client.js")).arg(format!("http://{}/events", stream.squall.address));
        python::result(&run(node.env("NODE_PATH", here.join("target/tests/node/node_modules"))))
    };
    let all: Vec<usize> = (0..10).collect();
    assert_eq!(listen(), json!({ "ids": all, "opened": 1, "failed": 0 }));
    let id = stream.start("how = \"cut\"\nafter = 3");
    // three events from each of three connections, and one from the last, which ends before it could be cut
    assert_eq!(listen(), json!({ "ids": all, "opened": 4, "failed": 3 }));
    assert_eq!(stream.stop(&id).len(), 3);
    let id = stream.start("how = \"content_type\"");
    let heard = listen();
    assert_eq!((&heard["ids"], heard["gaveUp"].is_string()), (&json!([]), true), "{heard}");
    assert_eq!(stream.stop(&id).len(), 1);
}
