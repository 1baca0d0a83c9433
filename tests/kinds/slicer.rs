//! slicer: the same bytes in small pieces.

use std::time::{Duration, Instant};

use crate::support::{Peer, Stage, pattern};

/// The sizes of the reads in which so many bytes of the pattern come.
#[track_caller]
fn reads(peer: &mut Peer, n: usize) -> Vec<usize> {
    let (mut heard, mut sizes) = (Vec::new(), Vec::new());
    while heard.len() < n {
        let piece = peer.read();
        assert!(!piece.is_empty(), "it ended after {} bytes", heard.len());
        sizes.push(piece.len());
        heard.extend(piece);
    }
    assert!(heard == pattern(n), "the bytes are others");
    sizes
}

#[test]
fn pieces_are_read_apart() {
    let stage = Stage::new();
    let trial = stage.start("kind = 'slicer'\nsize = '100B'\ngap = '4ms'");
    let mut line = stage.line();
    let began = Instant::now();
    line.server.say(&pattern(5_000));
    let sizes = reads(&mut line.client, 5_000);
    // a client that is late reads two at once
    assert!(sizes.iter().all(|size| size % 100 == 0), "{sizes:?}");
    assert!(sizes.len() > 25, "{sizes:?}");
    assert!(began.elapsed() >= Duration::from_millis(49 * 4), "{:?}", began.elapsed());
    trial.stop();
    let ledger = trial.ledger("slicer");
    assert_eq!(ledger[0]["what"], "sliced", "{ledger:#?}");
}

#[test]
fn pieces_vary_as_drawn_the_same_for_the_same_unit() {
    let cuts = || {
        let stage = Stage::new();
        let _trial = stage.start("kind = 'slicer'\nsize = '1000B'\nvariation = '900B'\ngap = '15ms'");
        let mut line = stage.line();
        line.server.say(&pattern(20_000));
        let sizes = reads(&mut line.client, 20_000);
        let ends: std::collections::BTreeSet<usize> = sizes
            .iter()
            .scan(0, |sum, size| {
                *sum += size;
                Some(*sum)
            })
            .collect();
        ends
    };
    let (one, other) = (cuts(), cuts());
    assert!(one.len() > 10 && one.iter().any(|cut| cut % 1000 != 0), "{one:?}");
    // two pieces read at once hide a cut, but there is none where the other run can't have had one
    let shared = one.intersection(&other).count();
    assert!(shared * 4 >= one.len().max(other.len()) * 3, "{one:?} and {other:?}");
}

#[test]
fn upstream_only_when_asked() {
    let stage = Stage::new();
    let _trial = stage.start("kind = 'slicer'\nsize = '10B'\ngap = '5ms'\ndirection = 'upstream'");
    let mut line = stage.line();
    line.client.say(&pattern(200));
    line.server.say(&pattern(200));
    assert!(reads(&mut line.client, 200).len() <= 2);
    assert!(reads(&mut line.server, 200).len() > 8);
}

#[test]
fn removed_the_rest_comes_at_once() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'slicer'\nsize = '10B'\ngap = '1s'").has_met(1);
    let sent = pattern(50_000);
    line.server.say(&sent);
    assert_eq!(line.client.hear(20), sent[..20]);
    let began = Instant::now();
    trial.stop();
    assert_eq!(line.client.hear(sent.len() - 20), sent[20..]);
    assert!(began.elapsed() < Duration::from_secs(10));
    line.works();
}

#[test]
fn with_latency_pieces_are_late_and_still_apart() {
    let stage = Stage::new();
    let _trial = stage.start_all(&["kind = 'slicer'\nsize = '50B'\ngap = '5ms'", "kind = 'latency'\ndelay = '200ms'"]);
    let mut line = stage.line();
    let began = Instant::now();
    line.server.say(&pattern(1_000));
    let sizes = reads(&mut line.client, 1_000);
    assert!(sizes.len() > 8, "{sizes:?}");
    assert!(began.elapsed() >= Duration::from_millis(200 + 19 * 5), "{:?}", began.elapsed());
}
