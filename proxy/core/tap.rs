//! Exchanges as they pass between a proxy and its upstream, for somebody who writes them down. Off unless somebody listens;
//! bounded in bytes and in number, and never waited for: what does not fit is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::http::{Fields, Request, Response, StatusCode};
use crate::recording::Ended;
use crate::time::Time;

/// Pieces of one answer that have a time of their own; what comes after them comes with the last.
pub const MOST_PIECES: usize = 10_000;

/// How much a tap may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Exchanges that are over and wait to be taken.
    pub waiting: usize,
    /// Bytes kept of each body.
    pub body: usize,
    /// Bytes kept of all bodies, of exchanges under way and of those that wait.
    pub held: usize,
}

/// Where the exchanges of a proxy go.
#[derive(Debug)]
pub struct Tap {
    to: SyncSender<Observed>,
    body: usize,
    room: AtomicUsize,
    lost: AtomicU64,
}

impl Tap {
    /// A tap and the end at which exchanges come out, each when it is over.
    pub fn new(limits: Limits) -> (Arc<Tap>, Receiver<Observed>) {
        let (to, from) = sync_channel(limits.waiting);
        let (room, lost) = (AtomicUsize::new(limits.held), AtomicU64::new(0));
        (Arc::new(Tap { to, body: limits.body, room, lost }), from)
    }

    /// Exchanges that nobody took in time.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// An exchange begins with a request: its end is that of what is returned.
    pub fn begin(self: &Arc<Tap>, now: Time) -> Tapped {
        let held = Held { tap: self.clone(), bytes: 0 };
        Tapped { seen: Some(Box::new(Observed::new(now, held))), answered: false, last: now }
    }
}

/// One exchange, seen from the proxy's side of its upstream.
#[derive(Debug)]
pub struct Observed {
    /// When the upstream was reached, monotonic ns.
    pub at: Time,
    /// The request as it was sent.
    pub request: Request,
    /// Its body.
    pub asked: Kept,
    /// The answer's head.
    pub response: Response,
    /// From the request's end, or from its head if the answer came before that, to the answer's head; ns.
    pub first: Time,
    /// The answer's body.
    pub body: Kept,
    /// In what pieces it came: ns since the piece before or the head, and bytes.
    pub pieces: Vec<(Time, u64)>,
    /// What stood behind it.
    pub trailers: Option<Fields>,
    /// How it ended.
    pub ended: Ended,
    /// It left HTTP: what passed then was not looked at.
    pub tunnel: bool,
    held: Held,
}

/// What was kept of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// How many there were in all.
    pub size: u64,
}

impl Kept {
    /// Whether it is all of it.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.size
    }
}

/// Bytes that count against a tap's room as long as they are held.
#[derive(Debug)]
struct Held {
    tap: Arc<Tap>,
    bytes: usize,
}

impl Held {
    /// Keeps what there is room for: a body is kept from its first byte on, without a gap.
    fn keep(&mut self, kept: &mut Kept, bytes: &[u8]) {
        let most = self.tap.body.saturating_sub(kept.bytes.len()).min(bytes.len());
        let take = if kept.is_whole() { most } else { 0 };
        kept.size += bytes.len() as u64;
        let room = self.tap.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(take));
        if room.is_ok() {
            self.bytes += take;
            kept.bytes.extend_from_slice(&bytes[..take]);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tap.room.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

impl Observed {
    fn new(at: Time, held: Held) -> Observed {
        Observed {
            at,
            request: Request::default(),
            asked: Kept::default(),
            response: Response::default(),
            first: 0,
            body: Kept::default(),
            pieces: Vec::new(),
            trailers: None,
            ended: Ended::Left,
            tunnel: false,
            held,
        }
    }
}

/// An exchange under way. When it is dropped it is over.
#[derive(Debug)]
pub struct Tapped {
    /// None: it is over.
    seen: Option<Box<Observed>>,
    answered: bool,
    /// When the request ended, or the last that came of the answer.
    last: Time,
}

impl Tapped {
    /// The request's head is about to be sent. Returns what is to be sent in its place: it does not ask for compression, in
    /// which secrets can't be seen.
    pub fn ask(&mut self, request: &Request, now: Time) -> Request {
        let mut plain = request.clone();
        plain.fields.remove("accept-encoding");
        self.last = now;
        if let Some(seen) = &mut self.seen {
            seen.request.clone_from(&plain);
        }
        plain
    }

    /// Some of the request's body was sent.
    pub fn sent(&mut self, bytes: &[u8], now: Time) {
        if let Some(seen) = &mut self.seen {
            seen.held.keep(&mut seen.asked, bytes);
            if !self.answered {
                self.last = now;
            }
        }
    }

    /// A head has come: an interim one is not that of the answer. `bodiless`: nothing follows it.
    pub fn answered(&mut self, response: &Response, bodiless: bool, tunnel: bool, now: Time) {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let Some(seen) = &mut self.seen else { return };
        seen.response.clone_from(response);
        seen.first = now.saturating_sub(self.last);
        seen.tunnel = tunnel;
        (self.answered, self.last) = (true, now);
        if bodiless {
            seen.ended = Ended::Whole;
        }
    }

    /// Some of the answer's body has come.
    pub fn came(&mut self, bytes: &[u8], now: Time) {
        let Some(seen) = self.seen.as_mut().filter(|seen| !seen.tunnel) else { return };
        seen.held.keep(&mut seen.body, bytes);
        let (size, is_full) = (bytes.len() as u64, seen.pieces.len() >= MOST_PIECES);
        match seen.pieces.last_mut() {
            Some((_, last)) if is_full => *last += size,
            _ => seen.pieces.push((now.saturating_sub(self.last), size)),
        }
        self.last = now;
    }

    /// The answer is whole.
    pub fn ended(&mut self, trailers: Option<&Fields>) {
        if let Some(seen) = &mut self.seen {
            seen.trailers = trailers.cloned();
            seen.ended = Ended::Whole;
        }
    }

    /// The upstream has failed.
    pub fn broke(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.ended = Ended::Cut;
        }
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        let Some(seen) = self.seen.take().filter(|_| self.answered) else { return };
        let tap = seen.held.tap.clone();
        if tap.to.try_send(*seen).is_err() {
            tap.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMITS: Limits = Limits { waiting: 2, body: 8, held: 20 };

    fn whole(tap: &Arc<Tap>, body: &[&[u8]]) {
        let mut tapped = tap.begin(100);
        tapped.ask(&Request::default(), 110);
        tapped.answered(&Response::default(), false, false, 150);
        body.iter().zip(160..).for_each(|(bytes, now)| tapped.came(bytes, now));
        tapped.ended(None);
    }

    #[test]
    fn an_exchange_comes_out_when_it_is_over() {
        let (tap, from) = Tap::new(LIMITS);
        let request =
            Request { fields: [("Accept-Encoding", "gzip"), ("a", "1")].into_iter().collect(), ..Request::default() };
        let mut tapped = tap.begin(100);
        assert_eq!(tapped.ask(&request, 110).fields, [("a", "1")].into_iter().collect());
        tapped.sent(b"ask", 120);
        let early = Response { status: StatusCode::EARLY_HINTS, ..Response::default() };
        tapped.answered(&early, false, false, 125);
        tapped.answered(&Response::default(), false, false, 150);
        tapped.came(b"one", 150);
        tapped.came(b"three", 190);
        tapped.came(b"!", 191);
        assert!(from.try_recv().is_err());
        tapped.ended(Some(&[("t", "1")].into_iter().collect()));
        drop(tapped);
        let seen = from.try_recv().unwrap();
        assert_eq!((seen.at, seen.first, &seen.pieces[..]), (100, 30, &[(0, 3), (40, 5), (1, 1)][..]));
        assert_eq!(seen.asked, Kept { bytes: b"ask".into(), size: 3 });
        assert_eq!(seen.body, Kept { bytes: b"onethree".into(), size: 9 }, "no more of a body than its limit");
        assert_eq!((seen.ended, seen.trailers.unwrap().len()), (Ended::Whole, 1));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_held_back_by_nobody() {
        let (tap, from) = Tap::new(LIMITS);
        (0..5).for_each(|_| whole(&tap, &[b"12345678"]));
        assert_eq!(tap.lost(), 3);
        // 16 of 20 bytes are held by the two that wait
        let kept = |seen: &Observed| (seen.body.bytes.len(), seen.body.size);
        let first = from.try_recv().unwrap();
        whole(&tap, &[b"12345", b"6"]);
        let (second, third) = (from.try_recv().unwrap(), from.try_recv().unwrap());
        assert_eq!([kept(&first), kept(&second), kept(&third)], [(8, 8), (8, 8), (0, 6)]);
        drop((first, second, third));
        whole(&tap, &[b"12345", b"6"]);
        assert_eq!(kept(&from.try_recv().unwrap()), (6, 6), "the room has come back");
    }

    #[test]
    fn how_it_ended_is_told_and_what_was_never_answered_is_not() {
        let (tap, from) = Tap::new(LIMITS);
        drop(tap.begin(1));
        assert!(from.try_recv().is_err() && tap.lost() == 0);
        let mut cut = tap.begin(1);
        cut.answered(&Response::default(), false, false, 2);
        cut.broke();
        drop(cut);
        let mut left = tap.begin(1);
        left.answered(&Response::default(), false, false, 2);
        drop(left);
        assert_eq!([from.try_recv().unwrap().ended, from.try_recv().unwrap().ended], [Ended::Cut, Ended::Left]);
        let mut bodiless = tap.begin(1);
        bodiless.answered(&Response::default(), true, false, 2);
        drop(bodiless);
        assert_eq!(from.try_recv().unwrap().ended, Ended::Whole);
    }

    #[test]
    fn pieces_are_bounded() {
        let (tap, from) = Tap::new(LIMITS);
        whole(&tap, &vec![&b"x"[..]; MOST_PIECES + 5]);
        let seen = from.try_recv().unwrap();
        assert_eq!((seen.pieces.len(), seen.pieces.last().unwrap().1), (MOST_PIECES, 6));
    }
}
