//! Figures of one proxy on one worker: only that worker writes them, so a plain store is enough.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use squall_core::fault::Flow;
use squall_core::http::StatusCode;
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

/// Somebody waits for an upstream, until this is dropped.
pub(crate) struct Waiting(Arc<Meter>);

impl Waiting {
    pub(crate) fn begin(meter: &Arc<Meter>) -> Waiting {
        meter.waits.add(1);
        Waiting(meter.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waited.add(1);
    }
}

/// See [`Reading`].
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) accepted: Count,
    pub(crate) ended: Count,
    /// Waits for an upstream, begun and over.
    pub(crate) waits: Count,
    pub(crate) waited: Count,
    pub(crate) connect_failed: Count,
    pub(crate) reset_by_client: Count,
    pub(crate) reset_by_server: Count,
    pub(crate) refused: Count,
    pub(crate) misheaded: Count,
    pub(crate) hello_refused: Count,
    pub(crate) tls_client_failed: Count,
    pub(crate) tls_server_failed: Count,
    pub(crate) injected: Count,
    pub(crate) dropped: Count,
    /// HTTP: answers by their class, from 1xx; those that a fault made or changed the status of are counted apart.
    answers: [Count; 6],
    pub(crate) answers_injected: Count,
    /// HTTP: exchanges without a whole answer, by the upstream's doing or squall's, and by a fault's.
    pub(crate) cut: Count,
    pub(crate) cut_injected: Count,
    /// HTTP: exchanges whose client left.
    pub(crate) left: Count,
    /// HTTP: exchanges over a connection that had carried one before.
    pub(crate) reused: Count,
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

    /// An HTTP answer's head was sent, `took` ns after the request's had come.
    pub(crate) fn exchange(&self, status: StatusCode, injected: bool, took: Time) {
        let class = usize::from(status.as_u16() / 100).min(self.answers.len() - 1);
        if injected {
            self.answers_injected.add(1)
        } else {
            self.answers[class].add(1)
        }
        self.turn(took);
    }

    /// An exchange ended before its answer was whole.
    pub(crate) fn cut(&self, injected: bool) {
        if injected { self.cut_injected.add(1) } else { self.cut.add(1) }
    }

    /// Adds these figures to a reading.
    pub(crate) fn add_to(&self, reading: &mut Reading) {
        // `accepted` last: it is written first, so that nothing seems to have ended that never came
        let ended = self.ended.read();
        let accepted = self.accepted.read();
        reading.accepted += accepted;
        reading.active += accepted.saturating_sub(ended);
        let waited = self.waited.read(); // before those that began, as above
        reading.waiting += self.waits.read().saturating_sub(waited);
        reading.connect_failed += self.connect_failed.read();
        reading.reset_by_client += self.reset_by_client.read();
        reading.reset_by_server += self.reset_by_server.read();
        reading.refused += self.refused.read();
        reading.misheaded += self.misheaded.read();
        reading.hello_refused += self.hello_refused.read();
        reading.tls_client_failed += self.tls_client_failed.read();
        reading.tls_server_failed += self.tls_server_failed.read();
        reading.injected += self.injected.read();
        reading.dropped += self.dropped.read();
        let http = &mut reading.http;
        for (class, count) in http.answers.iter_mut().zip(&self.answers) {
            *class += count.read();
        }
        http.answers_injected += self.answers_injected.read();
        http.cut += self.cut.read();
        http.cut_injected += self.cut_injected.read();
        http.left += self.left.read();
        http.reused += self.reused.read();
        reading.received_upstream += self.received[Flow::Upstream as usize].read();
        reading.received_downstream += self.received[Flow::Downstream as usize].read();
        reading.bytes_upstream += self.bytes[Flow::Upstream as usize].read();
        reading.bytes_downstream += self.bytes[Flow::Downstream as usize].read();
        if let Some(turns) = self.turns.get() {
            reading.turns.merge(&Histogram { counts: turns.iter().map(Count::read).collect() });
        }
    }
}
