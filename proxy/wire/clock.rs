//! The home of time: the system's clocks, and the coarse waits that may be late.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, Timespec, clock_gettime};
use squall_core::time::{Clock, Now, Time};

/// The clocks of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The monotonic clock, ns.
    #[inline]
    pub fn mono() -> Time {
        nanos(clock_gettime(ClockId::Monotonic))
    }

    /// The clock that goes on while the machine sleeps, ns.
    #[inline]
    pub fn boot() -> Time {
        #[cfg(target_os = "linux")]
        return nanos(clock_gettime(ClockId::Boottime));
        #[cfg(not(target_os = "linux"))]
        return Self::mono();
    }
}

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Now {
        Now { mono: Self::mono(), boot: Self::boot() }
    }

    #[allow(clippy::disallowed_methods)] // this is the one door
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Waits where a millisecond more does not matter: back-off, never a fault.
#[allow(clippy::disallowed_methods)]
pub(crate) async fn pause(how_long: Duration) {
    tokio::time::sleep(how_long).await;
}

#[allow(clippy::cast_sign_loss)] // these clocks start at 0
fn nanos(time: Timespec) -> Time {
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}
