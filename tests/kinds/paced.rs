//! release_over: an end that is no stampede.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Room, Serve, echo, turn, wait};

const CLIENTS: usize = 60;
const LEFT: usize = 7;

/// Ends an experiment that holds sixty clients, of which some have gone; when the others heard of it since, and what they
/// read.
fn ended(fields: &str) -> (Vec<Duration>, Vec<usize>, serde_json::Value) {
    let _turn = turn();
    let room = Room::new();
    let serve = Serve::before(&room, echo());
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(serve.address).unwrap()).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
    }
    let fault = "[[fault]]\nkind = \"partition\"\nproxy = \"default\"\ndirection = \"downstream\"\n";
    let id = serve.start(&format!("{fields}\n{fault}"));
    clients.iter_mut().for_each(|client| client.write_all(b"again").unwrap());
    let tally = || serve.client.view(&id).unwrap().faults[0].tally;
    wait::until("all to be held", || (tally().held == CLIENTS as u64).then_some(()));
    for client in clients.drain(..LEFT) {
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap(); // a reset: who only closes may still read
    }
    wait::until("those who have gone to be counted", || (tally().dropped == LEFT as u64).then_some(()));
    let began = Instant::now();
    let heard = std::thread::scope(|scope| {
        let waiting = clients.iter_mut().map(|client| {
            scope.spawn(move || {
                let read = client.read(&mut [0; 5]).unwrap();
                (began.elapsed(), read)
            })
        });
        let waiting: Vec<_> = waiting.collect();
        serve.client.abort(&id).unwrap();
        waiting.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    serve.over(&id);
    let report = serve.client.report(&id).unwrap();
    let (mut times, read): (Vec<_>, Vec<_>) = heard.into_iter().unzip();
    times.sort_unstable();
    (times, read, report)
}

#[test]
fn what_is_held_is_let_go_one_after_the_other_and_what_is_nobodys_is_dropped() {
    for (on_abort, bytes) in [("release", 5), ("close", 0)] {
        let (times, read, report) = ended(&format!("release_over = \"2s\"\non_abort = \"{on_abort}\""));
        let left = CLIENTS - LEFT;
        assert_eq!((read.len(), read.iter().all(|n| *n == bytes)), (left, true), "{on_abort}: {read:?}");
        // fifty-three at random over two seconds: that half of them come within a fifth of that is out of the question
        let middle = times[left * 3 / 4] - times[left / 4];
        assert!(middle > Duration::from_millis(400), "{on_abort}: {times:?}");
        let tally = &report["faults"][0]["tally"];
        assert_eq!((&tally["released"], &tally["dropped"]), (&left.into(), &LEFT.into()), "{tally}");
        assert_eq!((&report["release"]["released"], &report["release_over_s"]), (&left.into(), &2.0.into()));
        assert!(report["release"]["drained_us"].as_u64().unwrap() < 10_000_000, "{}", report["release"]);
    }
}

#[test]
fn an_end_that_takes_longer_than_five_seconds_is_refused() {
    let room = Room::new();
    let file = std::fs::read_to_string("scenarios/first-drill.toml").unwrap();
    let slow = room
        .file("slow.toml", &file.replace("max_duration = \"30s\"", "max_duration = \"30s\"\nrelease_over = \"6s\""));
    room.squall(&["check", &slow]).exits(2).says("an end that takes longer than 5s is none").says("slow.toml:");
}
