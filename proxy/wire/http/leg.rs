//! One body of an exchange on its way: from one end past the faults to the other.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use squall_core::chain::Ready;
use squall_core::fault::Flow;
use squall_core::http::Fields;
use squall_core::time::MILLI;

use super::ends::{Broken, Piece, Sink, Source};
use super::watch::Watcher;

/// Pieces before others get a turn.
const ROUNDS: usize = 32;
/// What is shorter is copied when a fault may hold it, so that little is held for nothing.
const KEEPS_BLOCK: usize = 16 * 1024;

/// See the module.
pub(crate) struct Leg {
    flow: Flow,
    /// Pieces that were taken from the source before.
    ahead: VecDeque<Bytes>,
    /// What stands behind the body.
    trailers: Option<Fields>,
    /// The source has come to its end.
    drained: bool,
    /// The end has been taken.
    ended: bool,
    /// The sink has been told of it.
    done: bool,
    /// What comes is thrown away.
    discards: bool,
    /// It has passed the faults before.
    repeats: bool,
    /// Bytes that were handed on while there were no faults.
    passed: usize,
}

/// What stopped a body.
pub(crate) enum Stop {
    Source(Broken),
    Sink(Broken),
    /// A fault has ended the exchange: the chain knows which.
    Injected,
}

impl Leg {
    pub(crate) fn new(flow: Flow) -> Leg {
        Leg {
            flow,
            ahead: VecDeque::new(),
            trailers: None,
            drained: false,
            ended: false,
            done: false,
            discards: false,
            repeats: false,
            passed: 0,
        }
    }

    /// There is no body, or another stands in its place.
    pub(crate) fn finished(flow: Flow) -> Leg {
        Leg { drained: true, ended: true, done: true, ..Leg::new(flow) }
    }

    /// A body that has passed the faults before, to go once more.
    pub(crate) fn again(flow: Flow, pieces: impl IntoIterator<Item = Bytes>) -> Leg {
        let mut leg = Leg { repeats: true, ..Leg::new(flow) };
        leg.put_ahead(pieces, true);
        leg
    }

    /// Whether everything has been handed on.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// How many bytes were handed on while there were no faults, since this was asked last.
    pub(crate) fn take_passed(&mut self) -> usize {
        std::mem::take(&mut self.passed)
    }

    /// Puts these in front of what comes from the source; `whole`: nothing comes from it any more.
    pub(crate) fn put_ahead(&mut self, pieces: impl IntoIterator<Item = Bytes>, whole: bool) {
        self.ahead.extend(pieces);
        self.drained |= whole;
    }

    /// What stands behind a body that was taken from the source before.
    pub(crate) fn put_behind(&mut self, trailers: Option<Fields>) {
        self.trailers = trailers;
    }

    /// Nothing is handed on any more.
    pub(crate) fn discard(&mut self) {
        self.discards = true;
    }

    /// Moves what can be moved; whether more may be had at once.
    pub(crate) fn poll(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        watcher: &Watcher,
        cx: &mut Context<'_>,
    ) -> Result<bool, Stop> {
        for _ in 0..ROUNDS {
            if self.done {
                return Ok(false);
            }
            match sink.poll_room(cx) {
                _ if self.discards => {}
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready.map_err(Stop::Sink)?,
            }
            let moved = match self.discards {
                false if !self.repeats && watcher.exchange().is_some() => {
                    self.poll_faulted(source, sink, watcher, cx)?
                }
                _ => self.poll_plain(source, sink, cx)?,
            };
            if !moved {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn poll_plain(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        cx: &mut Context<'_>,
    ) -> Result<bool, Stop> {
        match self.next(source, cx)? {
            None => return Ok(false),
            Some(Piece::Data(_)) if self.discards => {}
            Some(Piece::Data(bytes)) => {
                self.passed += bytes.len();
                sink.put(bytes);
            }
            Some(Piece::End(trailers)) => {
                self.done = true;
                if !self.discards {
                    sink.finish(trailers);
                }
            }
        }
        Ok(true)
    }

    fn poll_faulted(
        &mut self,
        source: &mut impl Source,
        sink: &mut impl Sink,
        watcher: &Watcher,
        cx: &mut Context<'_>,
    ) -> Result<bool, Stop> {
        let Some(mut faults) = watcher.exchange() else { return Ok(false) };
        match faults.chain.ready(self.flow) {
            Ready::Bytes => {
                if let Some(bytes) = faults.chain.take(self.flow) {
                    sink.put(bytes);
                }
                faults.settle(&watcher.worker, false);
                return Ok(true);
            }
            Ready::Fin => {
                faults.chain.fin_passed(self.flow);
                self.done = true;
                sink.finish(self.trailers.take());
                return Ok(true);
            }
            Ready::Close | Ready::Reset => return Err(Stop::Injected),
            Ready::Nothing => {}
        }
        if self.ended || faults.chain.room(self.flow) == 0 {
            return Ok(false); // a fault holds: it wakes this task
        }
        if watcher.worker.common.held.load(Ordering::Relaxed) >= watcher.worker.common.held_limit {
            faults.wake_by(watcher.worker.now().mono + MILLI);
            return Ok(false);
        }
        drop(faults);
        let Some(piece) = self.next(source, cx)? else { return Ok(false) };
        let Some(mut faults) = watcher.exchange() else { return Ok(true) };
        let faults = &mut **faults;
        let now = watcher.worker.now();
        match piece {
            Piece::Data(bytes) => {
                faults.talk.moved(self.flow, bytes.len());
                if faults.chain.credit(self.flow) >= bytes.len() {
                    faults.chain.skipped(self.flow, bytes.len(), now);
                    sink.put(bytes);
                } else {
                    let bytes = if bytes.len() < KEEPS_BLOCK { Bytes::copy_from_slice(&bytes) } else { bytes };
                    faults.chain.push(self.flow, bytes, &faults.talk, now);
                }
            }
            Piece::End(trailers) => {
                self.trailers = trailers;
                faults.chain.fin(self.flow, now);
            }
        }
        faults.poll(&watcher.worker, now);
        Ok(true)
    }

    /// The next piece, if one can be had now. An end comes once.
    fn next(&mut self, source: &mut impl Source, cx: &mut Context<'_>) -> Result<Option<Piece>, Stop> {
        if let Some(bytes) = self.ahead.pop_front() {
            return Ok(Some(Piece::Data(bytes)));
        }
        if self.drained {
            self.ended = true;
            return Ok(Some(Piece::End(self.trailers.take())));
        }
        match source.poll_piece(cx) {
            Poll::Pending => Ok(None),
            Poll::Ready(Ok(piece)) => {
                self.ended = matches!(piece, Piece::End(_));
                self.drained |= self.ended;
                Ok(Some(piece))
            }
            Poll::Ready(Err(broken)) => Err(Stop::Source(broken)),
        }
    }
}
