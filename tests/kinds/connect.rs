//! connect: what comes before the dial is late, hangs or fails.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{End, Peer, Room, Serve, Stage};

#[test]
fn the_dial_is_late_by_what_was_drawn() {
    let stage = Stage::new();
    let mut open = stage.live_line();
    let trial = stage.start("kind = 'connect'\nhow = 'delay'\ndelay = '200ms'\njitter = '50ms'");
    let began = Instant::now();
    let mut client = stage.dial();
    client.say(b"hello");
    let mut server = stage.accept();
    let took = began.elapsed();
    assert_eq!(server.hear(5), b"hello");
    assert!(took >= Duration::from_millis(150), "{took:?}");
    let answers = (0..5).map(|_| {
        let answered = Instant::now();
        server.say(b"!");
        client.hear(1);
        answered.elapsed()
    });
    assert!(answers.min().unwrap() < Duration::from_millis(150), "only the dial is late");
    open.works();
    trial.stop();
    let ledger = trial.ledger("connect");
    assert_eq!(ledger.len(), 1, "{ledger:#?}");
    let ns = |field: &str| ledger[0][field].as_u64().unwrap();
    assert!((150_000_000..=250_000_000).contains(&ns("drawn")) && ns("scheduled") == ns("drawn"));
    assert!(ns("achieved") >= ns("scheduled") && took.as_nanos() >= u128::from(ns("drawn")));
    assert!(ledger[0]["approximated"].as_str().unwrap().contains("handshake"));
}

#[test]
fn a_hang_goes_on_when_it_is_lifted() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'connect'\nhow = 'hang'");
    let mut client = stage.dial();
    client.say(b"hello?");
    trial.until("connect", |tally| tally.held == 1);
    stage.nobody_comes_for(100);
    client.hears_nothing_for(20);
    assert_eq!(trial.stop().released, 1);
    let mut server = stage.accept();
    assert_eq!(server.hear(6), b"hello?");
    server.say(b"yes");
    assert_eq!(client.hear(3), b"yes");
    let ledger = trial.ledger("connect");
    let lines: Vec<_> = ledger.iter().map(|line| (line["what"].as_str(), line["released"].as_bool())).collect();
    assert_eq!(
        lines,
        [(Some("held"), Some(false)), (Some("held"), Some(true))],
        "when it began, and when it was let go"
    );
}

#[test]
fn a_delay_cut_short_says_so() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'connect'\nhow = 'delay'\ndelay = '50s'");
    let _client = stage.dial();
    trial.until("connect", |tally| tally.held == 1);
    assert_eq!(trial.stop().released, 1);
    stage.accept();
    let ledger = trial.ledger("connect");
    assert!(ledger.len() == 1 && ledger[0]["released"] == true && ledger[0]["scheduled"] == 50_000_000_000_u64);
}

#[test]
fn a_failure_looks_like_a_real_one() {
    let stage = Stage::new();
    let mut open = stage.live_line();
    for (how, what) in [("refuse", "refused"), ("resolve", "unresolved")] {
        let trial = stage.start(&format!("kind = 'connect'\nhow = '{how}'"));
        assert_eq!(stage.dial().end(), End::Reset);
        stage.nobody_comes_for(30);
        open.works();
        trial.stop();
        let ledger = trial.ledger("connect");
        assert_eq!(ledger.iter().map(|line| line["what"].as_str().unwrap()).collect::<Vec<_>>(), [what]);
    }
    stage.live_line();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let room = Room::new();
    let serve = Serve::before(&room, nobody);
    let mut real = Peer::new(TcpStream::connect(serve.address).unwrap());
    assert_eq!(real.end(), End::Reset);
}

#[test]
fn with_latency_both_are_late() {
    let stage = Stage::new();
    let _trial = stage.start_all(&[
        "kind = 'connect'\nhow = 'delay'\ndelay = '100ms'",
        "kind = 'latency'\ndirection = 'upstream'\ndelay = '100ms'",
    ]);
    let began = Instant::now();
    let mut client = stage.dial();
    client.say(b"hello");
    let mut server = stage.accept();
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!(server.hear(5), b"hello");
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}
