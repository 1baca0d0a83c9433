//! A worker's timer: an ordered queue and one timerfd for its head. tokio's own timer is a millisecond late.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;

use squall_core::time::{MICRO, NEVER, Time};

/// What a worker is woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A window of this proxy opens or closes.
    Edge(u64),
    /// The chain of the connection in this slot wants to be polled, or its stage ends.
    Link(usize),
    /// Records wait to be sent.
    Records,
}

/// How much earlier than asked the worker wakes up; the rest is spun out, so that nothing is ever early.
pub(crate) const LEAD: Time = 25 * MICRO;

/// What waits, in order of time; one entry per key.
#[derive(Default)]
pub(crate) struct Queue {
    entries: RefCell<BTreeSet<(Time, Key)>>,
}

impl Queue {
    /// Moves the entry of `key` from `old` to `new` (none: no entry).
    pub(crate) fn rearm(&self, key: Key, old: Option<Time>, new: Option<Time>) {
        if old == new {
            return;
        }
        let mut entries = self.entries.borrow_mut();
        if let Some(old) = old {
            entries.remove(&(old, key));
        }
        if let Some(new) = new {
            entries.insert((new, key));
        }
    }

    /// When the earliest entry is due; [`NEVER`] if there is none.
    pub(crate) fn head(&self) -> Time {
        self.entries.borrow().first().map_or(NEVER, |(at, _)| *at)
    }

    /// Takes the earliest entry if it is due by `now`.
    pub(crate) fn take_due(&self, now: Time) -> Option<Key> {
        let mut entries = self.entries.borrow_mut();
        let (at, _) = entries.first()?;
        if *at > now {
            return None;
        }
        entries.pop_first().map(|(_, key)| key)
    }
}

/// Which clock an [`Alarm`] goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `CLOCK_MONOTONIC`
    Monotonic,
    /// `CLOCK_BOOTTIME`
    Boot,
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub use timerfd::Alarm;

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
pub use portable::Alarm;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod timerfd {
    use super::{Base, Cell, NEVER, Time, io};
    use crate::socket::{Watched, watch};
    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    /// One timer of the kernel.
    pub struct Alarm {
        fd: Watched,
        armed: Cell<Time>,
    }

    impl Alarm {
        /// A timer for the current thread and its runtime.
        pub fn new(base: Base) -> io::Result<Alarm> {
            let clock = match base {
                Base::Monotonic => TimerfdClockId::Monotonic,
                Base::Boot => TimerfdClockId::Boottime,
            };
            let fd = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            Ok(Alarm { fd: watch(fd)?, armed: Cell::new(NEVER) })
        }

        /// Wakes at `at` at the latest. An earlier time that is armed already stays: one wake-up for nothing is cheaper
        /// than a system call for every change.
        pub fn arm(&self, at: Time) {
            if at >= self.armed.get() {
                return;
            }
            self.armed.set(at);
            let at = at.max(1); // 0 would disarm
            let value = Timespec {
                tv_sec: i64::try_from(at / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(at % 1_000_000_000).unwrap_or(0),
            };
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            let spec = Itimerspec { it_interval: zero, it_value: value };
            if let Err(error) = timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec) {
                tracing::error!(%error, "the timer can not be set");
            }
        }

        /// Waits until it goes off.
        pub async fn fired(&self) {
            loop {
                let Ok(mut guard) = self.fd.readable().await else { return std::future::pending().await };
                let mut count = [0; 8];
                match rustix::io::read(&self.fd, &mut count) {
                    Err(Errno::AGAIN) => guard.clear_ready(),
                    _ => {
                        guard.clear_ready();
                        self.armed.set(NEVER);
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod portable {
    use super::{Base, Cell, NEVER, Time, io};
    use crate::clock::{SystemClock, pause};
    use std::time::Duration;
    use tokio::sync::Notify;

    /// A timer on tokio's.
    pub struct Alarm {
        base: Base,
        armed: Cell<Time>,
        changed: Notify,
    }

    impl Alarm {
        /// A timer for the current thread and its runtime.
        #[allow(clippy::unnecessary_wraps)] // the kernel's timer can fail
        pub fn new(base: Base) -> io::Result<Alarm> {
            Ok(Alarm { base, armed: Cell::new(NEVER), changed: Notify::new() })
        }

        /// Wakes at `at` at the latest.
        pub fn arm(&self, at: Time) {
            if at < self.armed.get() {
                self.armed.set(at);
                self.changed.notify_one();
            }
        }

        /// Waits until it goes off.
        pub async fn fired(&self) {
            loop {
                let now = match self.base {
                    Base::Monotonic => SystemClock::mono(),
                    Base::Boot => SystemClock::boot(),
                };
                let at = self.armed.get();
                if at <= now {
                    self.armed.set(NEVER);
                    return;
                }
                let longest = Duration::from_secs(3600);
                let wait = if at == NEVER { longest } else { Duration::from_nanos(at - now).min(longest) };
                tokio::select! {
                    () = pause(wait) => {}
                    () = self.changed.notified() => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_order_of_time_and_one_key_has_one() {
        let queue = Queue::default();
        queue.rearm(Key::Link(1), None, Some(30));
        queue.rearm(Key::Link(2), None, Some(10));
        queue.rearm(Key::Link(1), Some(30), Some(20));
        assert_eq!(queue.head(), 10);
        assert_eq!(queue.take_due(9), None);
        assert_eq!(queue.take_due(25), Some(Key::Link(2)));
        assert_eq!(queue.take_due(25), Some(Key::Link(1)));
        assert_eq!(queue.take_due(25), None);
        assert_eq!(queue.head(), NEVER);
    }
}
