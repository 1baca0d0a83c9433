//! Which units a fault selects: count, key, percentage and the cap on units affected at one moment.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chain::Dialogue;
use crate::curve::Curve;
use crate::draw;
use crate::http::{HttpKey, Request};
use crate::ladder::Ladder;
use crate::time::Time;

/// Selection, written once for all kinds. Order: match, count, percentage, cap.
#[derive(Clone, Debug)]
pub struct Select {
    /// Share of units, 0 to 100; may be a curve over the time since the window opened. The same draw is held against
    /// it throughout, so that a rising percentage only ever adds units.
    pub percentage: Curve<f64>,
    /// On which of its steps the percentage stands; none: it has none, or time alone decides.
    pub ladder: Option<Arc<Ladder>>,
    /// What stands for the unit in draws.
    pub key: Key,
    /// Which of the matching units, by arrival.
    pub count: Count,
    /// Units that the experiment may affect at one moment.
    pub cap: Option<Arc<Cap>>,
}

impl Select {
    /// What stands in the draws for a connection, or for an exchange of it; none: it does not have the key.
    pub fn unit(&self, ordinal: u64, client: Option<IpAddr>, exchange: Option<&Dialogue>) -> Option<u64> {
        match &self.key {
            Key::Ordinal => Some(match exchange {
                None => ordinal,
                Some(exchange) => draw::hash(&[ordinal.to_le_bytes(), exchange.number.to_le_bytes()].concat()),
            }),
            key => key.of(client, exchange.map(|exchange| &exchange.request)),
        }
    }

    /// The percentage in force, `elapsed` ns after the window opened at `opened` (ns on the timeline).
    pub fn percentage(&self, opened: Time, elapsed: Time) -> f64 {
        match (&self.percentage, &self.ladder) {
            (Curve::Steps { steps, .. }, Some(ladder)) => steps[ladder.step(opened).min(steps.len() - 1)],
            (curve, _) => curve.at(elapsed),
        }
    }

    /// Whether it takes in a unit with this selection draw ([`draw::Draw::percentage`]).
    pub fn holds(&self, share: f64, opened: Time, elapsed: Time) -> bool {
        share < self.percentage(opened, elapsed)
    }

    /// When after `elapsed` (ns since the window opened) [`Select::holds`] changes next for this draw by time alone; none:
    /// never.
    pub fn next_change(&self, share: f64, elapsed: Time) -> Option<Time> {
        match &self.percentage {
            Curve::Steps { .. } if self.ladder.is_some() => None,
            Curve::Constant(_) => None,
            Curve::Ramp { over, .. } => self.crossing(share, elapsed, *over),
            Curve::Steps { steps, hold } => {
                let hold = (*hold).max(1);
                let current = share < self.percentage.at(elapsed);
                let first = usize::try_from(elapsed / hold).unwrap_or(usize::MAX).saturating_add(1);
                let step = (first..steps.len()).find(|step| (share < steps[*step]) != current)?;
                Some(hold.saturating_mul(step as u64))
            }
        }
    }

    /// A ramp only rises or only falls: the first moment on the other side, found by halving, exact to the nanosecond.
    fn crossing(&self, share: f64, elapsed: Time, over: Time) -> Option<Time> {
        let current = share < self.percentage.at(elapsed);
        if elapsed >= over || (share < self.percentage.at(over)) == current {
            return None;
        }
        let (mut before, mut after) = (elapsed, over);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if (share < self.percentage.at(middle)) == current {
                before = middle;
            } else {
                after = middle;
            }
        }
        Some(after)
    }
}

/// What identifies a unit in draws.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Key {
    /// The nth connection of its listener.
    #[default]
    Ordinal,
    /// The client's address without its port.
    Client,
    /// A part of an HTTP request, such as `header:x-tenant`. Available with HTTP.
    Http(HttpKey),
}

impl Key {
    /// What stands for all that have this key; none: they have none, or each stands for itself.
    pub fn of(&self, client: Option<IpAddr>, request: Option<&Request>) -> Option<u64> {
        match self {
            Key::Ordinal => None,
            Key::Client => client.map(|ip| match ip.to_canonical() {
                IpAddr::V4(ip) => draw::hash(&ip.octets()),
                IpAddr::V6(ip) => draw::hash(&ip.octets()),
            }),
            Key::Http(key) => request.and_then(|request| key.of(request)),
        }
    }
}

/// Which of the matching units; counted over all openings of the window, before the percentage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// All.
    #[default]
    All,
    /// Only the first n.
    First(u64),
    /// Only the nth, from 1.
    Nth(u64),
    /// Every nth.
    Each(u64),
}

impl Count {
    /// Whether the nth matching unit (from 1) is among them.
    pub fn takes(self, n: u64) -> bool {
        match self {
            Count::All => true,
            Count::First(first) => n <= first,
            Count::Nth(nth) => n == nth,
            Count::Each(each) => each > 0 && n.is_multiple_of(each),
        }
    }
}

/// Which connections, by when they were opened. Each opening of the window is looked at by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Connections {
    /// All of them.
    #[default]
    All,
    /// Only those opened while it acts.
    New,
    /// Only those that were open when it came on.
    Established,
}

impl Connections {
    /// Whether a connection that was opened at `opened` is among them, for a window open since `since`.
    pub fn take(self, opened: Time, since: Time) -> bool {
        match self {
            Connections::All => true,
            Connections::New => opened >= since,
            Connections::Established => opened < since,
        }
    }
}

/// `max_active_faults`: an exact limit on units affected at one moment.
#[derive(Debug)]
pub struct Cap {
    max: u64,
    now: AtomicU64,
    all: Option<Arc<Cap>>,
}

impl Cap {
    /// At most `max` units.
    pub fn new(max: u64) -> Arc<Cap> {
        Arc::new(Cap { max, now: AtomicU64::new(0), all: None })
    }

    /// At most `max` units, and never more than `all` has left.
    pub fn within(max: u64, all: &Arc<Cap>) -> Arc<Cap> {
        Arc::new(Cap { max, now: AtomicU64::new(0), all: Some(all.clone()) })
    }

    /// A place for one unit, given back when it is dropped; none if all are taken.
    pub fn take(self: &Arc<Cap>) -> Option<Permit> {
        if !self.enter() {
            return None;
        }
        if self.all.as_ref().is_some_and(|all| !all.enter()) {
            self.now.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Permit(self.clone()))
    }

    fn enter(&self) -> bool {
        let more = |now| (now < self.max).then_some(now + 1);
        self.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }
}

/// One unit's place under a [`Cap`].
#[derive(Debug)]
pub struct Permit(Arc<Cap>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::AcqRel);
        if let Some(all) = &self.0.all {
            all.now.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn select(percentage: Curve<f64>) -> Select {
        Select { percentage, ladder: None, key: Key::Ordinal, count: Count::All, cap: None }
    }

    #[test]
    fn counts_take_what_they_name() {
        let taken = |count: Count| (1..=10).filter(|n| count.takes(*n)).collect::<Vec<_>>();
        assert_eq!(taken(Count::First(3)), [1, 2, 3]);
        assert_eq!(taken(Count::Nth(5)), [5]);
        assert_eq!(taken(Count::Each(5)), [5, 10]);
        assert_eq!(taken(Count::Each(0)), [0_u64; 0]);
        assert_eq!(taken(Count::All).len(), 10);
    }

    #[test]
    fn the_client_is_its_address_without_port_and_an_absent_key_is_nobody() {
        let by_client = Select { key: Key::Client, ..select(Curve::Constant(100.0)) };
        let v4: IpAddr = "10.0.0.7".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.7".parse().unwrap();
        assert_eq!(by_client.unit(1, Some(v4), None), Some(draw::hash(&[10, 0, 0, 7])));
        assert_eq!(by_client.unit(2, Some(mapped), None), by_client.unit(1, Some(v4), None));
        assert_eq!(by_client.unit(1, None, None), None);
        let by_header = Select { key: Key::Http("header:x".parse().unwrap()), ..by_client };
        assert_eq!(by_header.unit(1, Some(v4), None), None);
    }

    #[test]
    fn a_change_is_announced_to_the_nanosecond_on_every_shape() {
        let curves = [
            Curve::Ramp { from: 1.0, to: 25.0, over: 60_000_000_000 },
            Curve::Ramp { from: 25.0, to: 0.0, over: 777 },
            Curve::Ramp { from: 5.0, to: 6.0, over: 0 },
            Curve::Steps { steps: vec![1.0, 5.0, 10.0, 25.0], hold: 10_000 },
            Curve::Steps { steps: vec![20.0, 3.0, 30.0], hold: 0 },
        ];
        for curve in curves {
            let select = select(curve);
            for share in [0.0, 0.5, 1.0, 3.3, 5.5, 7.0, 24.999, 25.0, 60.0] {
                let mut at = 0;
                let mut changes = 0;
                while let Some(next) = select.next_change(share, at) {
                    assert!(next > at);
                    assert_eq!(select.holds(share, 0, next - 1), select.holds(share, 0, at), "{select:?} {share}");
                    assert_ne!(select.holds(share, 0, next), select.holds(share, 0, at), "{select:?} {share}");
                    at = next;
                    changes += 1;
                    assert!(changes < 5);
                }
                assert_eq!(select.holds(share, 0, at), select.holds(share, 0, Time::MAX));
            }
        }
    }

    #[test]
    fn a_cap_is_exact_and_gives_places_back() {
        let cap = Cap::new(2);
        let (a, b) = (cap.take(), cap.take());
        assert!(a.is_some() && b.is_some() && cap.take().is_none());
        drop(a);
        assert!(cap.take().is_some());
    }
}
