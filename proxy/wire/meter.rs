//! Figures of one proxy on one worker: only that worker writes them, so a plain store is enough.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use squall_core::fault::Flow;
use squall_core::observe::{Histogram, Reading};
use squall_core::time::Time;

/// A count with a single writer.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds, without a locked instruction.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Reading`].
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) accepted: Count,
    pub(crate) ended: Count,
    pub(crate) connect_failed: Count,
    pub(crate) reset_by_client: Count,
    pub(crate) reset_by_server: Count,
    pub(crate) refused: Count,
    pub(crate) misheaded: Count,
    pub(crate) injected: Count,
    pub(crate) dropped: Count,
    received: [Count; 2],
    bytes: [Count; 2],
    turns: OnceLock<Box<[Count]>>,
}

impl Meter {
    /// Bytes were read.
    #[inline]
    pub(crate) fn received(&self, flow: Flow, n: usize) {
        self.received[flow as usize].add(n as u64);
    }

    /// Bytes were written.
    #[inline]
    pub(crate) fn delivered(&self, flow: Flow, n: u64) {
        if n > 0 {
            self.bytes[flow as usize].add(n);
        }
    }

    /// From the last client byte to the first answer byte, ns.
    pub(crate) fn turn(&self, took: Time) {
        let turns = self.turns.get_or_init(|| (0..Histogram::BUCKETS).map(|_| Count::default()).collect());
        if let Some(count) = turns.get(Histogram::bucket(took)) {
            count.add(1);
        }
    }

    /// Adds these figures to a reading.
    pub(crate) fn add_to(&self, reading: &mut Reading) {
        // `accepted` last: it is written first, so that nothing seems to have ended that never came
        let ended = self.ended.read();
        let accepted = self.accepted.read();
        reading.accepted += accepted;
        reading.active += accepted.saturating_sub(ended);
        reading.connect_failed += self.connect_failed.read();
        reading.reset_by_client += self.reset_by_client.read();
        reading.reset_by_server += self.reset_by_server.read();
        reading.refused += self.refused.read();
        reading.misheaded += self.misheaded.read();
        reading.injected += self.injected.read();
        reading.dropped += self.dropped.read();
        reading.received_upstream += self.received[Flow::Upstream as usize].read();
        reading.received_downstream += self.received[Flow::Downstream as usize].read();
        reading.bytes_upstream += self.bytes[Flow::Upstream as usize].read();
        reading.bytes_downstream += self.bytes[Flow::Downstream as usize].read();
        if let Some(turns) = self.turns.get() {
            reading.turns.merge(&Histogram { counts: turns.iter().map(Count::read).collect() });
        }
    }
}
