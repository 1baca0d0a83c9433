//! Time stamps for people: RFC 3339 in UTC.

use std::time::{Duration, SystemTime};

use squall_core::plane::DataPlane;
pub(crate) use squall_core::stamp::rfc3339;
use squall_core::time::Time;

/// One moment on both clocks, so that monotonic times can be shown as wall-clock times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    mono: Time,
    wall: SystemTime,
}

impl Anchor {
    /// Now.
    pub(crate) fn now(plane: &dyn DataPlane) -> Anchor {
        Anchor { mono: plane.clock().now().mono, wall: plane.clock().wall() }
    }

    /// The wall-clock time of a monotonic one, with microseconds.
    pub(crate) fn show(&self, mono: Time) -> String {
        let later = self.wall.checked_add(Duration::from_nanos(mono.saturating_sub(self.mono)));
        let at = later.and_then(|at| at.checked_sub(Duration::from_nanos(self.mono.saturating_sub(mono))));
        rfc3339(at.unwrap_or(self.wall), 6)
    }
}
