//! Precise waiting for the tasks of one thread, because the runtime's own timer is about a millisecond late.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use squall_core::time::{NEVER, Time};
use squall_wire::SystemClock;
use squall_wire::timer::{Alarm, Base};

/// `CLOCK_MONOTONIC`, ns.
pub(crate) fn now() -> Time {
    SystemClock::mono()
}

/// Wakes the tasks of one thread in time, never early. Works only while [`Timer::run`] runs beside them.
#[derive(Clone)]
pub(crate) struct Timer {
    inner: Rc<Inner>,
}

struct Inner {
    alarm: Alarm,
    sleepers: RefCell<BTreeMap<Key, Waker>>,
    numbers: Cell<u64>,
}

/// Deadline, and a number that tells sleepers of the same deadline apart.
type Key = (Time, u64);

impl Timer {
    /// A timer for the current thread and its runtime.
    pub(crate) fn new() -> io::Result<Timer> {
        let inner = Inner { alarm: Alarm::new(Base::Monotonic)?, sleepers: RefCell::default(), numbers: Cell::new(0) };
        Ok(Timer { inner: Rc::new(inner) })
    }

    /// Wakes sleepers until it is dropped.
    pub(crate) async fn run(&self) -> ! {
        loop {
            self.inner.alarm.fired().await;
            self.wake_due();
        }
    }

    /// Ends at `at` (monotonic ns) or just after.
    pub(crate) fn sleep_until(&self, at: Time) -> Sleep {
        let number = self.inner.numbers.get();
        self.inner.numbers.set(number.wrapping_add(1));
        Sleep { timer: self.clone(), key: (at, number), waits: false }
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
        self.inner.alarm.arm(next);
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
        self.timer.inner.alarm.arm(self.key.0);
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
    use squall_core::time::{MILLI, SECOND};

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
            _ = timer.run() => {}
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
