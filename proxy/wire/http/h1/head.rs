//! The lines of a head, taken one after the other as they come in.

use super::said::Said;
use super::scan::{line_end, token_end, value_end};
use super::{Refusal, Side};

/// How far a head that has come in part has been looked at. New for each head; kept by the caller until it is whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scan {
    pub(super) place: Place,
    pub(super) said: Said,
    /// Whether the target named the authority.
    pub(super) named: bool,
}

impl Scan {
    pub(super) fn is_new(&self) -> bool {
        self.place.part == Part::Start
    }
}

/// Where in a head the next byte to look at is.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) part: Part,
    /// Where the line begins.
    pub(super) line: usize,
    /// Where the part begins; in a value, where the colon is.
    pub(super) mark: usize,
    /// Everything before this has been looked at.
    pub(super) at: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Part {
    #[default]
    Start,
    Method,
    Target,
    Version,
    Status,
    Reason,
    Name,
    Value,
}

impl Place {
    /// Goes on with a part that begins at `at`.
    pub(super) fn enter(&mut self, part: Part, at: usize) {
        (self.part, self.mark, self.at) = (part, at, at);
    }

    /// Goes on with a field's line.
    pub(super) fn next_field(&mut self, at: usize) {
        self.line = at;
        self.enter(Part::Name, at);
    }
}

/// Takes fields up to and with the empty line behind them: names, and values with the white space around them. False: more
/// bytes are needed.
pub(super) fn fields(
    text: &[u8],
    place: &mut Place,
    side: Side,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Refusal>,
) -> Result<bool, Refusal> {
    loop {
        if place.part == Part::Name {
            place.at = token_end(text, place.at);
            let is_empty = place.at == place.line;
            match text.get(place.at) {
                None => return Ok(false),
                Some(b':') if !is_empty => {
                    let colon = place.at;
                    place.enter(Part::Value, colon);
                }
                Some(b'\r') if is_empty => match line_end(text, place.at) {
                    None => return Ok(false),
                    Some(true) => {
                        place.at += 2;
                        return Ok(true);
                    }
                    Some(false) => return Err(side.wrong("a CR without LF")),
                },
                Some(b' ' | b'\t') if is_empty => return Err(side.wrong("a folded line, or space before a field")),
                Some(b' ' | b'\t') => return Err(side.wrong("space before the colon of a field")),
                Some(b':') => return Err(side.wrong("a field without a name")),
                Some(b'\n') => return Err(side.wrong("a line that ends with LF alone")),
                Some(_) => return Err(side.wrong("a field's name with a byte that can't be in one")),
            }
        }
        place.at = value_end(text, place.at);
        match line_end(text, place.at) {
            None => return Ok(false),
            Some(true) => {}
            Some(false) => {
                return Err(side.wrong(unexpected(text, place.at, "a field's value with a control character")));
            }
        }
        take(&text[place.line..place.mark], &text[place.mark + 1..place.at])?;
        let next = place.at + 2;
        place.next_field(next);
    }
}

/// What is wrong where a line did not end as it should.
pub(super) fn unexpected(text: &[u8], at: usize, otherwise: &'static str) -> &'static str {
    match text.get(at) {
        Some(b'\r') => "a CR without LF",
        Some(b'\n') => "a line that ends with LF alone",
        _ => otherwise,
    }
}

/// The minor version at the start of the text: `HTTP/1.0` or `HTTP/1.1`. None: more bytes are needed.
pub(super) fn minor_version(text: &[u8], side: Side) -> Result<Option<http::Version>, Refusal> {
    const START: &[u8] = b"HTTP/1.";
    match text {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', ..] => Ok(Some(http::Version::HTTP_11)),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', ..] => Ok(Some(http::Version::HTTP_10)),
        _ if START.starts_with(text) => Ok(None),
        _ => Err(side.wrong("a version that is neither HTTP/1.0 nor HTTP/1.1")),
    }
}

/// Bytes of a version.
pub(super) const VERSION: usize = 8;
