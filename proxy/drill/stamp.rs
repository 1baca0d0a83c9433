//! Time stamps for people: RFC 3339 in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use squall_core::plane::DataPlane;
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

/// `2026-11-22T18:45:08.123Z` with this many digits of the second (0 to 9); times before 1970 are shown as 1970.
pub(crate) fn rfc3339(at: SystemTime, digits: usize) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let fraction = format!("{:09}", since.subsec_nanos());
    let point = if digits == 0 { "" } else { "." };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{point}{}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        &fraction[..digits.min(9)]
    )
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_373_108, "2026-11-22T18:45:08Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds), 0), expected);
        }
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_nanos(1_234_567), 3), "1970-01-01T00:00:00.001Z");
    }
}
