//! Bytes, half-close and back-pressure without faults, and switches of mode in mid-connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use squall_core::plan::Plan;
use squall_core::plane::DataPlane;
use squall_core::time::MICRO;

use crate::support::*;

#[test]
fn a_round_trip_and_figures() {
    let (plane, _records) = plane(1);
    let mut client = connect(open(&plane, echo()));
    let mut answer = [0; 5];
    for _ in 0..100 {
        client.write_all(b"hello").unwrap();
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    }
    drop(client);
    eventually("the connection has ended", || plane.reading("p").unwrap().active == 0);
    let reading = plane.reading("p").unwrap();
    assert_eq!((reading.accepted, reading.bytes_upstream, reading.bytes_downstream), (1, 500, 500));
    assert_eq!((reading.failed(), reading.reset_by_client), (0, 0));
}

/// Large transfers both ways at once, while faults of every kind come and go and readers are slow at times.
#[test]
fn bytes_are_equal_while_modes_change() {
    const EACH: u64 = 96 << 20;
    const STREAMS: u64 = 6;
    let (plane, _records) = plane(2);
    let address = open(&plane, echo());
    let done = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(77);
            let mut kept = active(&plane, Script::Count);
            while !done.load(Ordering::Relaxed) {
                let mut actives = match dice.below(9) {
                    0 => vec![],
                    1 => vec![Script::Delay(300 * MICRO)],
                    2 => vec![Script::See],
                    3 => vec![Script::Count],
                    4 => vec![Script::Credit(10_000)],
                    5 => vec![Script::Credit(1_000_000)],
                    6 => vec![Script::Pieces(3_000)],
                    7 => vec![Script::Delay(100 * MICRO), Script::See, Script::Credit(70_000)],
                    _ => vec![Script::Stall],
                }
                .into_iter()
                .map(|script| active(&plane, script))
                .collect::<Vec<_>>();
                if dice.below(3) == 0 {
                    kept = active(&plane, Script::See);
                }
                if dice.below(2) == 0 {
                    actives.insert(0, kept.clone());
                    actives.sort_by_key(|active| active.serial);
                }
                publish(&plane, actives);
                std::thread::sleep(std::time::Duration::from_millis(1 + dice.below(25)));
                match dice.below(4) {
                    0 => carried_out(&plane, plane.cell().publish(Arc::new(Plan::default()))),
                    1 => carried_out(&plane, plane.cell().abort_all()),
                    _ => {}
                }
                std::thread::sleep(std::time::Duration::from_millis(dice.below(20)));
            }
            plane.cell().abort_all();
        });
        let transfers: Vec<_> = (0..STREAMS)
            .map(|n| {
                let client = connect(address);
                let sender = send_pattern(client.try_clone().unwrap(), EACH, 100 + n);
                scope.spawn(move || {
                    let seen = check_pattern(client, 200 + n);
                    sender.join().unwrap();
                    seen
                })
            })
            .collect();
        let seen: Vec<_> = transfers.into_iter().map(|transfer| transfer.join()).collect();
        done.store(true, Ordering::Relaxed);
        for seen in seen {
            assert_eq!(seen.unwrap(), EACH);
        }
    });
    assert_eq!(plane.panics(), 0);
    eventually("nothing drains for ever", || draining(&plane) == 0);
    eventually("all connections have ended", || plane.connections() == 0);
    assert_eq!(plane.reading("p").unwrap().bytes_downstream, EACH * STREAMS);
}

#[test]
fn each_side_may_close_its_half_first() {
    // the client closes first and still gets a late answer
    let (plane, _records) = plane(1);
    let upstream = server(|mut stream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).unwrap();
        stream.write_all(&question).unwrap();
        stream.write_all(b" and more").unwrap();
    });
    let mut client = connect(open(&plane, upstream));
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "question and more");

    // the server closes first and still gets what comes later
    let (tell, told) = std::sync::mpsc::channel();
    let upstream = server(move |mut stream| {
        stream.write_all(b"banner").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut late = String::new();
        stream.read_to_string(&mut late).unwrap();
        tell.send(late).unwrap();
    });
    plane.close("p").unwrap();
    let mut client = connect(open(&plane, upstream));
    let mut banner = String::new();
    client.read_to_string(&mut banner).unwrap();
    assert_eq!(banner, "banner");
    client.write_all(b"late").unwrap();
    drop(client);
    assert_eq!(told.recv_timeout(LONG).unwrap(), "late");
}

#[test]
fn a_slow_reader_slows_the_sender() {
    let (plane, _records) = plane(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = open(&plane, listener.local_addr().unwrap());
    let mut client = connect(address);
    let server = bounded(listener.accept().unwrap().0);
    client.set_nonblocking(true).unwrap();
    let chunk = vec![0; 1 << 20];
    let mut sent = 0usize;
    let mut idle = 0;
    while idle < 200 {
        match client.write(&chunk) {
            Ok(n) => (sent, idle) = (sent + n, 0),
            Err(_) => {
                idle += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        assert!(sent < 256 << 20, "nothing pushes back");
    }
    client.set_nonblocking(false).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = 0;
    let mut server = server;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match server.read(&mut buffer).unwrap() {
            0 => break,
            n => got += n,
        }
    }
    assert_eq!(got, sent);
}
