//! `sse`: a stream of server-sent events ends early, stalls, or says something wrong.

mod config;
mod member;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::config::How;
pub use self::config::{Config, Sse};
use self::member::Seek;
use crate::fault::framing::sse::Events;
use crate::fault::running::Running;
use crate::fault::{
    Act, Asked, Cx, Effect, End, Fault, Hooks, Injection, Item, Needs, Offer, Patch, Ruling, Until, What,
};
use crate::http::Response;
use crate::time::{SECOND, Time};

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub struct Memory {
    events: Events,
    /// What was to be done once is done, and on record.
    done: bool,
    /// The stream stands still since its nth event.
    stalled: bool,
    /// With "omit": how much of the member has come.
    seek: Seek,
    /// Some of its text has been taken away.
    omitted: bool,
    /// When the next comment is due, or the next event may go; with an error event in place, when it went.
    next: Time,
    /// Since when the event at the head waits for its time.
    since: Option<Time>,
    sums: Running,
}

impl Fault for Sse {
    const KIND: &'static str = "sse";
    const HOOKS: Hooks = Hooks { exchange: true, ..Hooks::BODY };
    const EFFECT: Effect = Effect::Mutates;
    type Shared = ();
    type State = Memory;

    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    fn resizes(&self) -> bool {
        match self.how {
            How::Truncate | How::Cut | How::Error | How::Malformed | How::Omit => true,
            How::Stall => self.keepalive.is_some(),
            How::Pace | How::ContentType => false,
        }
    }

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        if self.how != How::ContentType || !asked.response.is_some_and(is_event_stream) {
            return Ruling::Pass;
        }
        let (what, step) = (What::Patched, asked.step());
        cx.inject(Injection { what, step, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
        let set = vec![("content-type".to_owned(), self.content_type.clone())];
        Ruling::Patch(Box::new(Patch { set, ..Patch::of(cx.flow) }))
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if !acts_on(cx) || self.how == How::ContentType {
            return Act::Pass(offer.len());
        }
        match offer.item {
            Item::Bytes(bytes) if !bytes.is_empty() => self.bytes(cx, offer, bytes),
            Item::Fin => {
                cx.state.sums.flush(self.running(), cx.now, cx.injected);
                if self.is_reached(&cx.state.events, None) { self.act(cx, offer) } else { Act::Pass(0) }
            }
            _ if cx.state.stalled => self.keep_alive(cx),
            _ if self.is_reached(&cx.state.events, None) => self.act(cx, offer),
            _ => Act::Pass(0),
        }
    }

    fn alarm(&self, cx: &Cx<'_, Self>) -> Option<Time> {
        let state = &*cx.state;
        if state.stalled {
            return self.keepalive.map(|_| state.next);
        }
        if !acts_on(cx) || !self.is_reached(&state.events, None) {
            return None;
        }
        // the nth event has gone, and nobody has to send more
        let goes_on = state.done && self.end.is_none();
        let at = if state.done { state.next.saturating_add(1) } else { cx.span.passed.unwrap_or(cx.span.attached) };
        (!goes_on).then_some(at)
    }
}

fn acts_on(cx: &Cx<'_, Sse>) -> bool {
    cx.exchange.and_then(|exchange| exchange.response.as_ref()).is_some_and(is_event_stream)
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.fields.text("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/event-stream")
}

impl Sse {
    fn bytes(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, bytes: &[u8]) -> Act {
        if cx.state.events.at != offer.offset {
            cx.state.events.resume(offer.offset);
        }
        if self.how == How::Pace {
            return self.pace(cx, offer, bytes);
        }
        if self.how == How::Omit {
            return self.omit(cx, offer, bytes);
        }
        let mut events = cx.state.events.clone();
        let mut n = 0;
        for (place, byte) in bytes.iter().enumerate() {
            if self.how == How::Malformed && !cx.state.done && events.ended == self.after && events.is_in_data() {
                match bytes.get(place + 1) {
                    _ if is_end(*byte) => {}
                    None if place == 0 => return Act::More(2),
                    None => break,
                    Some(next) if is_end(*next) && place == 0 => return self.spoil(cx, offer, *byte),
                    Some(next) if is_end(*next) => break,
                    Some(_) => {}
                }
            } else if self.is_reached(&events, Some(*byte)) {
                break;
            }
            events.step(*byte);
            n += 1;
        }
        if n == 0 {
            return self.act(cx, offer);
        }
        cx.state.events = events;
        Act::Pass(n)
    }

    /// Whether the place has come at which it acts, the next byte being this one.
    fn is_reached(&self, events: &Events, next: Option<u8>) -> bool {
        let is_there = events.ended >= self.after;
        match self.how {
            How::Truncate | How::Stall | How::Error => is_there,
            How::Cut => {
                is_there
                    && next
                        .is_some_and(|next| events.within >= self.bytes && events.within > 0 || events.would_end(next))
            }
            How::Malformed | How::Omit | How::Pace | How::ContentType => false,
        }
    }

    /// The place has come.
    fn act(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let at = offer.offset;
        let figures =
            |what, figure| Injection { what, step: at, draw: None, drawn: figure, scheduled: figure, achieved: figure };
        let is_first = !std::mem::replace(&mut cx.state.done, true);
        if self.how == How::Error && is_first {
            cx.state.next = cx.now;
            cx.inject(figures(What::Inserted, self.text.len() as u64));
            return Act::Take { n: 0, put: self.text.clone() };
        }
        if self.how == How::Stall {
            if is_first {
                cx.state.stalled = true;
                cx.state.next = cx.now.saturating_add(self.keepalive.unwrap_or(0));
                cx.inject(figures(What::Stalled, at));
            }
            return Act::Hold(Until::Change);
        }
        let Some(end) = self.end.clone() else { return Act::Pass(offer.len()) };
        if is_first {
            let what = match end {
                End::Complete => What::Truncated,
                End::Reset => What::Reset,
                _ => What::Closed,
            };
            cx.inject(figures(what, at));
        }
        Act::End(end)
    }

    /// Takes the last byte of the data away.
    fn spoil(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, byte: u8) -> Act {
        cx.state.done = true;
        cx.state.events.step(byte);
        let at = offer.offset;
        cx.inject(Injection { what: What::Corrupted, step: at, draw: None, drawn: at, scheduled: at, achieved: at });
        Act::Take { n: 1, put: Bytes::new() }
    }

    /// Takes the text of the member away, byte by byte as it comes: nothing waits.
    fn omit(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, bytes: &[u8]) -> Act {
        let mut goes = None;
        let mut n = 0;
        for byte in bytes {
            let state = &mut *cx.state;
            let (mut seek, is_sought) = (state.seek, !state.done && state.events.ended >= self.after);
            let is_text = is_sought && state.events.is_in_data() && seek.step(&self.member, *byte);
            if *goes.get_or_insert(is_text) != is_text {
                break;
            }
            state.done |= state.omitted && !is_text;
            if is_text && !std::mem::replace(&mut state.omitted, true) {
                let (what, at) = (What::Corrupted, offer.offset);
                cx.inject(Injection { what, step: at, draw: None, drawn: at, scheduled: at, achieved: at });
            }
            (cx.state.seek, n) = (seek, n + 1);
            cx.state.events.step(*byte);
        }
        if goes == Some(true) { Act::Take { n, put: Bytes::new() } } else { Act::Pass(n) }
    }

    fn keep_alive(&self, cx: &mut Cx<'_, Self>) -> Act {
        let Some(every) = self.keepalive.filter(|_| cx.now >= cx.state.next) else {
            return Act::Hold(Until::Change);
        };
        cx.state.next = cx.state.next.max(cx.now.saturating_sub(every)).saturating_add(every);
        let bytes = self.text.len() as u64;
        cx.state.sums.add(What::Inserted, 0, cx.now, (bytes, bytes), cx.injected);
        Act::Take { n: 0, put: self.text.clone() }
    }

    /// An event goes no sooner than its time after the one before.
    fn pace(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>, bytes: &[u8]) -> Act {
        let state = &mut *cx.state;
        let waits = state.events.within == 0 && state.events.ended >= self.after;
        if waits && state.next > cx.now {
            state.since.get_or_insert(cx.now);
            return Act::Hold(Until::At(state.next));
        }
        if let Some(since) = state.since.take() {
            let figures = (state.next.saturating_sub(since), cx.now.saturating_sub(since));
            state.sums.add(What::Paced, offer.turn, cx.now, figures, cx.injected);
        }
        let ended = bytes.iter().position(|byte| state.events.step(*byte));
        if ended.is_some() {
            state.next = cx.now.saturating_add(self.interval());
        }
        Act::Pass(ended.map_or(bytes.len(), |last| last + 1))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn interval(&self) -> Time {
        (SECOND as f64 / self.rate) as Time
    }

    /// What is summed up.
    fn running(&self) -> What {
        if self.how == How::Pace { What::Paced } else { What::Inserted }
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}
