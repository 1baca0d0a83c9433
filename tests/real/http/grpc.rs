//! gRPC between a server and a client of Python's `grpcio`.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::programs::run;
use crate::support::{Room, Running, Serve, python, turn};

/// A gRPC server, and squall before it.
fn grpc() -> (Serve, Running, Room) {
    let room = Room::new();
    let server = Running::start(python::script("http/grpc_peer.py").arg("serve").stdin(Stdio::piped()));
    let port = server.wait_for("port ");
    let proxy = format!(
        "listen = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:{port}\"\nprotocol = \"http\"\nhttp = {{ upstream = \"2\" }}"
    );
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
    (squall, server, room)
}

fn call(address: SocketAddr, what: &str, words: &[&str]) -> Value {
    let mut command = python::script("http/grpc_peer.py");
    command.args([what, &address.ip().to_string(), &address.port().to_string()]).args(words);
    python::result(&run(&mut command))
}

#[test]
fn grpc_calls_of_every_kind_pass_and_none_waits_for_a_packet_to_fill() {
    let _turn = turn();
    let (squall, _server, _room) = &grpc();
    let answers = json!({
        "unary": "hello", "head": "1", "tail": "2", "large": true, "up": "3500000", "down": 500, "turns": 100,
        "fail": ["NOT_FOUND", "no such thing"], "none": "UNIMPLEMENTED",
    });
    assert_eq!(call(squall.address, "ask", &[]), answers);
    let unary = call(squall.address, "unary", &["500"]);
    assert_eq!((&unary["right"], &unary["codes"]), (&json!(500), &json!({})));
}

#[test]
fn grpc_calls_that_a_fault_ends_are_seen_as_ended() {
    let _turn = turn();
    let (squall, _server, _room) = &grpc();
    let id = squall.start(
        "[[fault]]\nkind = \"cut\"\nproxy = \"default\"\nphase = \"before_upstream\"\nhow = \"reset\"\nfirst = 10\n",
    );
    let unary = call(squall.address, "unary", &["50"]);
    squall.stop(&id);
    assert_eq!(unary["codes"], json!({ "INTERNAL": 10 }), "{unary}");
    assert_eq!(unary["right"], json!(40));
}

/// A stream of ten messages with a fault on: what the client hears within so many seconds, and the ledger.
#[track_caller]
fn stream(squall: &Serve, fault: &str, patience: &str) -> (Value, Vec<Value>) {
    let id = squall.start(&format!("[[fault]]\nname = \"grpc\"\nkind = \"grpc\"\nproxy = \"default\"\n{fault}\n"));
    let heard = call(squall.address, "stream", &["10", patience]);
    squall.stop(&id);
    squall.over(&id);
    (heard, squall.ledger(&id, "grpc"))
}

#[test]
fn a_stream_ends_with_the_status_that_a_fault_puts_in_its_trailers() {
    let (squall, _server, _room) = &grpc();
    let whole = json!({ "got": 10, "code": "OK", "details": "" });
    let heard = |fault: &str| {
        let (mut heard, ledger) = stream(squall, fault, "20");
        assert_eq!(ledger.len(), 1, "{fault}: {ledger:?}");
        heard.as_object_mut().unwrap().remove("took");
        heard
    };
    let said = "how = \"status\"\nafter = 3\nstatus = \"UNAVAILABLE\"\nmessage = \"the backend went away: ü\"";
    assert_eq!(heard(said), json!({ "got": 3, "code": "UNAVAILABLE", "details": "the backend went away: ü" }));
    let said = "how = \"status\"\nstatus = \"DATA_LOSS\"";
    assert_eq!(heard(said), json!({ "got": 10, "code": "DATA_LOSS", "details": "" }), "after all of them");
    // what the client had not taken before the end it does not hand on
    let missing = heard("how = \"no_trailers\"\nafter = 4");
    assert!(missing["got"].as_u64() <= Some(4), "{missing}");
    assert_ne!(missing["code"], "OK", "an answer without a status is no success: {missing}");
    let reset = heard("how = \"reset\"\nafter = 5\ncode = \"REFUSED_STREAM\"");
    assert!(reset["got"].as_u64() <= Some(5) && reset["code"] == "UNAVAILABLE", "{reset}");
    let mut whole_again = call(squall.address, "stream", &["10", "20"]);
    whole_again.as_object_mut().unwrap().remove("took");
    assert_eq!(whole_again, whole);
}

#[test]
fn a_stream_stalls_or_comes_late_message_by_message() {
    let (squall, _server, _room) = &grpc();
    let (heard, ledger) = stream(squall, "how = \"stall\"\nafter = 2", "2");
    assert_eq!((&heard["got"], &heard["code"]), (&json!(2), &json!("DEADLINE_EXCEEDED")), "{heard}");
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    let (heard, ledger) = stream(squall, "how = \"delay\"\ndelay = \"200ms\"", "20");
    assert_eq!((&heard["got"], &heard["code"]), (&json!(10), &json!("OK")), "{heard}");
    assert!(heard["took"].as_f64().unwrap() >= 0.2, "{heard}");
    assert_eq!(ledger.len(), 10, "{ledger:?}");
}

#[test]
fn a_unary_call_gets_the_status_of_an_error() {
    let (squall, _server, _room) = &grpc();
    let id = squall.start(
        "[[fault]]\nkind = \"error\"\nproxy = \"default\"\ngrpc_status = \"RESOURCE_EXHAUSTED\"\nfirst = 7\n\
         match = { grpc_service = \"test.Echo\", grpc_method = \"Unary\" }\n",
    );
    let unary = call(squall.address, "unary", &["20"]);
    squall.stop(&id);
    assert_eq!((&unary["codes"], &unary["right"]), (&json!({ "RESOURCE_EXHAUSTED": 7 }), &json!(13)), "{unary}");
}
