//! When experiments may run: `[safety] windows`, hours of the week that a run must fit into, and `blackouts`, stretches of
//! time that it must not touch. Wall-clock time, because it is people's hours that are meant.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::stamp::rfc3339;

const DAY: i64 = 86_400;

/// The days of the week, as they are written.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// All windows and black-outs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// A run lies in one of them as a whole; none: at any time.
    pub windows: Vec<Hours>,
    /// A run touches none of them.
    pub blackouts: Vec<Blackout>,
}

/// Hours of some days of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// From Monday on: whether it begins on that day.
    pub days: [bool; 7],
    /// Minutes since midnight.
    pub from: u32,
    /// The same; not after `from`: on the next day.
    pub to: u32,
    /// Seconds east of Greenwich.
    pub offset: i64,
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blackout {
    /// Its beginning.
    pub from: SystemTime,
    /// Its end.
    pub to: SystemTime,
    /// Why.
    pub reason: Option<String>,
}

impl Calendar {
    /// Whether a run that begins at `now` and takes at most `length` may run.
    ///
    /// # Errors
    /// Every rule that is in the way, in words.
    pub fn check(&self, now: SystemTime, length: Duration) -> Result<(), Vec<String>> {
        let end = now.checked_add(length).unwrap_or(now);
        let touched = self.blackouts.iter().filter(|blackout| now < blackout.to && end > blackout.from);
        let mut against: Vec<String> = touched.map(|blackout| blackout.told(end)).collect();
        if !self.windows.is_empty() && !self.windows.iter().any(|hours| hours.hold(now, end)) {
            let windows: Vec<String> = self.windows.iter().map(Hours::to_string).collect();
            let (now, end) = (rfc3339(now, 0), rfc3339(end, 0));
            against.push(format!(
                "from {now} to {end}, its hard end, is in none of the windows of [safety]: {}",
                windows.join("; ")
            ));
        }
        if against.is_empty() { Ok(()) } else { Err(against) }
    }
}

impl Hours {
    fn hold(&self, from: SystemTime, to: SystemTime) -> bool {
        let local = |at: SystemTime| {
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            // up to the next full second: an end is never before what it stands for
            i64::try_from(since.as_secs() + u64::from(since.subsec_nanos() > 0)).unwrap_or(i64::MAX / 2) + self.offset
        };
        let (begin, end) = (local(from), local(to));
        let length = match self.to > self.from {
            true => self.to - self.from,
            false => self.to + 24 * 60 - self.from,
        };
        // it may have begun on the day before
        [0, 1].into_iter().any(|back| {
            let day = begin.div_euclid(DAY) - back;
            let opens = day * DAY + i64::from(self.from) * 60;
            let weekday = usize::try_from((day + 3).rem_euclid(7)).unwrap_or_default(); // 1970-01-01 was a Thursday
            self.days.get(weekday) == Some(&true) && begin >= opens && end <= opens + i64::from(length) * 60
        })
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let days: Vec<&str> = DAYS.iter().zip(self.days).filter(|(_, on)| *on).map(|(day, _)| *day).collect();
        let (from, to) = (clock(self.from), clock(self.to));
        write!(f, "{} {from} to {to} ({})", days.join(", "), zone(self.offset))
    }
}

impl Blackout {
    fn told(&self, end: SystemTime) -> String {
        let why = self.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let (from, to) = (rfc3339(self.from, 0), rfc3339(self.to, 0));
        format!("it may take until {}, and from {from} to {to} nothing runs{why}", rfc3339(end, 0))
    }
}

/// `09:30`
pub fn clock(minutes: u32) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Minutes since midnight, `00:00` to `24:00`.
pub fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u32>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
}

/// `Z`, `+01:00`
pub fn zone(offset: i64) -> String {
    if offset == 0 {
        return "Z".into();
    }
    let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    format!("{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::stamp::parse;

    fn may(calendar: &Calendar, from: &str, minutes: u64) -> bool {
        calendar.check(parse(from).unwrap(), Duration::from_secs(minutes * 60)).is_ok()
    }

    fn hours(days: &[&str], from: &str, to: &str, offset: i64) -> Calendar {
        let days = DAYS.map(|day| days.contains(&day));
        let hours = Hours { days, from: minutes(from).unwrap(), to: minutes(to).unwrap(), offset };
        Calendar { windows: vec![hours], blackouts: vec![] }
    }

    #[test]
    fn a_run_lies_in_a_window_as_a_whole() {
        let office = hours(&["mon", "tue", "wed", "thu"], "09:00", "16:00", 3600);
        // 2026-11-26 is a Thursday
        assert!(may(&office, "2026-11-26T09:00:00+01:00", 7 * 60));
        assert!(!may(&office, "2026-11-26T09:00:00+01:00", 7 * 60 + 1), "it would outlast it");
        assert!(!may(&office, "2026-11-26T08:59:59+01:00", 1), "too early");
        assert!(may(&office, "2026-11-26T14:59:00Z", 1) && !may(&office, "2026-11-26T15:00:00Z", 1), "in its zone");
        assert!(!may(&office, "2026-11-27T10:00:00+01:00", 1), "a Friday");
        let night = hours(&["thu"], "22:00", "02:00", 0);
        assert!(may(&night, "2026-11-27T01:00:00Z", 60) && !may(&night, "2026-11-27T01:00:00Z", 61));
        assert!(!may(&night, "2026-11-26T01:00:00Z", 1) && !may(&night, "2026-11-27T22:30:00Z", 1));
        let always = hours(&DAYS, "00:00", "24:00", 0);
        assert!(may(&always, "2026-11-27T00:00:00Z", 24 * 60));
        assert!(may(&Calendar::default(), "2026-11-27T00:00:00Z", u64::MAX / 61));
    }

    #[test]
    fn a_run_touches_no_blackout() {
        let blackout = Blackout {
            from: parse("2026-12-20T00:00:00Z").unwrap(),
            to: parse("2027-01-05T00:00:00Z").unwrap(),
            reason: Some("holidays".into()),
        };
        let calendar = Calendar { windows: vec![], blackouts: vec![blackout] };
        assert!(may(&calendar, "2026-12-19T23:00:00Z", 60) && !may(&calendar, "2026-12-19T23:00:00Z", 61));
        assert!(!may(&calendar, "2026-12-24T18:00:00Z", 1) && may(&calendar, "2027-01-05T00:00:00Z", 1));
        let why = calendar.check(parse("2026-12-24T18:00:00Z").unwrap(), Duration::ZERO).unwrap_err();
        assert!(why[0].contains("(holidays)"), "{why:?}");
    }

    #[test]
    fn times_of_day_are_read_and_printed() {
        for text in ["00:00", "09:05", "23:59", "24:00"] {
            assert_eq!(clock(minutes(text).unwrap()), text);
        }
        for text in ["24:01", "9:00", "09:60", "0900", "", "-1:00", "+9:00"] {
            assert_eq!(minutes(text), None, "{text}");
        }
        assert_eq!((zone(0), zone(19_800), zone(-3600)), ("Z".into(), "+05:30".into(), "-01:00".into()));
    }
}
