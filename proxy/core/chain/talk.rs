use std::net::SocketAddr;

use crate::fault::Flow;
use crate::time::Time;

/// What the pump keeps of every connection, faulted or not: who it is and how far the conversation has come. Small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// The nth connection of its listener, from 0.
    pub ordinal: u64,
    /// Where it came from; none: a unix socket.
    pub client: Option<SocketAddr>,
    /// When it was accepted.
    pub opened: Time,
    admitted: bool,
    seen: [u64; 2],
    turn: u64,
    turn_began: [u64; 2],
    speaker: Option<Flow>,
}

impl Talk {
    /// A connection that has not spoken yet.
    pub fn new(ordinal: u64, client: Option<SocketAddr>, opened: Time) -> Talk {
        Talk { ordinal, client, opened, admitted: false, seen: [0; 2], turn: 0, turn_began: [0; 2], speaker: None }
    }

    /// The gate has let it by (or there was none): from now on faults act on its bytes.
    pub fn admit(&mut self) {
        self.admitted = true;
    }

    /// See [`Talk::admit`].
    pub fn is_admitted(&self) -> bool {
        self.admitted
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

    /// The turn: 0 before the other side has spoken, one more each time the direction changes.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// How far into this direction's latest turn an offset of the flow lies.
    pub(super) fn within_turn(&self, flow: Flow, offset: u64) -> u64 {
        offset.saturating_sub(self.turn_began[flow as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_begins_with_the_first_byte_after_the_direction_changed() {
        let mut talk = Talk::new(0, None, 0);
        talk.moved(Flow::Upstream, 10);
        talk.moved(Flow::Upstream, 5);
        assert_eq!((talk.turn(), talk.within_turn(Flow::Upstream, 12)), (0, 12));
        talk.moved(Flow::Downstream, 100);
        assert_eq!((talk.turn(), talk.within_turn(Flow::Downstream, 40)), (1, 40));
        talk.moved(Flow::Upstream, 7);
        assert_eq!((talk.turn(), talk.seen(Flow::Upstream)), (2, 22));
        assert_eq!(talk.within_turn(Flow::Upstream, 15), 0);
    }
}
