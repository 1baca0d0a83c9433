//! Who is let in, route by route; tokens, floods of failed logins, users on unix sockets.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use squall_core::who::Role;
use squall_drill::view::State;

use super::support::{Port, Reply, limits, port_with, rest, scratch};
use crate::access;
use crate::client::Client;
use crate::routes::{self, Route};
use crate::server::Settings;
use crate::tokens::{self, Secret, Wanted};

/// The clock of the program behind the port stands at the epoch.
fn token(file: &std::path::Path, name: &str, role: Role, scope: &[&str], lasts: u64) -> String {
    let scope = scope.iter().map(|name| (*name).to_owned()).collect();
    let lasts = Duration::from_secs(lasts);
    let wanted = Wanted { name: name.into(), role, groups: vec![], scope, lasts };
    let made_at = if lasts.as_secs() > 1 { UNIX_EPOCH } else { UNIX_EPOCH - Duration::from_secs(10) };
    tokens::change(file, |tokens| tokens.make(wanted, made_at)).unwrap().1.text().to_owned()
}

struct Guarded {
    port: Port,
    file: PathBuf,
    tokens: Vec<(Role, String)>,
    /// One that has ended.
    late: String,
    /// An admin's for `checkout-*` only.
    scoped: String,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::remove_file(self.file.with_file_name(format!(".{}.lock", name(&self.file))));
    }
}

fn name(file: &std::path::Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

/// A port with a token for each role.
fn guarded(test: &str, listen: &str) -> Guarded {
    let file = scratch(&format!("{test}.toml"));
    let _ = std::fs::remove_file(&file);
    let tokens = Role::ALL.map(|role| (role, token(&file, role.word(), role, &[], 1000)));
    let late = token(&file, "late", Role::Admin, &[], 1);
    let scoped = token(&file, "scoped", Role::Admin, &["checkout-*"], 1000);
    let access = access::Settings { tokens: Some(file.clone()), tls: None };
    let port = port_with(Settings { publish: None, limits: limits(), access, ..Settings::new(listen) });
    Guarded { port, file, tokens: tokens.to_vec(), late, scoped }
}

impl Guarded {
    fn of(&self, role: Role) -> &str {
        &self.tokens.iter().find(|(own, _)| *own == role).unwrap().1
    }

    fn ask(&self, request: &str, token: &str) -> Reply {
        let bearer = format!("authorization: Bearer {token}");
        self.port.ask(request, &[&bearer, "content-type: application/json"], "{}")
    }

    fn walk(&self, route: &Route, token: Option<&str>) -> u16 {
        let path = route.path.replace("{name}", "nobody").replace("{id}", "nobody-1").replace("{fault}", "late");
        let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let mut stream = self.port.connect();
        let head = format!("{} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{bearer}\r\n", route.method);
        stream.write_all(head.as_bytes()).unwrap();
        if route.path == "/v1/events" {
            let mut start = [0; 12];
            std::io::Read::read_exact(&mut stream, &mut start).unwrap();
            return std::str::from_utf8(&start[9..]).unwrap().parse().unwrap();
        }
        Reply::parse(&rest(stream)).status
    }
}

/// Every route there is, with every role and without.
#[test]
fn every_route_asks_for_its_role() {
    let guarded = guarded("walk", "127.0.0.1:0");
    let wrong = Secret::new().unwrap();
    for route in routes::table() {
        let about = format!("{} {}", route.method, route.path);
        for bad in [None, Some(guarded.late.as_str()), Some(wrong.text()), Some("nonsense")] {
            let status = guarded.walk(&route, bad);
            assert!(matches!(status, 401 | 429), "{about} with {bad:?}: {status}");
        }
        for (role, token) in &guarded.tokens {
            let status = guarded.walk(&route, Some(token));
            let is_refused = matches!(status, 401 | 403 | 429);
            assert_eq!(is_refused, *role < route.needs.role, "{about} as {role}: {status}");
        }
        assert!(route.method == "GET" || route.needs.role > Role::Viewer || route.path.ends_with("/abort"), "{about}");
    }
    assert_eq!(guarded.ask("GET /v1/nothing", wrong.text()).status / 100, 4);
    let unknown = guarded.port.get("/v1/nothing").status;
    assert!(matches!(unknown, 401 | 429), "what is there is not told to those who are not known: {unknown}");
}

#[test]
fn everybody_who_is_known_may_abort_and_nobody_else() {
    let guarded = guarded("abort", "127.0.0.1:0");
    for token in guarded.tokens.iter().map(|(_, token)| token).chain([&guarded.scoped]) {
        guarded.port.program.add("drill-1", State::Running, &[]);
        assert_eq!(guarded.ask("POST /v1/abort", token).status, 200);
        guarded.port.program.experiments.lock().unwrap().clear();
    }
    let refused = guarded.port.post("/v1/abort", "{}");
    refused.problem(401);
    assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);
    assert_eq!(guarded.port.program.aborts.lock().unwrap().len(), 6);
}

#[test]
fn a_scope_is_about_experiments_and_leaves_all_else_alone() {
    let guarded = guarded("scope", "127.0.0.1:0");
    let scoped = guarded.scoped.clone();
    guarded.port.program.add("checkout-a-1", State::Running, &[]);
    guarded.port.program.add("redis-1", State::Running, &[]);
    assert_eq!(guarded.ask("POST /v1/experiments/checkout-a-1/pause", &scoped).status, 200);
    guarded.ask("POST /v1/experiments/redis-1/pause", &scoped).problem(403);
    guarded.ask("POST /v1/experiments", &scoped).problem(403); // the program calls each scenario `drill`
    guarded.ask("POST /v1/reload", &scoped).problem(403);
    assert_eq!(guarded.ask("POST /v1/experiments/redis-1/abort", &scoped).status, 200);
}

#[test]
fn a_token_in_an_address_is_refused_whoever_it_is_of() {
    let guarded = guarded("address", "127.0.0.1:0");
    let admin = guarded.of(Role::Admin);
    for path in [
        format!("/v1/status?token={admin}"),
        format!("/v1/status?x={admin}"),
        format!("/v1/experiments/{admin}"),
        "/v1/status?access_token=1".into(),
        format!("/v1/status?x=%73qt_{}", &admin[4..]),
    ] {
        let reply = guarded.ask(&format!("GET {path}"), admin);
        assert!(!reply.problem(400).to_string().contains(&admin[5..]), "{reply:?}");
    }
    assert_eq!(guarded.ask("GET /v1/status", admin).status, 200);
}

#[test]
fn one_header_with_one_token_is_understood() {
    let guarded = guarded("header", "127.0.0.1:0");
    let viewer = guarded.of(Role::Viewer);
    let with = |headers: &[&str]| guarded.port.ask("GET /v1/status", headers, "").status;
    assert_eq!(with(&[&format!("authorization: bearer {viewer}")]), 200);
    assert_eq!(with(&[&format!("authorization: Basic {viewer}")]), 401);
    assert_eq!(with(&[&format!("authorization: {viewer}")]), 401);
    let twice = format!("authorization: Bearer {viewer}");
    assert_eq!(with(&[&twice, &twice]), 401);
    let late = guarded.ask("GET /v1/status", &guarded.late).problem(401);
    assert!(late["detail"].as_str().unwrap().contains("expired"), "{late}");
}

/// Generous: the bound is 50 ms, the machine may be busy.
#[test]
#[allow(clippy::disallowed_methods)]
fn a_flood_of_failed_logins_is_limited_and_keeps_nobody_from_an_abort() {
    let guarded = guarded("flood", "127.0.0.1:0");
    let wrong = Secret::new().unwrap();
    let statuses: Vec<u16> = (0..40).map(|_| guarded.ask("GET /v1/status", wrong.text()).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 10, "{statuses:?}");
    assert!(statuses[10..].iter().all(|status| *status == 429), "{statuses:?}");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    guarded.ask("GET /v1/status", wrong.text());
                }
            });
        }
        for _ in 0..10 {
            let began = Instant::now();
            assert_eq!(guarded.ask("POST /v1/abort", guarded.of(Role::Aborter)).status, 200);
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_changed_file_comes_into_force_by_itself() {
    let guarded = guarded("changed", "127.0.0.1:0");
    let client = Client::new(guarded.port.server.place().clone()).token(guarded.of(Role::Viewer));
    assert!(client.status().is_ok());
    assert!(!format!("{client:?}").contains(guarded.of(Role::Viewer)));
    tokens::change(&guarded.file, |tokens| tokens.revoke("viewer", UNIX_EPOCH)).unwrap();
    until(|| client.status().is_err());
    assert!(client.status().unwrap_err().to_string().contains("revoked"));
    std::fs::write(&guarded.file, "not = [toml").unwrap();
    assert_eq!(guarded.ask("POST /v1/abort", guarded.of(Role::Aborter)).status, 200, "a broken file locks nobody out");
}

#[test]
fn a_port_whose_tokens_can_not_be_read_does_not_start() {
    let file = scratch("missing.toml");
    let access = access::Settings { tokens: Some(file.clone()), tls: None };
    let settings = Settings { publish: None, access, ..Settings::new("127.0.0.1:0") };
    let refused = crate::Server::start(settings, std::sync::Arc::new(super::support::Program::default())).unwrap_err();
    assert!(refused.to_string().contains(&*name(&file)), "{refused}");
}

#[test]
fn on_a_unix_socket_the_kernel_says_who_asks() {
    let path = scratch("who.sock");
    let guarded = guarded("who", &format!("unix:{}", path.display()));
    let client = Client::new(guarded.port.server.place().clone());
    assert!(client.status().is_ok(), "whoever runs squall needs no token there");
    let viewer = client.clone().token(guarded.of(Role::Viewer));
    let refused = viewer.reload().unwrap_err();
    assert!(refused.to_string().contains("takes the role operator"), "{refused}");
}

/// Waits until something is so; the file is looked at four times a second.
fn until(is_so: impl Fn() -> bool) {
    assert!((0..1000).any(|_| {
        std::thread::park_timeout(Duration::from_millis(20));
        is_so()
    }));
}
