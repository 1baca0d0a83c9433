//! The points at which the original breaks, and that it is one experiment of squall's.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::support::Toxi;
use crate::support::{End, Peer, pattern};

/// What a control call may take, whatever the data plane does.
const PROMPT: Duration = Duration::from_secs(1);

/// Does every kind of control call, each within a second.
#[track_caller]
fn all_calls_are_prompt(toxi: &Toxi, proxy: &str) {
    let prompt = |method: &str, path: String, body: &str| {
        let began = Instant::now();
        let reply = toxi.ask(method, &path, body);
        assert!(began.elapsed() < PROMPT, "{method} {path} took {:?}", began.elapsed());
        assert!(reply.status < 300, "{method} {path}: {reply:#?}");
    };
    prompt("GET", "/proxies".into(), "");
    prompt("POST", format!("/proxies/{proxy}/toxics"), r#"{"name":"x","type":"latency","attributes":{"latency":10}}"#);
    prompt("POST", format!("/proxies/{proxy}/toxics/x"), r#"{"attributes":{"latency":20}}"#);
    prompt("DELETE", format!("/proxies/{proxy}/toxics/x"), "");
    prompt("POST", format!("/proxies/{proxy}"), r#"{"enabled":false}"#);
    prompt("POST", "/reset".into(), "");
}

#[test]
fn a_client_that_does_not_read_hangs_nothing() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    let (_client, server) = toxi.line(proxy);
    toxi.toxic("p", r#""name":"slow","type":"latency","attributes":{"latency":100}"#);
    let sender = server.say_aside(vec![7; 64 << 20]);
    std::thread::sleep(Duration::from_millis(300)); // let it fill every buffer on the way
    all_calls_are_prompt(&toxi, "p");
    drop(server);
    sender.join().unwrap();
}

#[test]
fn a_silent_upstream_blocks_neither_its_proxy_nor_others() {
    // a listener whose queue is full: connects to it hang
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let silent = full.local_addr().unwrap().as_socket().unwrap();
    let fill: Vec<Socket> = (0..8)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _in_progress = socket.connect(&silent.into());
            socket
        })
        .collect();
    let toxi = Toxi::new();
    toxi.post("/proxies", &format!(r#"{{"name":"silent","listen":"127.0.0.1:0","upstream":"{silent}"}}"#));
    let listen = toxi.get("/proxies/silent")["listen"].as_str().unwrap().to_owned();
    let waiting: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(&listen).unwrap()).collect();
    let proxy = toxi.proxy("p");
    let (mut client, mut server) = toxi.line(proxy);
    client.say(b"through");
    assert_eq!(server.hear(7), b"through");
    all_calls_are_prompt(&toxi, "silent");
    drop((waiting, fill));
}

#[test]
fn inputs_that_end_the_original_harm_nobody() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    for fields in [
        r#""type":"slicer","attributes":{"average_size":5,"size_variation":9}"#,
        r#""type":"bandwidth","attributes":{"rate":-1}"#,
        r#""type":"bandwidth","attributes":{"rate":9223372036854775807}"#,
        r#""type":"latency","attributes":{"latency":1,"jitter":4611686018427387904}"#,
    ] {
        toxi.ask("POST", "/proxies/p/toxics", &format!("{{{fields}}}")).is(400);
    }
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"well");
    assert_eq!(client.hear(4), b"well");
}

#[test]
fn a_reset_that_waits_is_removed_at_once_and_loses_nothing() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"r","type":"reset_peer","attributes":{"timeout":60000}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"kept");
    client.hears_nothing_for(50);
    let began = Instant::now();
    toxi.ask("DELETE", "/proxies/p/toxics/r", "").is(204);
    assert!(began.elapsed() < PROMPT);
    assert_eq!(client.hear(4), b"kept");
}

/// Which of the next connections are cut before their first byte.
fn cut(toxi: &Toxi, proxy: std::net::SocketAddr, connections: usize) -> Vec<bool> {
    let one = |_| {
        let (mut client, mut server) = toxi.line(proxy);
        server.say(b"x");
        server.finish();
        client.rest().0.is_empty()
    };
    (0..connections).map(one).collect()
}

#[test]
fn a_seed_makes_draws_reproducible() {
    let drawn = |seed: &str| {
        let toxi = Toxi::with(&[seed]);
        let proxy = toxi.proxy("p");
        toxi.toxic("p", r#""type":"limit_data","toxicity":0.5,"attributes":{"bytes":0}"#);
        cut(&toxi, proxy, 32)
    };
    let first = drawn("-seed=7");
    assert_eq!(first, drawn("-seed=7"));
    assert_ne!(first, drawn("-seed=8"));
    assert!(first.contains(&true) && first.contains(&false));
}

#[test]
fn toxicity_is_drawn_once_whatever_else_changes() {
    let toxi = Toxi::with(&["-seed=3"]);
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"stall","type":"bandwidth","toxicity":0.5,"attributes":{"rate":0}"#);
    let mut lines: Vec<(Peer, Peer)> = (0..16).map(|_| toxi.line(proxy)).collect();
    let stalled = |lines: &mut Vec<(Peer, Peer)>| -> Vec<bool> {
        lines.iter_mut().for_each(|(_, server)| server.say(b"x"));
        lines.iter_mut().map(|(client, _)| client.is_silent_for(60)).collect()
    };
    let before = stalled(&mut lines);
    assert!(before.contains(&true) && before.contains(&false), "{before:?}");
    for round in 0..3 {
        toxi.toxic("p", &format!(r#""name":"n{round}","type":"noop""#));
        lines
            .iter_mut()
            .zip(&before)
            .filter(|(_, stalled)| !**stalled)
            .for_each(|((client, _), _)| drop(client.hear(1)));
        assert_eq!(stalled(&mut lines), before, "after another toxic was added");
    }
}

#[test]
fn a_half_close_is_relayed_and_the_answer_still_comes() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""type":"latency","attributes":{"latency":20}"#);
    let (mut client, mut server) = toxi.line(proxy);
    client.say(b"question");
    client.finish();
    assert_eq!(server.rest(), (b"question".to_vec(), End::Fin));
    server.say(b"answer");
    server.finish();
    assert_eq!(client.rest(), (b"answer".to_vec(), End::Fin));
}

#[test]
fn a_populate_on_every_address_is_idempotent() {
    let toxi = Toxi::new();
    let upstream = toxi.upstream.local_addr().unwrap();
    let body = |port: u16| format!(r#"[{{"name":"p","listen":"0.0.0.0:{port}","upstream":"{upstream}"}}]"#);
    let made = toxi.post("/populate", &body(0));
    let port: u16 = made["proxies"][0]["listen"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    let (mut client, mut server) = toxi.line(([127, 0, 0, 1], port).into());
    toxi.post("/populate", &body(port));
    client.say(b"alive");
    assert_eq!(server.hear(5), b"alive");
}

#[test]
fn removal_loses_no_byte_for_a_reader_that_comes_late() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"slow","type":"latency","attributes":{"latency":60000}"#);
    let (mut client, server) = toxi.line(proxy);
    let sent = pattern(24 << 20);
    let sender = server.say_aside(sent.clone());
    client.hears_nothing_for(300);
    toxi.ask("DELETE", "/proxies/p/toxics/slow", "").is(204);
    client.hears_something();
    let mut heard = Vec::new();
    while heard.len() < sent.len() {
        heard.extend(client.read());
    }
    assert!(heard == sent);
    sender.join().unwrap();
}

#[test]
fn toxics_come_from_a_configuration_and_the_name_of_the_binary_is_enough() {
    let toxi = Toxi::new();
    let upstream = toxi.upstream.local_addr().unwrap();
    let config = format!(
        r#"[{{"name":"p","listen":"127.0.0.1:0","upstream":"{upstream}",
            "toxics":[{{"type":"limit_data","attributes":{{"bytes":3}}}}]}}]"#
    );
    let file = toxi.room.file("toxiproxy.json", &config);
    let binary = toxi.room.path("toxiproxy-server");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_squall"), &binary).unwrap();
    let mut command = std::process::Command::new(binary);
    command.args(["-port", "0", "-host", "127.0.0.1", "-config", &file]).env("XDG_RUNTIME_DIR", toxi.room.directory());
    let program = crate::support::Running::start(&mut command);
    let other = Toxi { program, address: toxi.address, ..Toxi::new() };
    let address = other.program.wait_for("toxiproxy http://").parse().unwrap();
    let other = Toxi { address, ..other };
    let proxy = other.get("/proxies/p")["listen"].as_str().unwrap().parse().unwrap();
    let mut client = Peer::new(TcpStream::connect::<std::net::SocketAddr>(proxy).unwrap());
    let mut server = Peer::new(toxi.upstream.accept().unwrap().0);
    server.say(b"abcdef");
    assert_eq!(client.rest(), (b"abc".to_vec(), End::Fin));
}

#[test]
fn an_abort_lifts_all_toxics_and_enables_nothing() {
    let toxi = Toxi::with(&["-proxy-metrics", "-runtime-metrics"]);
    let proxy = toxi.proxy("p");
    toxi.proxy("off");
    toxi.post("/proxies/off", r#"{"enabled":false}"#);
    toxi.toxic("p", r#""type":"latency","attributes":{"latency":60000}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"held");
    client.hears_nothing_for(50);
    let squall = |words: &[&str]| toxi.room.squall(&[words, &["--control", &toxi.control]].concat()).exits(0).out;
    let status = squall(&["status"]);
    assert!(status.contains("toxiproxy") && status.contains("latency_downstream"), "{status}");
    squall(&["abort"]);
    assert_eq!(client.hear(4), b"held");
    assert_eq!(toxi.get("/proxies/p")["toxics"], serde_json::json!([]));
    assert_eq!(toxi.get("/proxies/off")["enabled"], false);
    // and it goes on: a new toxic begins a new run
    toxi.toxic("p", r#""type":"limit_data","attributes":{"bytes":1}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"ab");
    assert_eq!(client.rest(), (b"a".to_vec(), End::Fin));
    let metrics = toxi.ask("GET", "/metrics", "").is(200).body;
    let line = metrics.lines().find(|line| {
        line.starts_with("toxiproxy_proxy_sent_bytes_total{direction=\"downstream\"") && line.contains("proxy=\"p\"")
    });
    assert!(line.is_some_and(|line| line.ends_with(" 5")), "{metrics}");
    assert!(metrics.contains("toxiproxy_proxy_received_bytes_total{direction=\"upstream\""), "{metrics}");
    assert!(metrics.contains("process_open_fds"), "{metrics}");
}

#[test]
fn a_lease_lifts_what_nobody_asks_for_any_more() {
    let toxi = Toxi::with(&["--lease=500ms"]);
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""type":"latency","attributes":{"latency":60000}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"held");
    assert_eq!(client.hear(4), b"held", "let go when the lease ran out");
    assert_eq!(toxi.get("/proxies/p")["toxics"], serde_json::json!([]));
}

#[test]
fn controls_answer_when_connections_have_taken_all_descriptors() {
    let room = crate::support::Room::new();
    let mut command = room.command(&["toxiproxy", "-port=0"]);
    command = {
        let mut limited = std::process::Command::new("prlimit");
        limited.arg("--nofile=400:400").arg(command.get_program()).args(command.get_args());
        limited.env("XDG_RUNTIME_DIR", room.directory());
        limited
    };
    let program = crate::support::Running::start(&mut command);
    let address = program.wait_for("toxiproxy http://").parse().unwrap();
    let toxi = Toxi { program, address, ..Toxi::new() };
    let proxy = toxi.proxy("p");
    let many: Vec<TcpStream> = (0..400).filter_map(|_| TcpStream::connect(proxy).ok()).collect();
    many.iter().for_each(|mut client| drop(client.write_all(b"x")));
    all_calls_are_prompt(&toxi, "p");
}
