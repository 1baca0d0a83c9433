//! Bytes stay equal over a gigabyte, whatever is switched on and off meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{Room, Serve, turn};

const DOWN: u64 = 1 << 30;
const UP: u64 = 256 << 20;

/// Blocks of a length that is no multiple of anything, each with its number in front: a byte lost, doubled or out of
/// order shows.
struct Pattern {
    block: Vec<u8>,
    number: u64,
    at: usize,
}

impl Pattern {
    fn new() -> Pattern {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (word >> 33).to_le_bytes()[0]
        };
        let mut pattern = Pattern { block: std::iter::repeat_with(next).take(1_048_583).collect(), number: 0, at: 0 };
        pattern.mark();
        pattern
    }

    fn mark(&mut self) {
        self.block[..8].copy_from_slice(&self.number.to_le_bytes());
    }

    fn rest(&self) -> &[u8] {
        &self.block[self.at..]
    }

    fn advance(&mut self, n: usize) {
        self.at += n;
        if self.at == self.block.len() {
            (self.at, self.number) = (0, self.number + 1);
            self.mark();
        }
    }
}

fn send(mut to: &TcpStream, total: u64) {
    let mut pattern = Pattern::new();
    let mut left = total;
    while left > 0 {
        let rest = pattern.rest();
        let n = to.write(&rest[..rest.len().min(usize::try_from(left).unwrap())]).unwrap();
        pattern.advance(n);
        left -= n as u64;
    }
    to.shutdown(Shutdown::Write).unwrap();
}

/// Reads to the end and counts what is as sent; after every `every` bytes it rests for a while.
fn receive(mut from: &TcpStream, every: u64, count: &AtomicU64) {
    let mut pattern = Pattern::new();
    let mut buffer = vec![0; 200_000];
    let mut next = every;
    loop {
        let n = from.read(&mut buffer).unwrap();
        if n == 0 {
            return;
        }
        let mut got = &buffer[..n];
        while !got.is_empty() {
            let same = got.len().min(pattern.rest().len());
            assert!(got[..same] == pattern.rest()[..same], "another byte after {}", count.load(Ordering::Relaxed));
            got = &got[same..];
            pattern.advance(same);
        }
        if count.fetch_add(n as u64, Ordering::Relaxed) + n as u64 > next {
            next += every;
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

#[test]
fn bytes_are_equal_while_faults_come_and_go_under_a_slow_reader() {
    let _turn = turn();
    const KINDS: [&str; 6] = [
        "kind = \"latency\"\ndelay = \"3ms\"\njitter = \"3ms\"",
        "kind = \"bandwidth\"\nrate = \"60MB/s\"",
        "kind = \"slicer\"\nsize = \"9000B\"\nvariation = \"8000B\"",
        "kind = \"bandwidth\"\nname = \"stall\"\nrate = \"0B/s\"\nfor = \"60ms\"",
        "kind = \"partition\"\nfor = \"80ms\"",
        "kind = \"cut\"\nhow = \"stall\"\nafter = \"1MB\"\nfor = \"70ms\"",
    ];
    let room = Room::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let squall = Serve::before(&room, listener.local_addr().unwrap());
    let client = TcpStream::connect(squall.address).unwrap();
    let (server, _) = listener.accept().unwrap();
    for side in [&client, &server] {
        side.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        side.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    }
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut rounds = 0;
    std::thread::scope(|scope| {
        let threads = [
            scope.spawn(|| send(&server, DOWN)),
            scope.spawn(|| send(&client, UP)),
            scope.spawn(|| receive(&client, 32 << 20, &down)),
            scope.spawn(|| receive(&server, 16 << 20, &up)),
        ];
        let mut dice = 1_u64;
        let mut roll = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        while threads.iter().any(|thread| !thread.is_finished()) {
            let mut faults = String::new();
            for kind in KINDS {
                if roll(3) == 0 {
                    let direction = ["upstream", "downstream", "both"][usize::try_from(roll(3)).unwrap()];
                    faults += &format!("[[fault]]\nproxy = \"default\"\ndirection = \"{direction}\"\n{kind}\n");
                }
            }
            if faults.is_empty() {
                std::thread::sleep(Duration::from_millis(30));
                continue;
            }
            let id = squall.start(&faults);
            std::thread::sleep(Duration::from_millis(40 + roll(160)));
            squall.stop(&id);
            rounds += 1;
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert_eq!((up.into_inner(), down.into_inner()), (UP, DOWN));
    assert!(rounds >= 5, "{rounds} sets of faults came and went");
    println!("{rounds} sets of faults came and went");
}
