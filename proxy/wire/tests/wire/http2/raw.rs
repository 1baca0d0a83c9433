//! A client of HTTP/2 that writes any frames, right or wrong (RFC 9113, 4 and 6; RFC 7541).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::support::connect;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

/// A frame that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

pub(crate) struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// Nothing is sent yet.
    pub(crate) fn silent(address: SocketAddr) -> Raw {
        Raw { stream: connect(address) }
    }

    /// Settings have gone both ways.
    pub(crate) fn open(address: SocketAddr, settings: &[(u16, u32)]) -> Raw {
        let mut raw = Raw::silent(address);
        raw.bytes(PREFACE);
        raw.settings(&[&[(1, 0)], settings].concat()); // without a dynamic table, heads can be read one by one
        while raw.next().expect("settings").flags & ACK == 0 {}
        raw.frame(SETTINGS, ACK, 0, &[]);
        raw
    }

    /// Sends bytes; a peer that has closed already is none of the sender's business.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes);
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.bytes(&frame(kind, flags, stream, payload));
    }

    pub(crate) fn settings(&mut self, settings: &[(u16, u32)]) {
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        self.frame(SETTINGS, 0, 0, &payload);
    }

    /// A head in one frame.
    pub(crate) fn head(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        self.frame(HEADERS, flags | END_HEADERS, stream, &block(fields));
    }

    /// A whole request.
    pub(crate) fn get(&mut self, stream: u32) {
        self.head(stream, END_STREAM, GET);
    }

    pub(crate) fn window(&mut self, stream: u32, more: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    }

    /// The next frame; none: the connection is closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on to a frame of this kind.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("closed before a frame of type {kind}"));
            if frame.kind == kind && !(kind == SETTINGS && frame.flags & ACK != 0) {
                return frame;
            }
        }
    }

    /// The answer on a stream: its whole body. Panics if the stream or the connection ends otherwise.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> (u16, Vec<u8>) {
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let frame = self.next().expect("closed instead of an answer");
            assert!(frame.kind != GOAWAY, "{frame:?}");
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS if status == 0 => status = status_of(&frame.payload),
                DATA => body.extend_from_slice(&frame.payload),
                RST_STREAM => panic!("reset with {}", frame.code()),
                _ => {}
            }
            if frame.ends_stream() {
                return (status, body);
            }
        }
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request for the root.
pub(crate) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")];
pub(crate) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")];

/// Fields as literals that nobody keeps (RFC 7541, 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(text.len(), 7, 0, &mut block);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// RFC 7541, 5.1.
pub(crate) fn integer(mut value: usize, prefix: u32, first: u8, into: &mut Vec<u8>) {
    let most = (1_usize << prefix) - 1;
    if value < most {
        return into.push(first | u8::try_from(value).unwrap());
    }
    into.push(first | u8::try_from(most).unwrap());
    value -= most;
    while value >= 128 {
        into.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    into.push(u8::try_from(value).unwrap());
}

/// The status at the start of a block: by its place in the static table (RFC 7541, A), else as a literal of three digits,
/// which may be coded by Huffman (B).
fn status_of(block: &[u8]) -> u16 {
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match *block {
        [0x20, ref rest @ ..] => status_of(rest),
        [first @ 0x88..=0x8e, ..] => STATIC[usize::from(first - 0x88)],
        [_, 3, a, b, c, ..] => std::str::from_utf8(&[a, b, c]).unwrap().parse().unwrap(),
        [_, length, ref rest @ ..] => {
            let bits: Vec<bool> = rest[..usize::from(length & 0x7F)]
                .iter()
                .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
                .collect();
            let mut at = 0;
            let take = |n: usize, at: &mut usize| {
                let value = bits[*at..*at + n].iter().fold(0, |sum, bit| sum << 1 | u16::from(*bit));
                *at += n;
                value
            };
            (0..3).fold(0, |sum, _| {
                let five = take(5, &mut at);
                // 0 to 2 have five bits, the other digits six: 3 is 011001
                let digit = if five < 3 { five } else { ((five << 1) | take(1, &mut at)) - 0b01_1001 + 3 };
                sum * 10 + digit
            })
        }
        _ => 0,
    }
}
