//! WebSocket between a client and a server of Python's `websockets`.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::programs::run;
use crate::support::{Room, Running, Serve, python};

/// The server, and squall before it.
struct Talk {
    squall: Serve,
    server: Running,
    _room: Room,
}

impl Talk {
    fn new() -> Talk {
        let room = Room::new();
        let server = Running::start(python::script("http/websocket_peer.py").arg("serve").stdin(Stdio::piped()));
        let port = server.wait_for("port ");
        let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:{port}\"\nprotocol = \"http\"");
        let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
        Talk { squall, server, _room: room }
    }

    #[track_caller]
    fn client(&self, what: &str, words: &[&str]) -> String {
        let mut command = python::script("http/websocket_peer.py");
        let address = self.squall.address;
        run(command.args([what, &address.ip().to_string(), &address.port().to_string()]).args(words))
    }

    #[track_caller]
    fn ask(&self, what: &str, words: &[&str]) -> Value {
        python::result(&self.client(what, words))
    }

    /// What a client hears with a fault on: ten texts are sent back to it, and bytes behind them. What is in the ledger too.
    #[track_caller]
    fn with(&self, fault: &str) -> (Value, Vec<Value>) {
        let id = self
            .squall
            .start(&format!("[[fault]]\nname = \"ws\"\nkind = \"websocket\"\nproxy = \"default\"\n{fault}\n"));
        let heard = self.ask("hear", &["10"]);
        self.squall.stop(&id);
        self.squall.over(&id);
        (heard, self.squall.ledger(&id, "ws"))
    }
}

/// The texts from `0` on, each so many times.
fn texts(times: usize) -> Vec<String> {
    (0..10).flat_map(|n| vec![n.to_string(); times]).collect()
}

#[test]
fn messages_of_all_kinds_pings_and_goodbyes_pass() {
    let talk = Talk::new();
    let heard = json!({
        "text": true, "bytes": true, "empty": true, "middle": true, "large": true, "fragments": "one two three",
        "order": true, "compressed": ["permessage-deflate"],
    });
    assert_eq!(talk.ask("ask", &[]), heard);
    talk.client("close", &["4001", "bye"]);
    talk.server.wait_for_words("closed 4001 bye");
    assert_eq!(talk.ask("ping", &[]), json!({ "answered": true, "after": "still there" }));
}

#[test]
fn a_client_hears_the_code_that_a_fault_closes_with() {
    let talk = Talk::new();
    let (heard, ledger) = talk.with("how = \"close\"\nafter = 3\ncode = 1013\nreason = \"come back later\"");
    assert_eq!(heard["got"], json!(["0", "1", "2"]));
    assert_eq!(heard["end"], json!([1013, "come back later"]));
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    // the other way round it is the server that hears it
    let (heard, _) =
        talk.with("how = \"close\"\ndirection = \"upstream\"\nafter = 3\ncode = 4321\nreason = \"enough\"");
    assert!(heard["got"].as_array().unwrap().len() <= 3, "what was on its way back is lost: {heard}");
    talk.server.wait_for_words("closed 4321 enough");
}

#[test]
fn frames_that_a_fault_drops_doubles_or_cuts_are_those_that_a_client_misses() {
    let talk = Talk::new();
    let (heard, ledger) = talk.with("how = \"drop\"\nframes = \"text\"\nafter = 4");
    assert_eq!((&heard["got"], &heard["end"]), (&json!(["0", "1", "2", "3"]), &Value::Null));
    assert_eq!(ledger.len(), 6, "{ledger:?}");

    let (heard, ledger) = talk.with("how = \"drop\"\nframes = \"text\"\nshare = 50");
    let got = heard["got"].as_array().unwrap().len();
    assert!(heard["end"].is_null() && ledger.len() == 10 - got, "{heard} {ledger:?}");

    let (heard, ledger) = talk.with("how = \"duplicate\"\nframes = \"text\"");
    assert_eq!(heard["got"], json!(texts(2)));
    assert_eq!(ledger.len(), 10, "{ledger:?}");

    let (heard, _) = talk.with("how = \"duplicate\"\nframes = \"text\"\ndirection = \"upstream\"");
    assert_eq!(heard["got"], json!(texts(2)), "the server got them twice");

    let (heard, ledger) = talk.with("how = \"truncate\"\nframes = \"text\"\nto = \"0B\"\nafter = 8");
    assert_eq!(heard["got"], json!(["0", "1", "2", "3", "4", "5", "6", "7", "", ""]));
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    let (heard, ledger) = talk.with("how = \"drop\"\nframes = \"ping\"");
    assert_eq!((&heard["got"], ledger.len()), (&json!(texts(1)), 0), "there were no pings");
}

#[test]
fn delayed_frames_come_late_and_in_order() {
    let talk = Talk::new();
    let (heard, ledger) = talk.with("how = \"delay\"\ndelay = \"300ms\"\nframes = \"text\"");
    assert_eq!((&heard["got"], &heard["end"]), (&json!(texts(1)), &Value::Null));
    assert!(heard["took"].as_f64().unwrap() >= 0.3, "{heard}");
    assert_eq!(ledger.len(), 10, "{ledger:?}");
    assert!(ledger.iter().all(|line| line["achieved"].as_u64().is_some_and(|ns| ns >= 300_000_000)), "{ledger:?}");
}

#[test]
fn pings_have_no_answer_where_a_fault_drops_them() {
    let talk = Talk::new();
    let unanswered = json!({ "answered": false, "after": "still there" });
    for fault in ["frames = \"pong\"", "frames = \"ping\"\ndirection = \"upstream\""] {
        let id = talk.squall.start(&format!(
            "[[fault]]\nname = \"deaf\"\nkind = \"websocket\"\nproxy = \"default\"\nhow = \"drop\"\n{fault}\n"
        ));
        assert_eq!(talk.ask("ping", &[]), unanswered, "{fault}");
        talk.squall.stop(&id);
        talk.squall.over(&id);
        assert_eq!(talk.squall.ledger(&id, "deaf").len(), 1, "{fault}");
        assert_eq!(talk.ask("ping", &[])["answered"], true);
    }
}
