//! What a recording will hold, within its bounds.

use std::collections::BTreeMap;

use squall_core::recording::{Head, fit, render, render_exchange, template};
use squall_core::redact::Redaction;
use squall_core::tap::{MOST_PIECES, Observed};
use squall_core::time::Time;
use squall_core::unit::Bytes;

use super::{Summary, convert};

/// Routes whose latencies are known, and latencies of each.
const ROUTES: usize = 256;
const SAMPLES: usize = 4096;
/// Characters of a route's path.
const PATH: usize = 256;
/// What everything but the exchanges may take, bytes.
pub(super) const AROUND: u64 = 128 << 10;

/// How much is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) exchanges: usize,
    /// Of the file, bytes.
    pub(super) size: u64,
}

/// See the module.
pub(super) struct Book {
    redaction: Redaction,
    limits: Limits,
    start: Time,
    /// When they began, and their texts.
    exchanges: Vec<(Time, String)>,
    size: u64,
    /// Latencies by method and path.
    routes: BTreeMap<(String, String), Vec<Time>>,
    left_out: LeftOut,
}

/// How many of what was left out.
#[derive(Default)]
struct LeftOut {
    full: u64,
    encoded: u64,
    tunnels: u64,
    long: u64,
    pieces: u64,
}

impl Book {
    /// `start`: now, monotonic ns.
    pub(super) fn new(redaction: Redaction, limits: Limits, start: Time) -> Book {
        let (exchanges, routes, left_out) = Default::default();
        Book { redaction, limits, start, exchanges, size: 0, routes, left_out }
    }

    pub(super) fn take(&mut self, observed: Observed) {
        if observed.tunnel {
            self.left_out.tunnels += 1;
            return;
        }
        self.sample(&observed);
        if convert::is_encoded(&observed) {
            self.left_out.encoded += 1;
            return;
        }
        let text = render_exchange(&convert::exchange(&observed, &self.redaction, self.start));
        let size = self.size + text.len() as u64;
        if self.exchanges.len() >= self.limits.exchanges || size > self.limits.size.saturating_sub(AROUND) {
            self.left_out.full += 1;
            return;
        }
        self.size = size;
        self.left_out.long += u64::from(!observed.body.is_whole());
        self.left_out.pieces += u64::from(observed.pieces.len() >= MOST_PIECES);
        self.exchanges.push((observed.at, text));
    }

    fn sample(&mut self, observed: &Observed) {
        let path = template(&self.redaction.text(observed.request.path()));
        let key = (path, observed.request.method.as_str().to_owned());
        if self.routes.len() >= ROUTES && !self.routes.contains_key(&key) || key.0.len() > PATH {
            return;
        }
        let samples = self.routes.entry(key).or_default();
        if samples.len() < SAMPLES {
            samples.push(observed.first);
        }
    }

    /// The text. `lost`: exchanges that came faster than they could be taken.
    pub(super) fn finish(mut self, mut head: Head, lost: u64) -> (String, Summary) {
        self.exchanges.sort_by_key(|(at, _)| *at);
        head.left_out = self.left_out(lost);
        let fitted = self.routes.into_iter().filter_map(|((path, method), mut samples)| {
            let fitted = fit(&mut samples)?;
            Some((method, path, samples.len() as u64, fitted))
        });
        let routes: Vec<_> = fitted.collect();
        let exchanges: Vec<String> = self.exchanges.into_iter().map(|(_, text)| text).collect();
        let text = render(&head, &routes, &exchanges);
        (text, Summary { exchanges: exchanges.len(), routes: routes.len(), left_out: head.left_out })
    }

    fn left_out(&self, lost: u64) -> Vec<String> {
        let LeftOut { full, encoded, tunnels, long, pieces } = self.left_out;
        let Limits { exchanges, size } = self.limits;
        let told = [
            (full, format!("exchanges beyond the first {exchanges}, or {}", Bytes(size))),
            (lost, "exchanges that came faster than they could be written down".into()),
            (encoded, "compressed answers, in which secrets can't be seen".into()),
            (tunnels, "connections that left HTTP".into()),
            (long, "answers of which only the beginning was kept: the rest is played as filler".into()),
            (pieces, format!("answers whose pieces beyond {MOST_PIECES} come as one")),
        ];
        told.into_iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect()
    }
}

#[cfg(test)]
mod tests;
