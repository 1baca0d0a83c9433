//! Frames of HTTP/2 that cost their receiver something and lead nowhere: PING, SETTINGS, PRIORITY and those of unknown kinds.
//! The `h2` crate bounds what it keeps of everything that a peer sends, and answers floods of CONTINUATION, empty DATA and
//! streams that are reset; of these frames it takes any number. Here they are counted as the bytes come in.

use squall_core::time::{SECOND, Time};

use crate::clock::SystemClock;

/// What a client sends first (RFC 9113, 3.4), bytes.
const PREFACE: usize = 24;
/// The head of a frame (RFC 9113, 4.1), bytes.
const HEAD: usize = 9;
/// Such frames that may come at once, and per second for ever.
const BURST: u64 = 1000;
const RATE: u64 = 100;

/// See the module.
pub(crate) struct Calm {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes until the next head.
    skip: usize,
    left: u64,
    /// When `left` was added to.
    since: Time,
}

impl Calm {
    pub(crate) fn new() -> Calm {
        Calm { head: [0; HEAD], have: 0, skip: PREFACE, left: BURST, since: SystemClock::mono() }
    }

    /// Takes note of what was read; whether the peer keeps within bounds.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let n = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + n].copy_from_slice(&bytes[..n]);
            self.have += n;
            bytes = &bytes[n..];
            if self.have < HEAD {
                continue;
            }
            let [a, b, c, kind, flags, ..] = self.head;
            self.have = 0;
            self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if leads_nowhere(kind, flags) && !self.spend() {
                return false;
            }
        }
        true
    }

    fn spend(&mut self) -> bool {
        if self.left == 0 {
            let now = SystemClock::mono();
            let earned = now.saturating_sub(self.since) / (SECOND / RATE);
            self.left = earned.min(BURST);
            self.since = now;
        }
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }
}

/// By its type and flags (RFC 9113, 6).
fn leads_nowhere(kind: u8, flags: u8) -> bool {
    const ACK: u8 = 1;
    match kind {
        0x2 => true,                   // PRIORITY
        0x4 | 0x6 => flags & ACK == 0, // SETTINGS, PING
        0x0 | 0x1 | 0x3 | 0x5 | 0x7..=0x9 => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 0];
        frame.extend(vec![0; usize::from(length)]);
        frame
    }

    #[test]
    fn pings_without_end_are_too_many_and_data_is_not() {
        for pieces in [1, 7, 4096] {
            let mut calm = Calm::new();
            let mut bytes = vec![b'x'; PREFACE];
            for _ in 0..50_000 {
                bytes.extend(frame(0, 0, 20));
                bytes.extend(frame(6, 1, 8));
            }
            assert!(bytes.chunks(pieces).all(|piece| calm.take(piece)), "DATA and answers to PING");
            let pings = frame(6, 0, 8).repeat(50_000);
            let taken = pings.chunks(pieces).take_while(|piece| calm.take(piece)).count() * pieces / 17;
            assert!((900..20_000).contains(&taken), "{taken}"); // some are earned meanwhile
        }
    }
}
