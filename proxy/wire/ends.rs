//! Which connections a fault has ended: the latest, by client address, so that a workload can tell an injected failure
//! from a real one.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use squall_core::plan::FaultRef;

/// How many are kept per worker.
const KEPT: usize = 8192;

/// One worker's; locked only once a fault has ended a connection, and by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    inner: Mutex<Inner>,
    used: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    by: HashMap<SocketAddr, (u64, Arc<FaultRef>)>,
    order: VecDeque<(u64, SocketAddr)>,
    next: u64,
}

impl Ends {
    /// Takes note before the client can see the end.
    pub(crate) fn note(&self, client: SocketAddr, fault: &Arc<FaultRef>) {
        let mut inner = self.lock();
        self.used.store(true, Ordering::Release);
        let number = inner.next;
        inner.next += 1;
        inner.by.insert(client, (number, fault.clone()));
        inner.order.push_back((number, client));
        if inner.order.len() > KEPT
            && let Some((number, oldest)) = inner.order.pop_front()
            && inner.by.get(&oldest).is_some_and(|(latest, _)| *latest == number)
        {
            inner.by.remove(&oldest);
        }
    }

    /// The fault that ended the latest connection from this address.
    pub(crate) fn find(&self, client: SocketAddr) -> Option<Arc<FaultRef>> {
        self.lock().by.get(&client).map(|(_, fault)| fault.clone())
    }

    /// A new connection comes from this address: what was said about an earlier one no longer holds.
    pub(crate) fn forget(&self, client: SocketAddr) {
        if self.used.load(Ordering::Acquire) {
            self.lock().by.remove(&client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept_and_the_oldest_forgotten() {
        let ends = Ends::default();
        let fault = Arc::new(FaultRef {
            experiment: "1".into(),
            experiment_name: "e".into(),
            fault: "reset".into(),
            kind: "cut",
            proxy: "p".into(),
        });
        let address = |port: usize| SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap_or(0)));
        for port in 1..=KEPT + 2 {
            ends.note(address(port), &fault);
        }
        assert!(ends.find(address(2)).is_none());
        assert!(ends.find(address(3)).is_some());
        ends.note(address(3), &fault); // noted again: its first entry no longer counts
        ends.note(address(1), &fault);
        assert!(ends.find(address(3)).is_some());
        ends.forget(address(3));
        assert!(ends.find(address(3)).is_none());
    }
}
