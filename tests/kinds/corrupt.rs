//! corrupt: bits flipped where the seed says, and nothing else.

use std::time::{Duration, Instant};

use crate::support::{Line, Stage, pattern};

const SIZE: usize = 64 << 10;

/// Sends the pattern in parts of this size; where a byte came that is another, and what it is.
#[track_caller]
fn flips(line: &mut Line, part: usize) -> Vec<(usize, u8)> {
    let sent = pattern(SIZE);
    for part in sent.chunks(part) {
        line.server.say(part);
    }
    let heard = line.client.hear(SIZE);
    let differing = heard.iter().zip(&sent).enumerate().filter(|(_, (heard, sent))| heard != sent);
    differing.map(|(at, (heard, sent))| (at, heard ^ sent)).collect()
}

#[test]
fn the_same_bits_for_the_same_seed_whatever_the_reads() {
    let mut runs = Vec::new();
    for part in [SIZE, 777] {
        let stage = Stage::new();
        let trial = stage.start("kind = 'corrupt'\none_per = '1KiB'");
        let flipped = flips(&mut stage.line(), part);
        trial.stop();
        let ledger = trial.ledger("corrupt");
        let recorded: Vec<u64> = ledger.iter().map(|record| record["achieved"].as_u64().unwrap()).collect();
        assert_eq!(recorded, flipped.iter().map(|(at, _)| *at as u64).collect::<Vec<_>>(), "every flip is on record");
        assert_eq!(trial.over().faults[0].tally.injected, 64);
        runs.push(flipped);
    }
    assert_eq!(runs[0], runs[1]);
    let flipped = &runs[0];
    assert!(flipped.iter().all(|(_, bits)| bits.count_ones() == 1), "{flipped:?}");
    let stretches: Vec<usize> = flipped.iter().map(|(at, _)| at / 1024).collect();
    assert_eq!(stretches, (0..64).collect::<Vec<_>>(), "one bit in every KiB");
}

#[test]
fn another_connection_has_other_bits_flipped() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'corrupt'");
    assert_ne!(flips(&mut stage.line(), SIZE), flips(&mut stage.line(), SIZE));
}

#[test]
fn removed_on_a_live_connection_bytes_are_whole_again() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'corrupt'").has_met(1);
    assert!(flips(&mut line, SIZE).len() >= 63);
    trial.stop();
    assert_eq!(flips(&mut line, SIZE), []);
    line.works();
}

#[test]
fn with_latency_bytes_are_late_and_flipped() {
    let stage = Stage::new();
    let _trial = stage.start_all(&["kind = 'corrupt'", "kind = 'latency'\ndelay = '150ms'"]);
    let began = Instant::now();
    assert_eq!(flips(&mut stage.line(), SIZE).len(), 64);
    assert!(began.elapsed() >= Duration::from_millis(150));
}
