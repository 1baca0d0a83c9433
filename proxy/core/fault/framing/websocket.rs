//! WebSocket frames (RFC 6455, 5.2).

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fault) struct Frame {
    /// The last of its message.
    pub(in crate::fault) fin: bool,
    /// What it is: 0 goes on with a message, 1 and 2 begin one of text or bytes, 8 closes, 9 and 10 are ping and pong.
    pub(in crate::fault) opcode: u8,
    /// The first byte as it is: FIN, three reserved bits, opcode.
    first: u8,
    /// Where in the head its mask is; none: it has none.
    mask: Option<usize>,
    /// Bytes of the head.
    pub(in crate::fault) head: usize,
    /// Bytes behind it, below 2^63.
    pub(in crate::fault) payload: u64,
}

/// Why no frame can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fault) enum Unread {
    /// So many bytes are needed.
    Short(usize),
    /// A length of 2^63 or more: this is no frame.
    Wrong,
}

impl Frame {
    /// The frame that begins with these bytes.
    pub(in crate::fault) fn read(bytes: &[u8]) -> Result<Frame, Unread> {
        let [first, second, rest @ ..] = bytes else { return Err(Unread::Short(2)) };
        let long = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = (second & 0x80 != 0).then_some(2 + long);
        let head = 2 + long + if mask.is_some() { 4 } else { 0 };
        if bytes.len() < head {
            return Err(Unread::Short(head));
        }
        let payload = match rest.get(..long) {
            Some([]) | None => u64::from(second & 0x7F),
            Some(length) => length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if payload >> 63 != 0 {
            return Err(Unread::Wrong);
        }
        Ok(Frame { fin: first & 0x80 != 0, opcode: first & 0x0F, first: *first, mask, head, payload })
    }

    /// All of its bytes.
    pub(in crate::fault) fn len(&self) -> u64 {
        self.payload.saturating_add(self.head as u64)
    }

    /// Whether it carries a message, or part of one.
    pub(in crate::fault) fn is_data(&self) -> bool {
        self.opcode < 8
    }

    /// The same frame with the first `n` bytes of its payload; `whole` are its bytes.
    pub(in crate::fault) fn shortened(&self, whole: &[u8], n: usize) -> Vec<u8> {
        let mask = self.mask.and_then(|at| whole.get(at..at + 4));
        let payload = whole.get(self.head..).unwrap_or_default();
        write(self.first, mask, &payload[..n.min(payload.len())])
    }
}

/// A frame that closes, with a code and a reason of up to 123 bytes; masked as those of a client have to be.
pub(in crate::fault) fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    if let Some(mask) = mask {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    write(0x88, mask.as_ref().map(|mask| &mask[..]), &payload)
}

/// A frame of a payload that is masked already, if it is to be.
fn write(first: u8, mask: Option<&[u8]>, payload: &[u8]) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => frame.push(bit | short),
        (_, Ok(medium)) => {
            frame.push(bit | 126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(bit | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(mask.unwrap_or_default());
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let hello = Frame::read(b"\x81\x05Hello").unwrap();
        assert_eq!((hello.fin, hello.opcode, hello.head, hello.payload), (true, 1, 2, 5));
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let frame = Frame::read(masked).unwrap();
        assert_eq!((frame.head, frame.payload, frame.len()), (6, 5, 11));
        assert_eq!(frame.shortened(masked, 3), b"\x81\x83\x37\xfa\x21\x3d\x7f\x9f\x4d");
        assert_eq!(Frame::read(b"\x82\x7e\x01\x00").unwrap().payload, 256);
        assert_eq!(Frame::read(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00").unwrap().payload, 65_536);
        assert_eq!(Frame::read(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff").unwrap().len(), (1 << 63) + 9);
        assert_eq!(Frame::read(b"\x82\x7f\x80\0\0\0\0\0\0\0"), Err(Unread::Wrong));
        assert_eq!((Frame::read(b"\x82"), Frame::read(b"\x82\xfe")), (Err(Unread::Short(2)), Err(Unread::Short(8))));
    }

    #[test]
    fn a_close_carries_code_and_reason_and_a_client_masks_it() {
        assert_eq!(close(1001, "bye", None), b"\x88\x05\x03\xe9bye");
        assert_eq!(close(1001, "", Some([1, 2, 3, 4])), b"\x88\x82\x01\x02\x03\x04\x02\xeb");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(n in prop_oneof![0_usize..300, 65_530_usize..65_540], masked: bool) {
            let mask = masked.then_some(&[1, 2, 3, 4][..]);
            let bytes = write(0x82, mask, &vec![7; n]);
            let frame = Frame::read(&bytes).unwrap();
            prop_assert_eq!((frame.len(), frame.payload), (bytes.len() as u64, n as u64));
            prop_assert_eq!(frame.shortened(&bytes, usize::MAX), bytes);
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Err(Unread::Short(n)) = Frame::read(&bytes) {
                prop_assert!(n > bytes.len() && n <= 14);
            }
        }
    }
}
