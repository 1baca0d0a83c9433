//! A thread with a runtime and a timer of its own.

use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::timer::Timer;

/// A running thread. Dropping it drops everything that runs there, and waits for that.
pub(crate) struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    /// Starts a thread that runs `main` to its end, or until the [`Thread`] is dropped. `main` may use `spawn_local`.
    pub(crate) fn spawn<F>(name: &str, main: impl FnOnce(Timer) -> F + Send + 'static) -> io::Result<Thread>
    where
        F: Future<Output = ()>,
    {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::sync_channel(1);
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let local = LocalSet::new();
            let work = async {
                let timer = match Timer::new() {
                    Ok(timer) => timer,
                    Err(error) => return drop(started.send(Err(error))),
                };
                drop(started.send(Ok(())));
                tokio::select! {
                    _ = stopped => {}
                    () = main(timer.clone()) => {}
                    _ = timer.run() => {}
                }
            };
            local.block_on(&runtime, work);
        };
        let handle = std::thread::Builder::new().name(name.into()).spawn(run)?;
        start.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
        Ok(Thread { stop: Some(stop), handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}
