//! Precise waiting: one timerfd per thread, because the runtime's own timer is about a millisecond late.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::time::{ClockId, Timespec, clock_gettime};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use squall_core::time::{NEVER, SECOND, Time};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `CLOCK_MONOTONIC`, ns.
pub(crate) fn now() -> Time {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * SECOND + now.tv_nsec.unsigned_abs()
}

/// Wakes the tasks of one thread in time, never early. Works only while [`Timer::run`] runs beside them.
#[derive(Clone)]
pub(crate) struct Timer {
    inner: Rc<Inner>,
}

struct Inner {
    fd: AsyncFd<OwnedFd>,
    sleepers: RefCell<BTreeMap<Key, Waker>>,
    armed: Cell<Time>,
    numbers: Cell<u64>,
}

/// Deadline, and a number that tells sleepers of the same deadline apart.
type Key = (Time, u64);

impl Timer {
    /// A timer for the current thread and its runtime.
    pub(crate) fn new() -> io::Result<Timer> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[allow(deprecated)] // its successor is `unsafe`; what that demands of its caller, an OwnedFd fulfils
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        let inner = Inner { fd, sleepers: RefCell::default(), armed: Cell::new(NEVER), numbers: Cell::new(0) };
        Ok(Timer { inner: Rc::new(inner) })
    }

    /// Wakes sleepers until it is dropped; ends only if the system refuses the timer.
    pub(crate) async fn run(&self) -> io::Error {
        loop {
            if let Err(error) = self.expired().await {
                return error;
            }
            self.inner.armed.set(NEVER);
            self.wake_due();
        }
    }

    /// Ends at `at` (monotonic ns) or just after.
    pub(crate) fn sleep_until(&self, at: Time) -> Sleep {
        let number = self.inner.numbers.get();
        self.inner.numbers.set(number.wrapping_add(1));
        Sleep { timer: self.clone(), key: (at, number), waits: false }
    }

    async fn expired(&self) -> io::Result<()> {
        let mut ready = self.inner.fd.readable().await?;
        let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut [0_u8; 8])?));
        match read {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Ok(()), // not readable after all: the next round waits again
        }
    }

    fn wake_due(&self) {
        let mut sleepers = self.inner.sleepers.borrow_mut();
        let later = sleepers.split_off(&(now() + 1, 0));
        let due = std::mem::replace(&mut *sleepers, later);
        let next = sleepers.first_key_value().map_or(NEVER, |(key, _)| key.0);
        drop(sleepers);
        for waker in due.into_values() {
            waker.wake();
        }
        self.arm(next);
    }

    fn arm(&self, at: Time) {
        if at >= self.inner.armed.get() {
            return;
        }
        let value = Timespec {
            tv_sec: i64::try_from(at / SECOND).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(at % SECOND).unwrap_or(0),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        match timerfd_settime(self.inner.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &once) {
            Ok(_) => self.inner.armed.set(at),
            Err(error) => tracing::error!(%error, "timerfd_settime"),
        }
    }
}

/// See [`Timer::sleep_until`].
pub(crate) struct Sleep {
    timer: Timer,
    key: Key,
    waits: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if now() >= self.key.0 {
            return Poll::Ready(());
        }
        self.waits = true;
        self.timer.inner.sleepers.borrow_mut().insert(self.key, cx.waker().clone());
        self.timer.arm(self.key.0);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if self.waits {
            self.timer.inner.sleepers.borrow_mut().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use squall_core::time::MILLI;

    #[tokio::test(flavor = "current_thread")]
    async fn wakes_in_order_of_deadlines_and_never_early() {
        let timer = Timer::new().unwrap();
        let start = now();
        let woken = RefCell::new(Vec::new());
        let sleeper = |ms: u64| {
            let (timer, woken) = (timer.clone(), &woken);
            async move {
                timer.sleep_until(start + ms * MILLI).await;
                assert!(now() >= start + ms * MILLI);
                woken.borrow_mut().push(ms);
            }
        };
        tokio::select! {
            error = timer.run() => panic!("{error}"),
            _ = async { tokio::join!(sleeper(30), sleeper(5), sleeper(15), sleeper(0)) } => {}
        }
        assert_eq!(*woken.borrow(), [0, 5, 15, 30]);
        assert!(timer.inner.sleepers.borrow().is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_dropped_sleep_leaves_nothing_behind() {
        let timer = Timer::new().unwrap();
        let mut sleep = Box::pin(timer.sleep_until(now() + 60 * SECOND));
        assert!(std::future::poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await.is_pending());
        assert_eq!(timer.inner.sleepers.borrow().len(), 1);
        drop(sleep);
        assert!(timer.inner.sleepers.borrow().is_empty());
    }
}
