//! connection_limit: only so many at one moment.

use std::time::{Duration, Instant};

use crate::support::{End, Line, Stage, wait};

#[test]
fn the_excess_is_refused_until_one_ends() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'connection_limit'\nmax = 2");
    let (mut one, two) = (stage.live_line(), stage.live_line());
    for _ in 0..3 {
        assert_eq!(stage.dial().end(), End::Reset);
    }
    stage.nobody_comes_for(30);
    one.works();
    drop(two);
    wait::until("the place to be free", || (stage.serve.client.proxies().unwrap()[0].active == 1).then_some(()));
    let _again = stage.live_line();
    assert_eq!(stage.dial().end(), End::Reset);
    trial.stop();
    stage.live_line();
    let ledger = trial.ledger("connection_limit");
    assert!(ledger.len() == 4 && ledger.iter().all(|line| line["what"] == "refused" && line["flow"].is_null()));
    assert!(ledger.iter().all(|line| line["approximated"].as_str().is_some()));
}

#[test]
fn who_was_there_before_counts() {
    let stage = Stage::new();
    let mut lines: Vec<_> = (0..3).map(|_| stage.live_line()).collect();
    let trial = stage.start("kind = 'connection_limit'\nmax = 3").has_met(3);
    assert_eq!(stage.dial().end(), End::Reset);
    lines.iter_mut().for_each(|line| line.works());
    trial.stop();
    stage.live_line();
}

#[test]
fn the_excess_waits_its_turn_in_order() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'connection_limit'\nmax = 1\nhow = 'hang'");
    let first = stage.live_line();
    let mut waiting = Vec::new();
    for n in 0..4_u8 {
        let mut client = stage.dial();
        client.say(&[n]);
        waiting.push(client);
        trial.until("connection_limit", |tally| tally.held == u64::from(n) + 1);
    }
    stage.nobody_comes_for(50);
    let mut before = first;
    let mut clients = waiting.into_iter();
    for n in 0..4_u8 {
        drop(before);
        let left = Instant::now();
        let mut server = stage.accept();
        assert!(left.elapsed() < Duration::from_secs(2), "not asked again: {:?}", left.elapsed());
        assert_eq!(server.hear(1), [n], "first come, first served");
        before = Line { client: clients.next().unwrap(), server };
        stage.nobody_comes_for(20);
    }
    trial.stop();
    let ledger = trial.ledger("connection_limit");
    let of = |what: &str| ledger.iter().filter(|line| line["what"] == what).collect::<Vec<_>>();
    assert_eq!((of("held").len(), of("queued").len()), (4, 4), "{ledger:#?}");
    let waits = of("queued");
    assert!(waits.iter().all(|line| line["achieved"].as_u64().unwrap() >= 50_000_000), "{waits:#?}");
}

#[test]
fn removed_it_lets_everybody_in() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'connection_limit'\nmax = 1\nhow = 'hang'");
    let _first = stage.live_line();
    let _waiting: Vec<_> = (0..5).map(|_| stage.dial()).collect();
    trial.until("connection_limit", |tally| tally.held == 5);
    assert_eq!(trial.stop().released, 5);
    for _ in 0..5 {
        stage.accept();
    }
}

#[test]
fn many_at_once_are_never_more_than_the_limit() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'connection_limit'\nmax = 5");
    let clients: Vec<_> = (0..60).map(|_| stage.dial()).collect();
    trial.until("connection_limit", |tally| tally.injected == 55);
    for _ in 0..5 {
        stage.accept();
    }
    stage.nobody_comes_for(30);
    drop(clients);
    trial.stop();
}

#[test]
fn with_latency_those_inside_are_late() {
    let stage = Stage::new();
    let _trial = stage.start_all(&["kind = 'connection_limit'\nmax = 1", "kind = 'latency'\ndelay = '120ms'"]);
    let mut line = stage.line();
    let began = Instant::now();
    line.works();
    assert!(began.elapsed() >= Duration::from_millis(120));
    assert_eq!(stage.dial().end(), End::Reset);
}
