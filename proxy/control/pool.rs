//! Where calls that might block run: off the control port's own thread, in lanes, so that slow starts can not keep
//! anybody from looking or from renewing a lease. Aborts themselves do not come through here: they never wait.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;

use crate::problem::Failure;

/// How many calls run at one moment, by lane.
const QUICK: usize = 6;
const SLOW: usize = 2;
const ABORTED: usize = 2;

/// How long a call waits for its turn before it is refused.
const TURN: Duration = Duration::from_millis(40);

/// What a call may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lane {
    /// Looks, renews, pauses.
    Quick,
    /// Reads a scenario or a configuration, arms and starts.
    Slow,
    /// Looks at what has just been aborted: nobody who aborts is to hear that others are busy.
    Aborted,
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    aborted: Arc<Semaphore>,
}

impl Pool {
    /// Threads that the runtime must have for it.
    pub(crate) const THREADS: usize = QUICK + SLOW + ABORTED;

    pub(crate) fn new() -> Pool {
        let lane = |calls| Arc::new(Semaphore::new(calls));
        Pool { quick: lane(QUICK), slow: lane(SLOW), aborted: lane(ABORTED) }
    }

    /// Runs `work` on a thread of its own. It goes on even if the client stops waiting.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (turns, patience) = match lane {
            Lane::Quick => (&self.quick, Duration::from_secs(5)),
            Lane::Slow => (&self.slow, Duration::from_secs(60)),
            Lane::Aborted => (&self.aborted, Duration::from_secs(5)),
        };
        let busy = |why| Failure::new(StatusCode::SERVICE_UNAVAILABLE, why);
        let Ok(Ok(turn)) = tokio::time::timeout(TURN, turns.clone().acquire_owned()).await else {
            return Err(busy("too many calls of this kind are under way: try again"));
        };
        let running = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        match tokio::time::timeout(patience, running).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => {
                Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "squall has failed at this: see its log"))
            }
            Err(_) => Err(busy("this takes too long; it may still come to pass")),
        }
    }
}
