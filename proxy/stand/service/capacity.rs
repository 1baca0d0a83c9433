//! How much a service does at one moment, and who waits meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use squall_core::scenario;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places, taken in the order in which requests came.
pub(super) struct Capacity {
    places: Arc<Semaphore>,
    waiting: Arc<AtomicU64>,
    queue: u64,
}

impl Capacity {
    pub(super) fn new(spec: scenario::Capacity) -> Capacity {
        let serving = usize::try_from(spec.serving).unwrap_or(Semaphore::MAX_PERMITS);
        Capacity { places: Arc::new(Semaphore::new(serving)), waiting: Arc::default(), queue: spec.queue }
    }

    /// A place once there is one, to be kept until the work is done; none: too many wait already.
    pub(super) fn enter(&self) -> Option<impl Future<Output = Option<OwnedSemaphorePermit>> + 'static> {
        let at_once = Arc::clone(&self.places).try_acquire_owned().ok();
        let waits = match at_once {
            Some(_) => None,
            None if self.waiting.load(Ordering::Relaxed) >= self.queue => return None,
            None => Some(Waits::new(&self.waiting)),
        };
        let places = Arc::clone(&self.places);
        Some(async move {
            let place = match at_once {
                Some(place) => Some(place),
                None => places.acquire_owned().await.ok(), // never closed
            };
            drop(waits);
            place
        })
    }
}

/// One that waits, as long as this lives.
struct Waits(Arc<AtomicU64>);

impl Waits {
    fn new(waiting: &Arc<AtomicU64>) -> Waits {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waits(Arc::clone(waiting))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
