//! The chain engine: the faults of one connection, both directions, without I/O. The pump pushes what it has read, polls
//! for decisions, writes what is ready and says how much it wrote.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::fault::{Flow, Gate, Opening};
use crate::observe::Record;
use crate::plan::Slice;
use crate::time::{Now, Time};

/// What the pump keeps of every connection, faulted or not: who it is and how far the conversation has come. Small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// The nth connection of its listener, from 0.
    pub ordinal: u64,
    /// Where it came from; none: a unix socket.
    pub client: Option<SocketAddr>,
    /// When it was accepted.
    pub opened: Time,
    seen: [u64; 2],
    turn: u64,
    turn_began: [u64; 2],
    speaker: Option<Flow>,
}

impl Talk {
    /// A connection that has not spoken yet.
    pub fn new(ordinal: u64, client: Option<SocketAddr>, opened: Time) -> Talk {
        Talk { ordinal, client, opened, seen: [0; 2], turn: 0, turn_began: [0; 2], speaker: None }
    }

    /// Takes note of n bytes that were read. Called for every read, whatever path the bytes take.
    #[inline]
    pub fn moved(&mut self, flow: Flow, n: usize) {
        if self.speaker != Some(flow) {
            if self.speaker.is_some() {
                self.turn += 1;
            }
            self.speaker = Some(flow);
            self.turn_began[flow as usize] = self.seen[flow as usize];
        }
        self.seen[flow as usize] += n as u64;
    }

    /// Bytes read in this direction.
    pub fn seen(&self, flow: Flow) -> u64 {
        self.seen[flow as usize]
    }
}

/// What the pump is to do next in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Nothing for now.
    Nothing,
    /// Bytes to write, in order: lay them out with [`Chain::slices`], say how many went with [`Chain::wrote`].
    Bytes,
    /// Everything before it is written: close this direction (the other side's FIN, passed on).
    Fin,
    /// Everything before it is written: a fault closes the connection, both sides with FIN.
    Close,
    /// Everything before it is written: a fault resets the connection, both sides.
    Reset,
}

/// The faults of one connection.
#[derive(Debug)]
pub struct Chain {}

#[allow(missing_docs, unused_variables, clippy::todo, clippy::unused_self)]
impl Chain {
    /// No faults yet.
    pub fn new() -> Chain {
        todo!()
    }
    /// Holds the chain against the slice in force: new faults are appended, changed ones keep what they have counted,
    /// those gone pass everything until they are drained. `last` is the time of the previous call for this connection
    /// (0: none) and is updated: units are counted once per fault.
    pub fn retune(&mut self, slice: Option<&Slice>, talk: &Talk, last: &mut Time, now: Now) {
        todo!()
    }
    /// Whether no fault is left and nothing is queued: the pump may drop the chain.
    pub fn is_idle(&self) -> bool {
        todo!()
    }
    /// Asks the faults about a connection being opened. On `Hold` it is asked again at that time or after the next retune.
    pub fn gate(&mut self, opening: &Opening, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Gate {
        todo!()
    }
    /// How many bytes may be read and pushed now; 0: back-pressure.
    pub fn room(&self, flow: Flow) -> usize {
        todo!()
    }
    /// How many bytes may go past the chain (splice, or the worker's buffer), because every fault has passed them in
    /// advance and nothing is queued.
    pub fn credit(&self, flow: Flow) -> usize {
        todo!()
    }
    /// n bytes went past the chain.
    pub fn skipped(&mut self, flow: Flow, n: usize, now: Now) {
        todo!()
    }
    /// Bytes that were read; call [`Talk::moved`] first.
    pub fn push(&mut self, flow: Flow, bytes: Bytes, talk: &Talk, now: Now) {
        todo!()
    }
    /// The sender closed its side.
    pub fn fin(&mut self, flow: Flow, now: Now) {
        todo!()
    }
    /// Lets the faults decide as far as they can. Returns when to poll again at the latest.
    pub fn poll(&mut self, talk: &Talk, now: Now, records: &mut Vec<Record>) -> Option<Time> {
        todo!()
    }
    /// What the pump is to do in one direction.
    pub fn ready(&self, flow: Flow) -> Ready {
        todo!()
    }
    /// Lays out what may go in one write now (never across a piece boundary); returns how many slots it filled.
    pub fn slices<'a>(&'a self, flow: Flow, slots: &mut [std::io::IoSlice<'a>]) -> usize {
        todo!()
    }
    /// The pump wrote n bytes of what was ready.
    pub fn wrote(&mut self, flow: Flow, n: usize) {
        todo!()
    }
    /// Bytes queued in this direction, held or ready.
    pub fn queued(&self, flow: Flow) -> usize {
        todo!()
    }
    /// Whether anything is held back by a fault.
    pub fn is_holding(&self) -> bool {
        todo!()
    }
}
