//! Bodies, taken out of what frames them.

use squall_core::http::Fields;

use super::head::{Part, Place, fields};
use super::said::Said;
use super::scan::trim;
use super::{Framing, Limits, Refusal, Side};

/// How many bytes of extensions the chunks of one body may have together: they are passed over and not on.
const EXTENSIONS: usize = 16 << 10;

/// How many digits a chunk's size may have.
const DIGITS: u8 = 16;

/// Decodes one body: hand it bytes, it says what they are.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    limits: Limits,
    side: Side,
    /// Bytes of extensions so far.
    extensions: usize,
}

#[derive(Debug)]
enum State {
    /// So many bytes of data, then nothing.
    Length(u64),
    /// Data as long as there is any.
    UntilClose,
    /// In a chunk's size: what it is so far, in how many digits.
    Size(u64, u8),
    /// Behind the semicolon that follows a chunk's size.
    Extension(u64),
    /// Before the LF behind a chunk's size.
    SizeEnd(u64),
    /// In a chunk: so many bytes are left.
    Chunk(u64),
    /// Before the CR, before the LF behind a chunk.
    ChunkCr,
    ChunkLf,
    Trailers(Box<Trailers>),
    Done,
}

#[derive(Debug, Default)]
struct Trailers {
    place: Place,
    said: Said,
    fields: Fields,
}

/// What the next bytes of a body are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Nothing can be said of them yet: they are to be shown again with more behind them. Only trailers need this, and at most
    /// [`Limits::head`] bytes; else there are no bytes at all.
    More,
    /// Framing in so many bytes, then at least one byte of data.
    Data {
        /// Bytes to pass over.
        skip: usize,
        /// Bytes of data behind them.
        len: usize,
    },
    /// Framing, in so many bytes.
    Skip(usize),
    /// The end of the body. What follows belongs to the next message.
    End {
        /// Bytes that still belong to the body: framing.
        used: usize,
        /// The trailers, if there are any.
        trailers: Option<Fields>,
    },
}

impl Decoder {
    /// For the body behind a head.
    pub(crate) fn new(framing: Framing, limits: &Limits, side: Side) -> Decoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size(0, 0),
            Framing::UntilClose => State::UntilClose,
        };
        Decoder { state, limits: *limits, side, extensions: 0 }
    }

    /// Whether the body has come to its end: what follows is no part of it.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The body has not: it is cut short.
    pub(crate) fn eof(&mut self) -> Result<(), Refusal> {
        if !matches!(self.state, State::UntilClose | State::Done) {
            return Err(self.side.wrong("the connection ended inside the body"));
        }
        self.state = State::Done;
        Ok(())
    }

    /// Says what the bytes at the start of `buf` are. What it has said so is behind it: the next call begins there.
    ///
    /// # Errors
    /// What is no chunk, in the strictest reading (RFC 9112, 7.1): hexadecimal digits alone, or with an extension in ASCII
    /// behind a semicolon; CR LF, and nothing else, behind it and behind the data.
    pub(crate) fn decode(&mut self, buf: &[u8]) -> Result<Piece, Refusal> {
        let mut at = 0;
        loop {
            match &mut self.state {
                State::Done => return Ok(Piece::End { used: at, trailers: None }),
                State::Trailers(_) => return self.decode_trailers(buf, at),
                _ => {}
            }
            let Some(byte) = buf.get(at) else { return Ok(if at == 0 { Piece::More } else { Piece::Skip(at) }) };
            match &mut self.state {
                State::UntilClose => return Ok(Piece::Data { skip: at, len: buf.len() - at }),
                State::Length(left) => {
                    let len = at_most(buf.len() - at, left);
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    return Ok(Piece::Data { skip: at, len });
                }
                State::Chunk(left) => {
                    let len = at_most(buf.len() - at, left);
                    if *left == 0 {
                        self.state = State::ChunkCr;
                    }
                    return Ok(Piece::Data { skip: at, len });
                }
                state => {
                    *state = framing_byte(state, *byte, &mut self.extensions).map_err(|why| self.side.wrong(why))?
                }
            }
            at += 1;
        }
    }

    fn decode_trailers(&mut self, buf: &[u8], at: usize) -> Result<Piece, Refusal> {
        let (limits, side) = (self.limits, self.side);
        let State::Trailers(trailers) = &mut self.state else { return Ok(Piece::Skip(at)) };
        let Trailers { place, said, fields: into } = &mut **trailers;
        let rest = &buf[at..];
        let text = &rest[..rest.len().min(limits.head)];
        let is_whole = fields(text, place, side, |name, raw| {
            said.count(&limits, side)?;
            if may_trail(name) {
                into.push(name, trim(raw));
            }
            Ok(())
        })?;
        if is_whole {
            let (used, into) = (at + place.at, std::mem::take(into));
            self.state = State::Done;
            return Ok(Piece::End { used, trailers: (!into.is_empty()).then_some(into) });
        }
        if text.len() == limits.head {
            return Err(side.too_large("the trailers are too large"));
        }
        Ok(if at == 0 { Piece::More } else { Piece::Skip(at) })
    }
}

/// Takes as much of what is left as there is.
fn at_most(there: usize, left: &mut u64) -> usize {
    let len = usize::try_from(*left).map_or(there, |left| left.min(there));
    *left -= len as u64;
    len
}

/// What comes after a byte of what frames a chunk.
fn framing_byte(state: &State, byte: u8, extensions: &mut usize) -> Result<State, &'static str> {
    match (state, byte) {
        (State::Size(size, digits), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
            if *digits == DIGITS {
                return Err("a chunk's size that is too large");
            }
            let digit = if byte.is_ascii_digit() { byte - b'0' } else { (byte | 0x20) - b'a' + 10 };
            Ok(State::Size(size << 4 | u64::from(digit), digits + 1))
        }
        (State::Size(..), b'\n') | (State::Extension(_), b'\n') => Err("a chunk's size that ends with LF alone"),
        (State::Size(_, 0), _) => Err("a chunk's size without a digit"),
        (State::Size(size, _), b'\r') | (State::Extension(size), b'\r') => Ok(State::SizeEnd(*size)),
        (State::Size(size, _), b';') => Ok(State::Extension(*size)),
        (State::Size(..), _) => Err("a chunk's size with a byte that is no digit"),
        (State::Extension(size), b' '..=b'~' | b'\t') => {
            *extensions += 1;
            if *extensions > EXTENSIONS { Err("too many chunk extensions") } else { Ok(State::Extension(*size)) }
        }
        (State::Extension(_), _) => Err("a chunk extension with a byte that can't be in one"),
        (State::SizeEnd(0), b'\n') => {
            let mut trailers = Box::<Trailers>::default();
            trailers.place.enter(Part::Name, 0);
            Ok(State::Trailers(trailers))
        }
        (State::SizeEnd(size), b'\n') => Ok(State::Chunk(*size)),
        (State::ChunkCr, b'\r') => Ok(State::ChunkLf),
        (State::ChunkLf, b'\n') => Ok(State::Size(0, 0)),
        (State::SizeEnd(_), _) => Err("a chunk's size that ends with CR alone"),
        _ => Err("a chunk whose data is not followed by CR LF"),
    }
}

/// Whether a field may stand behind a body: not one that frames or routes a message, says how to process it, who sends it
/// or when it holds (RFC 9110, 6.5.1).
pub(super) fn may_trail(name: &[u8]) -> bool {
    !NEVER_TRAIL.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
}

const NEVER_TRAIL: [&str; 42] = [
    "age",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];
