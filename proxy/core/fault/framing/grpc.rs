//! gRPC messages: a flag, a length of four bytes in network order, and as many bytes (gRPC over HTTP/2,
//! "Length-Prefixed-Message").

/// How far a stream of messages has been read.
#[derive(Clone, Debug, Default)]
pub(in crate::fault) struct Messages {
    /// Messages that have ended.
    pub(in crate::fault) ended: u64,
    /// Offset of the next byte.
    pub(in crate::fault) at: u64,
    /// The length, as far as it is read, behind the flag.
    head: u32,
    /// Bytes of the head so far.
    read: u8,
    /// Bytes of the message that are still to come, once its head is read.
    left: u32,
}

/// Bytes before a message.
const HEAD: u8 = 5;

impl Messages {
    /// Whether the next byte begins a message.
    pub(in crate::fault) fn is_between(&self) -> bool {
        self.read == 0
    }

    /// Takes bytes up to the end of a message, if they come to one. Returns how many.
    pub(in crate::fault) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut n = 0;
        while n < bytes.len() {
            n += self.take_some(&bytes[n..]);
            if self.read == HEAD && self.left == 0 {
                self.read = 0;
                self.head = 0;
                self.ended += 1;
                break;
            }
        }
        self.at += n as u64;
        n
    }

    fn take_some(&mut self, bytes: &[u8]) -> usize {
        if self.read < HEAD {
            let byte = bytes.first().copied().unwrap_or_default();
            self.head = if self.read == 0 { 0 } else { self.head << 8 | u32::from(byte) };
            self.read += 1;
            self.left = self.head;
            return 1;
        }
        let n = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.left);
        self.left -= n;
        n as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(n: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(n).unwrap_or(0).to_be_bytes());
        bytes.extend(vec![7; n]);
        bytes
    }

    /// Offsets behind which messages end, in reads of so many bytes.
    fn ends(stream: &[u8], read: usize) -> Vec<u64> {
        let (mut messages, mut ends) = (Messages::default(), Vec::new());
        for part in stream.chunks(read) {
            let mut rest = part;
            while !rest.is_empty() {
                let before = messages.ended;
                let n = messages.take(rest);
                rest = &rest[n..];
                if messages.ended > before {
                    ends.push(messages.at);
                }
            }
        }
        ends
    }

    #[test]
    fn messages_end_where_their_lengths_say() {
        let stream = [message(3), message(0), message(300)].concat();
        for read in [1, 2, 5, 8, 1000] {
            assert_eq!(ends(&stream, read), [8, 13, 318], "{read}");
        }
        assert_eq!(ends(&stream[..317], 1000), [8, 13]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_whatever_the_reads(stream in proptest::collection::vec(any::<u8>(), 0..300), small: bool, read in 1_usize..40) {
            let stream: Vec<u8> = stream.into_iter().map(|byte| if small { byte % 3 } else { byte }).collect();
            prop_assert_eq!(ends(&stream, read), ends(&stream, 1));
        }
    }
}
