//! Server-sent events (HTML Standard, 9.2.5 and 9.2.6): lines end with LF, CR or CRLF, an event with an empty line. Blocks
//! without a `data` field, such as comments that keep a connection alive, are no events.

/// How far a stream of events has been read.
#[derive(Clone, Debug, Default)]
pub(in crate::fault) struct Events {
    /// Events that have ended.
    pub(in crate::fault) ended: u64,
    /// Offset of the next byte.
    pub(in crate::fault) at: u64,
    /// Bytes of the current block so far.
    pub(in crate::fault) within: u64,
    /// Bytes of the current line so far.
    line: u64,
    /// How much of the word `data` the line begins with.
    word: usize,
    /// The current line holds data.
    is_data: bool,
    /// The current block holds data.
    has_data: bool,
    /// The last byte was a CR: an LF behind it belongs to it.
    after_cr: bool,
    /// A line has ended with CRLF before: the LF of an empty line is waited for.
    crlf: bool,
    /// It is waited for now.
    waits: bool,
}

const WORD: &[u8] = b"data";
/// May stand at the beginning of a stream, and is no part of it.
const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

impl Events {
    /// Takes the next byte. Returns whether it ends an event.
    pub(in crate::fault) fn step(&mut self, byte: u8) -> bool {
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        self.at += 1;
        self.within += 1;
        if MARK.get(at) == Some(&byte) && self.line == 0 {
            return false;
        }
        let after_cr = std::mem::take(&mut self.after_cr);
        if byte == b'\n' && after_cr {
            self.crlf = true;
            return std::mem::take(&mut self.waits) && self.end_block();
        }
        if std::mem::take(&mut self.waits) {
            self.end_block(); // with the CR, as it has turned out
            self.within = 1;
        }
        match byte {
            b'\r' => {
                self.after_cr = true;
                self.waits = self.line == 0 && self.crlf;
                !self.waits && self.end_line()
            }
            b'\n' => self.end_line(),
            _ => {
                self.content(byte);
                false
            }
        }
    }

    /// Whether this byte, if it is the next, begins or makes the empty line that ends an event.
    pub(in crate::fault) fn would_end(&self, byte: u8) -> bool {
        self.line == 0 && self.has_data && (byte == b'\r' || byte == b'\n' && !self.after_cr)
    }

    /// Whether the next byte belongs to the value of a `data` field, or ends it.
    pub(in crate::fault) fn is_in_data(&self) -> bool {
        self.is_data
    }

    /// Bytes up to this offset were not seen: what comes is read from its next line on.
    pub(in crate::fault) fn resume(&mut self, at: u64) {
        *self = Events { ended: self.ended, at, line: 1, crlf: self.crlf, ..Events::default() };
    }

    fn content(&mut self, byte: u8) {
        if self.line == self.word as u64 {
            match WORD.get(self.word) {
                Some(expected) if *expected == byte => self.word += 1,
                None if byte == b':' => (self.is_data, self.has_data) = (true, true),
                _ => {}
            }
        }
        self.line += 1;
    }

    fn end_line(&mut self) -> bool {
        if self.line == 0 {
            return self.end_block();
        }
        // `data` alone is a field without a value
        self.has_data |= self.word == WORD.len() && self.line == WORD.len() as u64;
        self.start_line();
        false
    }

    fn end_block(&mut self) -> bool {
        self.start_line();
        self.within = 0;
        let is_event = std::mem::take(&mut self.has_data);
        self.ended += u64::from(is_event);
        is_event
    }

    fn start_line(&mut self) {
        (self.line, self.word, self.is_data) = (0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Offsets behind which events end.
    fn ends(stream: &[u8]) -> Vec<usize> {
        let mut events = Events::default();
        stream.iter().enumerate().filter(|(_, byte)| events.step(**byte)).map(|(i, _)| i + 1).collect()
    }

    #[test]
    fn an_event_ends_with_an_empty_line_whatever_ends_its_lines() {
        assert_eq!(ends(b"data: a\n\ndata: b\nid: 3\n\n"), [9, 24]);
        assert_eq!(ends(b"data: a\r\n\r\nevent: x\r\ndata\r\n\r\n"), [11, 29]);
        assert_eq!(ends(b"data: a\r\rdata:b\r\r"), [9, 17]);
        assert_eq!(ends(b"\xEF\xBB\xBFdata: a\n\n"), [12]);
    }

    #[test]
    fn what_has_no_data_is_no_event() {
        assert_eq!(ends(b": keepalive\n\n\n\nevent: x\n\ndatum: 1\n\ndat\n\n xdata: 1\n\ndatab\n\n"), [0_usize; 0]);
        assert_eq!(ends(b"id: 1\ndata\n\n"), [12]);
    }

    #[test]
    fn after_a_gap_it_goes_on_with_the_next_line() {
        let mut events = Events::default();
        events.resume(100);
        let ended: Vec<bool> = b"ata: x\n\ndata: y\n\n".iter().map(|byte| events.step(*byte)).collect();
        assert_eq!((ended.iter().filter(|ended| **ended).count(), events.ended, events.at), (1, 1, 117));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'd'), any::<u8>()], 0..200)) {
            let mut events = Events::default();
            let ended = stream.iter().filter(|byte| events.step(**byte)).count() as u64;
            prop_assert!(ended <= events.ended && events.ended <= stream.len() as u64);
            prop_assert_eq!(events.at, stream.len() as u64);
        }
    }
}
