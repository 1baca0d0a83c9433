//! slowhttptest's slow clients: their connections end or wait, others are served meanwhile, and memory stays bounded.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::programs::{free_port, installed, run};
use crate::support::wait::{self, PATIENCE};
use crate::support::{Room, Running, Serve, nginx};

const LARGE: usize = 8_000_000;

/// nginx with a small file and a large one, and squall before it.
fn site() -> (Serve, Room, Running) {
    let room = Room::new();
    let port = free_port();
    room.file("large", &"x".repeat(LARGE));
    let at = room.directory().display();
    let server = format!(
        "client_body_timeout 300;\nserver {{ listen 127.0.0.1:{port}; root {at};\n\
         location = / {{ return 200 \"hello\\n\"; }} location = /form {{ proxy_pass http://127.0.0.1:{port}/; }} }}"
    );
    let nginx = nginx::start(&room, &[port], &server);
    let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:{port}\"\nprotocol = \"http\"");
    let squall = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
    (squall, room, nginx)
}

fn slow_clients(address: SocketAddr, path: &str, words: &[&str]) -> Running {
    let mut command = Command::new(installed("slowhttptest"));
    command.args(["-v", "1", "-r", "500", "-p", "30", "-u", &format!("http://{address}{path}")]);
    Running::start(command.args(words))
}

/// Somebody else is answered.
fn hello(address: SocketAddr) {
    let mut curl = Command::new(installed("curl"));
    let url = format!("http://{address}/");
    assert_eq!(run(curl.args(["--silent", "--show-error", "--max-time", "30", &url])), "hello");
}

fn active(squall: &Serve) -> u64 {
    squall.client.proxies().unwrap()[0].active
}

/// Asks on until the slow clients are done; their number of connections is seen on the way.
fn serves_others_until_done(squall: &Serve, mut clients: Vec<Running>, connections: u64) {
    wait::until("the slow clients to be there", || {
        hello(squall.address);
        (active(squall) >= connections).then_some(())
    });
    let end = Instant::now() + Duration::from_secs(100);
    while clients.iter_mut().any(Running::is_running) {
        hello(squall.address);
        assert!(Instant::now() < end, "they go on");
        std::thread::sleep(Duration::from_millis(200));
    }
    wait::within(PATIENCE, "their connections to be gone", || (active(squall) == 0).then_some(()));
}

#[test]
fn slow_bodies_and_slow_readers_cost_little_and_hurt_nobody() {
    let (squall, _room, _nginx) = site();
    hello(squall.address);
    let before = squall.most_memory();
    let bodies =
        slow_clients(squall.address, "/form", &["-B", "-c", "150", "-i", "1", "-l", "5", "-s", "8192", "-x", "20"]);
    let reads = slow_clients(
        squall.address,
        "/large",
        &["-X", "-c", "150", "-l", "5", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"],
    );
    serves_others_until_done(&squall, vec![bodies, reads], 300);
    let grown = squall.most_memory() - before;
    // of 150 answers of 8 MB each little is kept
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[test]
fn slow_heads_are_ended_after_their_minute() {
    let (squall, _room, _nginx) = site();
    hello(squall.address);
    let before = squall.most_memory();
    let began = Instant::now();
    let heads = slow_clients(squall.address, "/", &["-H", "-c", "200", "-i", "5", "-l", "90", "-x", "10"]);
    serves_others_until_done(&squall, vec![heads], 200);
    let took = began.elapsed();
    // they would go on for a minute and a half
    assert!(took >= Duration::from_secs(55) && took < Duration::from_secs(85), "{took:?}");
    let grown = squall.most_memory() - before;
    assert!(grown < 32 << 20, "{grown} bytes more");
}
