//! People with tokens, and a squall that knows them.

use crate::support::{Ended, Room, Running};

/// A configuration's file in an environment that asks for approvals, with tokens; its proxy is `default`.
pub fn config(room: &Room, environment: &str, safety: &str, upstream: &str) -> String {
    let text = format!(
        "environment = \"{environment}\"\n[control]\nlisten = \"127.0.0.1:0\"\nstate = \"state\"\n\
         tokens = \"tokens.toml\"\n[safety]\n{safety}\n[[proxy]]\nname = \"default\"\nlisten = \"127.0.0.1:0\"\n\
         upstream = \"{upstream}\"\n"
    );
    room.file("squall.toml", &text)
}

/// Makes a token for somebody; they show it from now on (see [`as_whom`]).
pub fn token(room: &Room, name: &str, role: &str, more: &[&str]) -> String {
    let file = room.path("tokens.toml").display().to_string();
    let make = ["token", "make", "--name", name, "--role", role, "--expires", "1h", "--file", &file];
    let made = room.squall(&[&make, more].concat()).exits(0);
    room.file(&format!("{name}.token"), &made.out)
}

/// A command of somebody's, to its end.
pub fn as_whom<'a>(room: &'a Room, serve: &Running, name: &str) -> impl Fn(&[&str]) -> Ended + use<'a> {
    let token = room.path(&format!("{name}.token")).display().to_string();
    let control = serve.control();
    move |words| room.squall(&[words, &["--token-file", &token, "--control", &control]].concat())
}

/// A scenario that has everything that it needs to be armed.
pub fn scenario(environment: &str, percentage: u32) -> String {
    format!(
        "name = \"slow\"\nowner = \"team\"\nhypothesis = \"nobody minds\"\nenvironments = [\"{environment}\"]\n\
         max_duration = \"60s\"\n[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndelay = \"20s\"\n\
         percentage = {percentage}\nfor = \"50s\"\n[[guard]]\nmetric = \"connection_error_rate\"\nabove = \"50%\"\n"
    )
}
