use std::net::SocketAddr;

use crate::fault::Flow;
use crate::http::{Request, Response};
use crate::time::Time;
use crate::tls::Hello;

/// What faults may be asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// A connection that carries bytes.
    #[default]
    Bytes,
    /// A connection beneath HTTP exchanges.
    Beneath,
    /// An HTTP exchange.
    Exchange,
}

/// What is said in an HTTP exchange, as rules and faults see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// The request of its connection, from 0.
    pub number: u64,
    /// Its head.
    pub request: Request,
    /// Length of its body, where its head says so.
    pub size: Option<u64>,
    /// The answer's head, once there is one; no interim one.
    pub response: Option<Response>,
    /// When that head had come.
    pub answered: Option<Time>,
}

/// What the pump keeps of every connection or exchange, faulted or not: who it is and how far the conversation has come.
/// Small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Talk {
    /// The nth connection of its listener, from 0.
    pub ordinal: u64,
    /// Where it came from; none: a unix socket.
    pub client: Option<SocketAddr>,
    /// When it was accepted.
    pub opened: Time,
    /// What the client has said at the beginning of a TLS handshake, if anybody looked.
    pub hello: Option<Box<Hello>>,
    level: Level,
    /// None: a connection.
    dialogue: Option<Box<Dialogue>>,
    admitted: bool,
    seen: [u64; 2],
    turn: u64,
    turn_began: [u64; 2],
    speaker: Option<Flow>,
}

impl Talk {
    /// A connection that has not spoken yet.
    pub fn new(ordinal: u64, client: Option<SocketAddr>, opened: Time) -> Talk {
        Talk {
            ordinal,
            client,
            opened,
            hello: None,
            level: Level::Bytes,
            dialogue: None,
            admitted: false,
            seen: [0; 2],
            turn: 0,
            turn_began: [0; 2],
            speaker: None,
        }
    }

    /// A connection that carries HTTP exchanges.
    #[must_use]
    pub fn beneath(self) -> Talk {
        Talk { level: Level::Beneath, ..self }
    }

    /// A connection that might have carried HTTP carries bytes.
    pub fn turned_out_bytes(&mut self) {
        self.level = Level::Bytes;
    }

    /// An exchange of the nth connection of a listener that came from `client`, whose request's head came at `began`. Its
    /// bodies are what is moved.
    pub fn exchange(ordinal: u64, client: Option<SocketAddr>, began: Time, dialogue: Dialogue) -> Talk {
        let (level, dialogue) = (Level::Exchange, Some(Box::new(dialogue)));
        Talk { level, dialogue, admitted: true, ..Talk::new(ordinal, client, began) }
    }

    /// What faults may be asked about.
    pub fn level(&self) -> Level {
        self.level
    }

    /// What is said in the exchange; none: a connection.
    pub fn dialogue(&self) -> Option<&Dialogue> {
        self.dialogue.as_deref()
    }

    /// See [`Talk::dialogue`].
    pub fn dialogue_mut(&mut self) -> Option<&mut Dialogue> {
        self.dialogue.as_deref_mut()
    }

    /// What was said, once nobody asks any more.
    pub fn into_dialogue(self) -> Option<Box<Dialogue>> {
        self.dialogue
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
