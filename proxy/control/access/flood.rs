//! How often somebody may fail to log in: a bucket per peer, for a bounded number of peers.

use std::collections::HashMap;

use squall_core::time::{SECOND, Time};

/// Failures in a row before it is too often; each second gives one back.
const BURST: u64 = 10;
/// Peers that are remembered; then those are forgotten who have not failed for the longest time.
const PEERS: usize = 1024;

/// Who has failed, and when their bucket is full again.
#[derive(Debug, Default)]
pub(super) struct Flood(HashMap<String, Time>);

impl Flood {
    /// Somebody has failed; whether that is too often now.
    pub(super) fn fails(&mut self, peer: &str, now: Time) -> bool {
        if self.0.len() >= PEERS && !self.0.contains_key(peer) {
            self.0.retain(|_, full| *full > now);
            let first = self.0.iter().min_by_key(|(_, full)| **full).map(|(peer, _)| peer.clone());
            if let Some(first) = first.filter(|_| self.0.len() >= PEERS) {
                self.0.remove(&first);
            }
        }
        let full = self.0.entry(peer.to_owned()).or_insert(now);
        let next = (*full).max(now) + SECOND;
        if next > now + BURST * SECOND {
            return true;
        }
        *full = next;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_then_one_a_second_by_peer() {
        let mut flood = Flood::default();
        let now = 100 * SECOND;
        assert!((0..10).all(|_| !flood.fails("a", now)));
        assert!((0..1000).all(|_| flood.fails("a", now)));
        assert!(!flood.fails("b", now));
        assert!(!flood.fails("a", now + SECOND));
        assert!(flood.fails("a", now + SECOND));
    }

    #[test]
    fn peers_are_bounded() {
        let mut flood = Flood::default();
        for n in 0..5 * PEERS {
            flood.fails(&n.to_string(), 0);
        }
        assert!(flood.0.len() <= PEERS);
    }
}
