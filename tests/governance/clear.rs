//! A token goes to nobody in the clear, but to this machine itself.

use std::process::Stdio;

use super::support::token;
use crate::support::namespace::Namespace;
use crate::support::programs::installed;
use crate::support::{Ended, Room, Running};

/// Takes one connection and prints how many bytes came before it ended.
const LISTENER: &str = "import socket\ns = socket.create_server(('10.9.9.9', 7070))\nprint('listening', flush=True)\n\
                        c, _ = s.accept()\nn = 0\nwhile True:\n b = c.recv(4096)\n if not b: break\n n += len(b)\nprint('got', n)\n";

#[test]
fn a_token_is_not_sent_beyond_loopback_without_tls() {
    let room = Room::new();
    token(&room, "alice", "operator", &[]);
    let network = Namespace::new();
    network.run("ip address add 10.9.9.9/32 dev lo");
    let listener = Running::start(network.command(installed("python3")).args(["-c", LISTENER]));
    listener.wait_for("listening");
    let file = room.path("alice.token").display().to_string();
    let mut status = network.command(env!("CARGO_BIN_EXE_squall"));
    status.args(["status", "--control", "http://10.9.9.9:7070", "--token-file", &file]).stdin(Stdio::null());
    status.env_remove("SQUALL_CONTROL").env_remove("SQUALL_TOKEN").env("XDG_RUNTIME_DIR", room.directory());
    let refused = Ended::of(&status.output().unwrap());
    refused.exits(2).says("a token is not sent to 10.9.9.9:7070 for all in between to read: use https");
    listener.end().says("got 0");
}
