//! Time stamps for people: RFC 3339 in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-22T18:45:08.123Z` with this many digits of the second (0 to 9); times before 1970 are shown as 1970.
pub fn rfc3339(at: SystemTime, digits: usize) -> String {
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

/// Reads a time stamp (RFC 3339, `Z` or an offset); digits of the second beyond milliseconds are dropped. None: it is no
/// time stamp, or lies before 1970.
pub fn parse(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    let is_shaped = separators.iter().all(|(at, sign)| text.get(*at..at + 1) == Some(sign))
        && matches!(text.get(10..11), Some("T" | "t" | " "));
    if !is_shaped || !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if !(1..=12).contains(&month) || !(1..=month_length(year, month)).contains(&day) {
        return None;
    }
    let (milliseconds, zone) = fraction(text.get(19..)?)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = i64::try_from(seconds).ok()?.checked_sub(offset(zone)?)?;
    Some(UNIX_EPOCH + Duration::from_millis(u64::try_from(seconds).ok()? * 1000 + milliseconds))
}

/// Milliseconds, and what stands behind them.
fn fraction(rest: &str) -> Option<(u64, &str)> {
    let Some(digits) = rest.strip_prefix('.') else { return Some((0, rest)) };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let milliseconds: String = digits[..length].chars().chain("000".chars()).take(3).collect();
    (length > 0).then(|| Some((milliseconds.parse().ok()?, &digits[length..])))?
}

/// Seconds east of Greenwich: `Z`, `+01:00`.
pub fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let number = |text: &str, most: i64| {
        let two = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| two && *number <= most)
    };
    Some(sign * (number(hours, 23)? * 3600 + number(minutes, 59)? * 60))
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

/// The other way round; not before 1970.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

fn month_length(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_373_108, "2026-11-22T18:45:08Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(rfc3339(at, 0), expected);
            assert_eq!(parse(expected), Some(at));
        }
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_nanos(1_234_567), 3), "1970-01-01T00:00:00.001Z");
    }

    #[test]
    fn offsets_and_fractions_are_read_and_nonsense_is_not() {
        let at = |text| parse(text).map(|at| rfc3339(at, 3));
        assert_eq!(at("2026-11-22T18:45:08.5+01:00").unwrap(), "2026-11-22T17:45:08.500Z");
        assert_eq!(at("2026-12-31 23:30:00-01:00").unwrap(), "2027-01-01T00:30:00.000Z");
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T18:45:08",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-22T18:45:08.Z",
            "2026-11-22T18:45:08+1:00",
            "2026-11-22T18:45:08+0100",
            "ü026-11-22T18:45:08Z",
            "2026-11-22T18:45:08Zü",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
