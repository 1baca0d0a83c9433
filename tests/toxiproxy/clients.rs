//! Real clients, unmodified, and the dialogues of those that the tests do not install.

use std::path::Path;
use std::process::Command;

use super::cases::holds;
use super::support::Toxi;
use crate::support::{Ended, echo};

/// Runs a client to its end; it says `done` when everything it tried was right.
#[track_caller]
fn runs(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    Ended::of(&output).exits(0).says("done");
}

fn here(path: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(path.exists(), "{} is missing; tests/run makes it", path.display());
    path
}

#[test]
fn toxiproxy_python() {
    let toxi = Toxi::new();
    let (host, port) = (toxi.address.ip().to_string(), toxi.address.port().to_string());
    let python = here("target/tests/python/bin/python");
    runs(Command::new(python).arg(here("tests/toxiproxy/clients/python.py")).args([host, port, echo()]));
}

#[test]
fn toxiproxy_node_client() {
    let toxi = Toxi::new();
    let modules = here("target/tests/node/node_modules");
    let script = here("tests/toxiproxy/clients/node.js");
    let api = format!("http://{}", toxi.address);
    runs(Command::new("node").arg(script).args([api, echo()]).env("NODE_PATH", modules));
}

#[test]
fn toxiproxy_rust() {
    let toxi = Toxi::new();
    let client = here("target/tests/rust-client/debug/toxiproxy-rust-client");
    // this client names the port itself
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    runs(Command::new(client).args([toxi.address.to_string(), echo(), free.to_string()]));
}

#[test]
fn chaostoolkit_with_chaostoolkit_toxiproxy() {
    let toxi = Toxi::new();
    let upstream = echo();
    let port = upstream.rsplit(':').next().unwrap();
    let journal = toxi.room.path("journal.json");
    let mut command = Command::new(here("target/tests/python/bin/chaos"));
    command.args(["--no-version-check", "--log-file"]).arg(toxi.room.path("chaos.log"));
    command.args(["run", "--rollback-strategy", "always", "--journal-path"]).arg(&journal);
    command.arg(here("tests/toxiproxy/clients/chaos.json")).current_dir(toxi.room.directory());
    command.env("TOXI_HOST", toxi.address.ip().to_string()).env("TOXI_PORT", toxi.address.port().to_string());
    command.env("TOXI_UPSTREAM", port);
    Ended::of(&command.output().unwrap()).exits(0);
    let journal: serde_json::Value = serde_json::from_slice(&std::fs::read(journal).unwrap()).unwrap();
    assert_eq!(journal["status"], "completed", "{journal:#}");
    for act in journal["run"].as_array().unwrap().iter().chain(journal["rollbacks"].as_array().unwrap()) {
        assert_eq!(act["status"], "succeeded", "{act:#}");
    }
    assert_eq!(toxi.get("/proxies/echo")["toxics"], serde_json::json!([]));
}

#[test]
fn dialogues_of_ruby_java_dotnet_and_php() {
    for client in ["ruby", "java", "dotnet", "php"] {
        let toxi = Toxi::new();
        let upstream = toxi.upstream.local_addr().unwrap().to_string();
        let text = std::fs::read_to_string(here(&format!("tests/toxiproxy/dialogues/{client}.txt"))).unwrap();
        let turns: Vec<&str> = text.split(">>>\n").skip(1).collect();
        assert!(turns.len() >= 5, "{client}");
        for turn in turns {
            let turn = turn.replace("{upstream}", &upstream);
            let (request, answer) = turn.split_once("<<< ").unwrap();
            let (head, body) = request.split_once("\n\n").unwrap();
            let body = body.trim_end();
            let head = head.replace("{length}", &body.len().to_string()).replace('\n', "\r\n");
            let reply = toxi.raw(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes());
            let (status, wanted) = answer.trim_end().split_once(' ').unwrap_or((answer.trim_end(), ""));
            assert_eq!(reply.status.to_string(), status, "{client}: {turn}\n{reply:#?}");
            if wanted.is_empty() {
                assert_eq!(reply.body, "", "{client}: {turn}");
            } else {
                let wanted = serde_json::from_str(wanted).unwrap();
                assert!(holds(&wanted, &reply.json()), "{client}: {turn}\n{}", reply.body);
            }
        }
    }
}
