//! Time as squall sees it: nanoseconds that only a [`Clock`] makes.

use std::time::SystemTime;

/// Nanoseconds on the monotonic clock. Also used for spans of time, in nanoseconds.
pub type Time = u64;

/// One microsecond in [`Time`].
pub const MICRO: Time = 1_000;
/// One millisecond in [`Time`].
pub const MILLI: Time = 1_000_000;
/// One second in [`Time`].
pub const SECOND: Time = 1_000_000_000;
/// A time that never comes.
pub const NEVER: Time = Time::MAX;

/// One reading of both clocks that matter for ending a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC`, ns: delays, windows, time limits. Stands still while the machine sleeps.
    pub mono: Time,
    /// `CLOCK_BOOTTIME`, ns: leases. Goes on while the machine sleeps.
    pub boot: Time,
}

/// The only source of time. `wire` has the system's; tests have one that they move by hand.
pub trait Clock: Send + Sync + 'static {
    /// Both monotonic clocks, read together.
    fn now(&self) -> Now;
    /// The wall clock, for time stamps that people read; never for decisions.
    fn wall(&self) -> SystemTime;
}
