//! The command line over mutual TLS, with certificates that openssl makes.

use std::path::PathBuf;
use std::process::Command;

use crate::support::programs::{installed, run};
use crate::support::{Room, echo};

/// A CA, or a certificate of one, with its key.
fn make(room: &Room, name: &str, extension: &str, by: Option<&str>) -> (PathBuf, PathBuf) {
    let (cert, key) = (room.path(&format!("{name}.pem")), room.path(&format!("{name}.key")));
    let mut openssl = Command::new(installed("openssl"));
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", &format!("/CN={name}"), "-addext", extension]);
    if let Some(by) = by {
        openssl.arg("-CA").arg(room.path(&format!("{by}.pem"))).arg("-CAkey").arg(room.path(&format!("{by}.key")));
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    }
    run(openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert));
    (cert, key)
}

#[test]
fn people_are_known_by_their_certificates() {
    let room = Room::new();
    make(&room, "ca", "keyUsage=critical,keyCertSign", None);
    make(&room, "squall", "subjectAltName=IP:127.0.0.1", Some("ca"));
    make(&room, "alice", "subjectAltName=email:alice@example.com", Some("ca"));
    make(&room, "eve", "subjectAltName=email:eve@example.com", Some("ca"));
    let text = format!(
        "[control]\nlisten = \"127.0.0.1:0\"\n[control.tls]\ncert = \"squall.pem\"\nkey = \"squall.key\"\n\
         client_ca = \"ca.pem\"\nroles = {{ \"alice@example.com\" = \"viewer\" }}\n[[proxy]]\nname = \"default\"\n\
         listen = \"127.0.0.1:0\"\nupstream = \"{}\"\n",
        echo()
    );
    let serve = room.serve(&["--config", &room.file("squall.toml", &text)]);
    let file = |name: &str| room.path(name).display().to_string();
    let ask = |who: &str, words: &[&str]| {
        let (ca, cert, key) = (file("ca.pem"), file(&format!("{who}.pem")), file(&format!("{who}.key")));
        let tls = ["--ca", &ca, "--cert", &cert, "--key", &key, "--control", &serve.control()];
        room.squall(&[words, &tls].concat())
    };
    ask("alice", &["status"]).exits(0).says("default");
    ask("alice", &["reload"]).exits(2).says("takes the role operator; `alice@example.com` is viewer");
    ask("alice", &["abort"]).exits(0);
    ask("eve", &["status"]).exits(2).says("no name in this certificate has a role here");
    room.squall(&["status", "--ca", &file("ca.pem")]).exits(4);
    room.squall(&["status"]).exits(2).says("needs --ca");
    let config = ask("alice", &["status", "--as-config"]).exits(0).out;
    room.squall(&["check", &room.file("again.toml", &config)]).exits(0);
    let open = text
        .replace("127.0.0.1:0\"\n[control.tls]", "0.0.0.0:7070\"\n[control.tls]")
        .replace("client_ca", "# client_ca");
    room.squall(&["check", &room.file("open.toml", &open)])
        .exits(2)
        .says("`tls` is needed, and `tokens` or its `client_ca`");
}
