//! Over random messages, random pieces and random bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::corpus::payloads;
use super::*;

/// Bytes in pieces that begin at these places.
fn split<'a>(bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[derive(Clone, Debug)]
struct Sent {
    message: Message,
    fields: Vec<(String, Vec<u8>)>,
    chunks: Option<Vec<usize>>,
    trailers: Vec<(String, Vec<u8>)>,
}

impl Sent {
    fn write(&self, out: &mut Vec<u8>) {
        let Message { method, target, host, body } = &self.message;
        out.extend(format!("{method} {target} HTTP/1.1\r\n").bytes());
        write_all(&self.fields, out);
        out.extend(format!("hOST: {host}\r\n").bytes());
        let Some(chunks) = &self.chunks else {
            out.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            return out.extend_from_slice(body);
        };
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        let mut rest = &body[..];
        for size in chunks.iter().copied().chain([usize::MAX]) {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            if !chunk.is_empty() {
                out.extend(format!("{:04X};x=\"y\"\r\n", chunk.len()).bytes());
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
            rest = after;
        }
        out.extend_from_slice(b"0\r\n");
        write_all(&self.trailers, out);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_all(fields: &[(String, Vec<u8>)], out: &mut Vec<u8>) {
    for (name, value) in fields {
        out.extend([name.as_bytes(), b":", value, b" \t\r\n"].concat());
    }
}

fn fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    // names that mean something to the codec have no digit in front
    let name = "[0-9][!#$%&'*+.^_`|~0-9A-Za-z-]{0,20}";
    let byte = prop_oneof![0x21..0x7F_u8, 0x80..=0xFF_u8, Just(b' '), Just(b'\t')];
    let value = vec(byte, 0..30).prop_map(|value| scan::trim(&value).to_vec());
    vec((name, value), 0..12)
}

fn message() -> impl Strategy<Value = Sent> {
    let method = prop_oneof![
        select(vec!["GET", "POST", "DELETE", "PATCH"]).prop_map(str::to_owned),
        "[A-Z!#$%&'*+.^_`|~-]{8,20}"
    ];
    let host = "[a-z0-9_~.-]{1,20}(:[0-9]{1,4})?";
    let target = "/[!$-~]{0,40}";
    let body = vec(any::<u8>(), 0..200);
    let chunks = proptest::option::of(vec(1..60_usize, 0..6));
    (method, host, target, fields(), body, chunks, fields()).prop_map(
        |(method, host, target, fields, body, chunks, trailers)| Sent {
            message: Message { method, target, host, body },
            fields,
            chunks,
            trailers,
        },
    )
}

proptest! {
    #[test]
    fn a_valid_message_passes_whole_whatever_the_pieces(messages in vec(message(), 1..4), at in vec(any::<Index>(), 0..12)) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.write(&mut bytes));
        let relayed = relay(&split(&bytes, &at));
        let expected: Vec<Message> = messages.iter().map(|sent| sent.message.clone()).collect();
        prop_assert_eq!(relayed.refused, None);
        prop_assert_eq!(&relayed.requests, &expected);
        prop_assert_eq!(relayed.left, 0);
        prop_assert_eq!(reader::read(&relayed.sent), expected);
        // what was written is what would be written again
        prop_assert_eq!(&relay(&[&relayed.sent]).sent, &relayed.sent);
        for (name, value) in messages.iter().flat_map(|sent| sent.fields.iter()) {
            let line = [name.as_bytes(), b": ", value, b"\r\n"].concat();
            prop_assert!(relayed.sent.windows(line.len()).any(|window| window == line));
        }
    }

    #[test]
    fn pieces_change_nothing(number in any::<Index>(), at in vec(any::<Index>(), 0..8)) {
        let payloads = payloads();
        let payload = &payloads[number.index(payloads.len())];
        let (whole, pieces) = (relay(&[payload]), relay(&split(payload, &at)));
        prop_assert_eq!((whole.sent, whole.requests, whole.refused), (pieces.sent, pieces.requests, pieces.refused));
    }

    /// Whatever a known trick becomes with bytes changed, what goes on has one reading.
    #[test]
    fn what_goes_on_can_be_read_in_one_way(
        number in any::<Index>(),
        changes in vec((any::<Index>(), select(b"\r\n\0 \t:;,0x5aGH\x0b\x7f\xff".to_vec()), 0..3_u8), 0..6),
        at in vec(any::<Index>(), 0..4),
    ) {
        let payloads = payloads();
        let mut payload = payloads[number.index(payloads.len())].clone();
        for (at, byte, how) in changes {
            let at = at.index(payload.len().max(1));
            match how {
                0 if at < payload.len() => payload[at] = byte,
                1 if at < payload.len() => { payload.remove(at); }
                _ => payload.insert(at.min(payload.len()), byte),
            }
        }
        let (whole, pieces) = (relay(&[&payload]), relay(&split(&payload, &at)));
        prop_assert_eq!((&whole.sent, &whole.refused), (&pieces.sent, &pieces.refused));
        prop_assert_eq!(reader::read(&whole.sent), whole.requests);
    }

    /// Nothing is taken that `httparse` refuses or reads otherwise.
    #[test]
    fn another_parser_agrees_on_what_is_taken(sent in message(), at in any::<Index>(), byte in any::<u8>()) {
        let mut bytes = Vec::new();
        sent.write(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let mut into = Request::default();
        if let Ok(Some(taken)) = request(&bytes, &mut Scan::default(), &Limits::default(), &mut into) {
            let mut room = [httparse::EMPTY_HEADER; 64];
            let mut other = httparse::Request::new(&mut room);
            prop_assert_eq!(other.parse(&bytes), Ok(httparse::Status::Complete(taken.used)));
            prop_assert_eq!(other.method, Some(into.method.as_str()));
            let host = |field: &&httparse::Header<'_>| !field.name.eq_ignore_ascii_case("host");
            let fields: Fields = other.headers.iter().filter(host).map(|field| (field.name, scan::trim(field.value))).collect();
            prop_assert_eq!(fields, into.fields);
        }
    }

    #[test]
    fn nothing_panics(garbage in vec(any::<u8>(), 0..300), start in "(GET / HTTP/1.1\r\nHost: a\r\n|HTTP/1.1 200 |)", at in vec(any::<Index>(), 0..4)) {
        let bytes = [start.as_bytes(), &garbage].concat();
        relay(&split(&bytes, &at));
        let (mut scan, mut into) = (Scan::default(), Response::default());
        for end in [bytes.len() / 3, bytes.len() / 2, bytes.len()] {
            if !matches!(response(&bytes[..end], &mut scan, &Limits::default(), &Method::GET, &mut into), Ok(None)) {
                break;
            }
        }
        for framing in [Framing::Chunked, Framing::Length(7), Framing::UntilClose] {
            let mut decoder = Decoder::new(framing, &Limits::default(), Side::Response);
            let mut rest = &garbage[..];
            while let Ok(piece) = decoder.decode(rest) {
                rest = match piece {
                    Piece::Data { skip, len } => { prop_assert!(len > 0); &rest[skip + len..] }
                    Piece::Skip(skip) => { prop_assert!(skip > 0); &rest[skip..] }
                    Piece::More => break,
                    Piece::End { used, .. } => { prop_assert!(used <= rest.len()); break }
                };
            }
        }
    }
}
