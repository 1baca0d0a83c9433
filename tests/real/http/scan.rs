//! What testssl.sh finds in TLS that squall ends.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::programs::{free_port, installed, run_within};
use crate::support::{Room, Serve, nginx};

#[test]
fn testssl_finds_no_old_version_no_weak_cipher_and_no_known_hole() {
    let room = Room::new();
    let port = free_port();
    let server = format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 \"hello\\n\"; }} }}");
    let _nginx = nginx::start(&room, &[port], &server);
    let proxy = format!(
        "listen = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:{port}\"\nprotocol = \"http\"\n\
         tls = {{ mode = \"terminate\", issue = true, alpn = [\"h2\", \"http/1.1\"] }}"
    );
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
    let found = room.path("found.json");
    let mut testssl = Command::new(installed("testssl"));
    // versions, classes of ciphers, forward secrecy, and all holes
    testssl.args(["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"]);
    testssl.args(["-p", "-s", "-f", "-U", "--jsonfile"]).arg(&found).env("TMPDIR", room.directory());
    let (code, said) = run_within(testssl.arg(squall.address.to_string()), Duration::from_secs(170));
    let found: Vec<Value> = serde_json::from_slice(&std::fs::read(&found).unwrap_or_default())
        .unwrap_or_else(|error| panic!("{code} {error}: {said}"));
    let of = |id: &str| {
        let found = found.iter().find(|found| found["id"] == id).unwrap_or_else(|| panic!("no {id}: {said}"));
        found["finding"].as_str().unwrap()
    };
    for version in ["SSLv2", "SSLv3", "TLS1", "TLS1_1"] {
        assert_eq!(of(version), "not offered", "{version}");
    }
    for version in ["TLS1_2", "TLS1_3"] {
        assert!(of(version).starts_with("offered"), "{version}: {}", of(version));
    }
    let classes: Vec<_> =
        found.iter().filter(|found| found["id"].as_str().unwrap().starts_with("cipherlist_")).collect();
    assert!(classes.len() >= 6, "{said}");
    for class in classes {
        let is_strong = class["id"].as_str().unwrap().contains("STRONG");
        assert_eq!(class["finding"], if is_strong { "offered" } else { "not offered" }, "{class}");
    }
    for hole in ["heartbleed", "ROBOT", "secure_renego", "CRIME_TLS", "SWEET32", "FREAK", "LOGJAM", "LUCKY13", "RC4"] {
        of(hole); // it was looked for
    }
    let is_bad = |found: &&Value| {
        let severity = found["severity"].as_str().unwrap();
        !matches!(severity, "OK" | "INFO" | "DEBUG") && found["id"] != "engine_problem" // that is about its own openssl
    };
    let bad: Vec<&Value> = found.iter().filter(is_bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
