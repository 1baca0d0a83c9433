//! What a workload has counted: written by its thread, read by the engine. One short lock, free nearly always.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use squall_core::plane::{DatagramReading, Felt, RequestReading, WorkloadReading};
use squall_core::time::Time;
use squall_core::tripwire::Event;

use super::failure::Failure;

#[derive(Default)]
pub(super) struct Figures {
    counts: Mutex<Counts>,
    over: Condvar,
    /// Told of each request with the counts still held: one at a time.
    felt: Option<Felt>,
}

#[derive(Default)]
struct Counts {
    reading: WorkloadReading,
    /// Due, and waiting for a connection.
    queued: u64,
    over: bool,
}

impl Figures {
    /// For so many different requests; one alone has no figures of its own.
    pub(super) fn new(requests: usize, felt: Option<Felt>) -> Figures {
        let figures = Figures { felt, ..Figures::default() };
        if requests > 1 {
            figures.counts().reading.requests = vec![RequestReading::default(); requests];
        }
        figures
    }

    pub(super) fn reading(&self) -> WorkloadReading {
        self.counts().reading.clone()
    }

    /// A request is due; it waits.
    pub(super) fn due(&self) {
        let mut counts = self.counts();
        counts.reading.intended += 1;
        counts.queued += 1;
    }

    /// One that waited will never be sent.
    pub(super) fn unsent(&self) {
        let mut counts = self.counts();
        counts.queued -= 1;
        counts.reading.unsent += 1;
        self.tell(&[Event::Request { failed: true }]);
    }

    /// One that waited is under way.
    pub(super) fn sent(&self) {
        let mut counts = self.counts();
        counts.queued -= 1;
        counts.reading.in_flight += 1;
    }

    /// Another attempt.
    pub(super) fn retried(&self) {
        self.counts().reading.retried += 1;
    }

    /// One was answered, `latency` ns after it was due.
    pub(super) fn answered(&self, request: usize, latency: Time) {
        let mut counts = self.counts();
        counts.reading.in_flight -= 1;
        counts.reading.ok += 1;
        counts.reading.latency.add(latency);
        if let Some(own) = counts.reading.requests.get_mut(request) {
            own.ok += 1;
            own.latency.add(latency);
        }
        self.tell(&[Event::Took(latency), Event::Request { failed: false }]);
    }

    /// One failed for good.
    pub(super) fn failed(&self, request: usize, why: Failure, injected: bool) {
        let mut counts = self.counts();
        let reading = &mut counts.reading;
        reading.in_flight -= 1;
        if let Some(own) = reading.requests.get_mut(request) {
            *(if injected { &mut own.failed_injected } else { &mut own.failed }) += 1;
        }
        let reason = if injected {
            reading.failed_injected += 1;
            format!("injected: {why}")
        } else {
            reading.failed += 1;
            self.tell(&[Event::Request { failed: true }]);
            why.to_string()
        };
        *reading.reasons.entry(reason).or_default() += 1;
    }

    /// What became of datagrams.
    pub(super) fn datagrams(&self, seen: impl FnOnce(&mut DatagramReading)) {
        seen(self.counts().reading.datagrams.get_or_insert_default());
    }

    /// Nothing is due or under way any more, and nothing will be.
    pub(super) fn end(&self) {
        self.counts().over = true;
        self.over.notify_all();
    }

    pub(super) fn wait_until_over(&self, limit: Duration) {
        drop(self.over.wait_timeout_while(self.counts(), limit, |counts| !counts.over));
    }

    /// The final figures: what still waits will never be sent.
    pub(super) fn close(&self) -> WorkloadReading {
        let mut counts = self.counts();
        counts.reading.unsent += std::mem::take(&mut counts.queued);
        counts.reading.clone()
    }

    fn tell(&self, events: &[Event]) {
        if let Some(felt) = &self.felt {
            felt(events);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
