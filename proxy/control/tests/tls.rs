//! TLS of the control port: who it is, who asks, and where it may listen because of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use squall_core::who::Role;
use squall_drill::view::State;

use super::support::{Port, Program, limits, port_with, scratch};
use crate::access;
use crate::client::{Client, Files};
use crate::server::{Server, Settings};
use crate::tls;

/// A CA with certificates for the port, for alice and bob, and one of somebody whom nobody knows, in files.
struct Room(PathBuf);

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Room {
    fn new(name: &str) -> Room {
        let room = Room(scratch(name));
        std::fs::create_dir_all(&room.0).unwrap();
        room.make("ca", &["server", "alice", "bob", "mallory"]);
        room.make("other-ca", &["stranger"]);
        room
    }

    fn make(&self, ca: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path(&format!("{ca}.pem")), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        for name in names {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.subject_alt_names = match *name {
                "server" => vec![SanType::IpAddress("127.0.0.1".parse().unwrap())],
                name => vec![SanType::Rfc822Name(format!("{name}@example.com").try_into().unwrap())],
            };
            let key = KeyPair::generate().unwrap();
            std::fs::write(self.path(&format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
            std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn settings(&self, listen: &str, has_ca: bool) -> Settings {
        let roles = [("Alice@example.com", Role::Operator), ("bob@example.com", Role::Approver)];
        let tls = tls::Settings {
            cert: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: has_ca.then(|| self.path("ca.pem")),
            roles: roles.map(|(name, role)| (name.to_owned(), role)).into(),
            groups: BTreeMap::new(),
        };
        let access = access::Settings { tokens: None, tls: Some(tls) };
        Settings { publish: None, limits: limits(), access, ..Settings::new(listen) }
    }

    fn client(&self, port: &Port, who: Option<&str>) -> Client {
        let file = |end: &str| who.map(|who| self.path(&format!("{who}.{end}")));
        let files = Files { ca: Some(self.path("ca.pem")), cert: file("pem"), key: file("key") };
        Client::new(port.server.place().clone()).tls(files)
    }
}

#[test]
fn whoever_has_a_name_with_a_role_may_do_what_it_covers_and_nobody_else_comes_in() {
    let room = Room::new("mutual");
    let port = port_with(room.settings("127.0.0.1:0", true));
    assert!(port.server.place().to_string().starts_with("https://127.0.0.1:"));
    let (alice, bob) = (room.client(&port, Some("alice")), room.client(&port, Some("bob")));
    port.program.add("drill-1", State::Approved, &[]);
    assert!(alice.status().is_ok() && alice.start("drill-1", Some("5m")).is_ok());
    let refused = alice.reject("drill-1", "no").unwrap_err().to_string();
    assert!(refused.contains("takes the role approver; `Alice@example.com` is operator"), "{refused}");
    assert!(bob.reject("drill-1", "no").is_ok());
    assert!(bob.events().is_ok());
    let refused = room.client(&port, Some("mallory")).status().unwrap_err();
    assert!(refused.to_string().contains("no name in this certificate has a role"), "{refused}");
    for who in [Some("stranger"), None] {
        assert!(room.client(&port, who).status().unwrap_err().is_out_of_reach(), "{who:?}");
    }
    // somebody who speaks without TLS hears nothing, and somebody who trusts another CA does not speak
    let mut stream = port.connect();
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    assert!(!String::from_utf8_lossy(&heard).contains("HTTP/1.1"), "{heard:?}");
    let deceived = alice.clone().tls(Files { ca: Some(room.path("other-ca.pem")), ..Files::default() });
    assert!(deceived.status().unwrap_err().is_out_of_reach());
}

#[test]
fn beyond_loopback_it_takes_tls_and_a_way_to_know_who_asks() {
    let room = Room::new("beyond");
    let start = |settings| Server::start(settings, std::sync::Arc::new(Program::default()));
    let open = Settings { publish: None, ..Settings::new("0.0.0.0:0") };
    assert!(start(open.clone()).unwrap_err().to_string().contains("`tls`, and `tokens`"));
    let tokens = scratch("beyond-tokens.toml");
    let make = |tokens: &mut crate::tokens::Tokens| {
        let (groups, scope, lasts) = (vec![], vec![], std::time::Duration::from_secs(60));
        let wanted = crate::tokens::Wanted { name: "a".into(), role: Role::Viewer, groups, scope, lasts };
        tokens.make(wanted, std::time::UNIX_EPOCH)
    };
    let (_, secret) = crate::tokens::change(&tokens, make).unwrap();
    let plain = access::Settings { tokens: Some(tokens.clone()), tls: None };
    assert!(start(Settings { access: plain, ..open }).is_err(), "tokens alone would be read along");
    assert!(start(room.settings("0.0.0.0:0", false)).is_err(), "TLS alone tells nobody from anybody");

    let mut both = room.settings("0.0.0.0:0", false);
    both.access.tokens = Some(tokens.clone());
    let port = port_with(both);
    let place = port.server.place().to_string().replace("0.0.0.0", "127.0.0.1").parse().unwrap();
    let client = Client::new(place).tls(Files { ca: Some(room.path("ca.pem")), ..Files::default() });
    assert!(client.status().unwrap_err().to_string().contains("a token is needed"));
    assert!(client.token(secret.text()).status().is_ok());
    std::fs::remove_file(&tokens).unwrap();
    let _ =
        std::fs::remove_file(tokens.with_file_name(format!(".{}.lock", tokens.file_name().unwrap().to_string_lossy())));
    assert!(port_with(room.settings("0.0.0.0:0", true)).server.place().to_string().starts_with("https://"));
}

#[test]
fn files_are_read_anew_when_they_change_and_stay_when_they_break() {
    let room = Room::new("anew");
    let port = port_with(room.settings("127.0.0.1:0", true));
    let alice = room.client(&port, Some("alice"));
    assert!(alice.status().is_ok());
    room.make("ca", &["server", "alice"]);
    let comes_in = || {
        (0..500).any(|_| {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
            alice.status().is_ok()
        })
    };
    assert!(comes_in(), "another CA, another certificate");
    std::fs::write(room.path("server.pem"), "nonsense").unwrap();
    std::thread::park_timeout(std::time::Duration::from_millis(600));
    assert!(comes_in());
}

#[test]
fn files_that_can_not_be_had_are_said() {
    let room = Room::new("missing");
    let start = |change: &dyn Fn(&mut tls::Settings)| {
        let mut settings = room.settings("127.0.0.1:0", true);
        settings.access.tls.as_mut().map(change);
        Server::start(settings, std::sync::Arc::new(Program::default())).unwrap_err().to_string()
    };
    assert!(start(&|tls| tls.cert = room.path("none.pem")).contains("none.pem"));
    assert!(start(&|tls| tls.key = room.path("alice.key")).contains("server.pem"), "the key of another");
    assert!(start(&|tls| tls.client_ca = Some(room.path("alice.key"))).contains("no certificate"));
    let port = port_with(room.settings("127.0.0.1:0", true));
    let bare = Client::new(port.server.place().clone()).tls(Files::default());
    assert!(bare.status().unwrap_err().to_string().contains("--ca"));
    let half = Files { ca: Some(room.path("ca.pem")), cert: Some(Path::new("x").into()), key: None };
    assert!(bare.tls(half).status().unwrap_err().to_string().contains("--cert and --key"));
}
