//! Every control call answers within a second, whatever the data plane does.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::support::{Reply, Toxi};
use crate::support::{End, Room, Running, pattern};

/// What a control call may take.
pub const PROMPT: Duration = Duration::from_secs(1);

/// One call, within that time.
#[track_caller]
fn prompt(toxi: &Toxi, method: &str, path: &str, body: &str) -> Reply {
    let began = Instant::now();
    let reply = toxi.ask(method, path, body);
    assert!(began.elapsed() < PROMPT, "{method} {path} took {:?}", began.elapsed());
    assert!(reply.status < 300, "{method} {path}: {reply:#?}");
    reply
}

/// Makes every kind of control call; the proxy is disabled on the way, and its connections end.
#[track_caller]
pub fn all_calls_are_prompt(toxi: &Toxi, proxy: &str) {
    let call = |method: &str, path: &str, body: &str| prompt(toxi, method, path, body);
    let toxics = format!("/proxies/{proxy}/toxics");
    let toxic = format!("{toxics}/x");
    let itself = format!("/proxies/{proxy}");
    let upstream = toxi.upstream.local_addr().unwrap();
    let more = format!(r#"{{"name":"more","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
    call("GET", "/version", "");
    call("GET", "/metrics", "");
    call("GET", "/proxies", "");
    call("GET", &itself, "");
    call("POST", &toxics, r#"{"name":"x","type":"latency","attributes":{"latency":10}}"#);
    call("POST", &toxic, r#"{"attributes":{"latency":20}}"#);
    call("GET", &toxic, "");
    call("GET", &toxics, "");
    call("DELETE", &toxic, "");
    call("POST", "/proxies", &more);
    call("POST", "/populate", &format!("[{more}]"));
    call("DELETE", "/proxies/more", "");
    call("POST", &itself, r#"{"enabled":false}"#);
    call("POST", &itself, r#"{"enabled":true}"#);
    call("POST", "/reset", "");
}

#[test]
fn with_as_many_connections_as_descriptors_allow() {
    let room = Room::new();
    let mut command = room.command(&["toxiproxy", "-port=0"]);
    command = {
        let mut limited = std::process::Command::new("prlimit");
        limited.arg("--nofile=400:400").arg(command.get_program()).args(command.get_args());
        limited.env("XDG_RUNTIME_DIR", room.directory());
        limited
    };
    let program = Running::start(&mut command);
    let address = program.wait_for("toxiproxy http://").parse().unwrap();
    let toxi = Toxi { program, address, ..Toxi::new() };
    let proxy = toxi.proxy("p");
    let many: Vec<TcpStream> = (0..400).filter_map(|_| TcpStream::connect(proxy).ok()).collect();
    many.iter().for_each(|mut client| drop(client.write_all(b"x")));
    all_calls_are_prompt(&toxi, "p");
}

#[test]
fn while_toxics_come_and_go_under_load() {
    let toxi = Toxi::with(&["-proxy-metrics"]);
    let proxy = toxi.proxy("p");
    let ends = Arc::new(AtomicBool::new(false));
    let heard = Arc::new(AtomicU64::new(0));
    let lines: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, mut server) = toxi.line(proxy);
            let (told, heard) = (ends.clone(), heard.clone());
            let chunk = pattern(1 << 20);
            let sender = std::thread::spawn(move || {
                let mut sent = 0_u64;
                while !told.load(Ordering::Relaxed) {
                    server.say(&chunk);
                    sent += 1;
                }
                server.finish();
                sent
            });
            let chunk = pattern(1 << 20);
            let reader = std::thread::spawn(move || {
                let mut came = 0_u64;
                loop {
                    client.hears_something();
                    let mut first = client.read();
                    if first.is_empty() {
                        return came;
                    }
                    first.extend(client.hear(chunk.len() - first.len()));
                    assert!(first == chunk, "bytes were lost or moved");
                    came += 1;
                    heard.fetch_add(1, Ordering::Relaxed);
                }
            });
            (sender, reader)
        })
        .collect();
    for round in 0..6 {
        for (name, attributes) in [
            ("latency", r#"{"latency":200,"jitter":50}"#),
            ("bandwidth", r#"{"rate":0}"#),
            ("slicer", r#"{"average_size":20000,"size_variation":5000,"delay":1000}"#),
            ("reset_peer", r#"{"timeout":600000}"#),
        ] {
            let toxic = format!(r#"{{"name":"t","type":"{name}","attributes":{attributes}}}"#);
            let before = heard.load(Ordering::Relaxed);
            prompt(&toxi, "POST", "/proxies/p/toxics", &toxic);
            prompt(&toxi, "GET", "/proxies", "");
            prompt(&toxi, "DELETE", "/proxies/p/toxics/t", "");
            let limit = Instant::now() + Duration::from_secs(60);
            while heard.load(Ordering::Relaxed) == before {
                assert!(Instant::now() < limit, "round {round}: nothing goes on after {name} was removed");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    ends.store(true, Ordering::Relaxed);
    for (sender, reader) in lines {
        assert_eq!(sender.join().unwrap(), reader.join().unwrap());
    }
    all_calls_are_prompt(&toxi, "p");
}

/// Names are looked up beside the lock, and not for long.
#[test]
fn with_names_that_nobody_knows() {
    let toxi = Toxi::new();
    toxi.proxy("p");
    let name = "no.such.name.invalid";
    let asked = |method: &str, path: &str, body: &str, status: u16| {
        let began = Instant::now();
        toxi.ask(method, path, body).is(status);
        assert!(began.elapsed() < PROMPT, "{method} {path} took {:?}", began.elapsed());
    };
    asked("POST", "/proxies", &format!(r#"{{"name":"q","listen":"{name}:0","upstream":"127.0.0.1:9"}}"#), 500);
    asked("POST", "/proxies/p", &format!(r#"{{"upstream":"{name}:80"}}"#), 200);
    let again = format!(r#"[{{"name":"p","listen":"127.0.0.1:0","upstream":"{name}:81"}}]"#);
    asked("POST", "/populate", &again, 201);
    let listen = toxi.get("/proxies/p")["listen"].as_str().unwrap().to_owned();
    let mut client = crate::support::Peer::new(TcpStream::connect(listen).unwrap());
    assert_eq!(client.end(), End::Fin, "it leads nowhere");
}
