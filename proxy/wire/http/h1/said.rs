//! What the fields of a head say about its body and its connection.

use http::{StatusCode, Version};

use super::scan::{elements, is_token, trim};
use super::{Framing, Limits, Refusal, Side};

/// How many options the fields named Connection may have together: each is held against each field when they are passed on.
const OPTIONS: u32 = 64;

/// What was said so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    fields: usize,
    length: Option<u64>,
    chunked: bool,
    options: u32,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    /// Whether what Upgrade names can be carried; none: there is no such field.
    protocol: Option<bool>,
    /// Whether there was a Host.
    pub(super) host: bool,
    /// Whether there was an expectation.
    pub(super) expects: bool,
}

impl Said {
    /// Counts a field.
    pub(super) fn count(&mut self, limits: &Limits, side: Side) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > limits.fields { Err(side.too_large("too many fields")) } else { Ok(()) }
    }

    /// Takes a field into account; `raw` is its value with the white space around it.
    #[inline]
    pub(super) fn take(&mut self, name: &[u8], raw: &[u8], side: Side) -> Result<(), Refusal> {
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.take_upgrade(raw),
            10 if name.eq_ignore_ascii_case(b"connection") => return self.take_connection(raw, side),
            14 if is_like(name, b"content-length") => return self.take_length(name, raw, side),
            17 if is_like(name, b"transfer-encoding") => return self.take_coding(name, raw, side),
            _ => {}
        }
        Ok(())
    }

    /// Takes `h2c` for nothing: what follows would be requests that no rule sees, and RFC 9113 (3.1) has given it up.
    fn take_upgrade(&mut self, raw: &[u8]) {
        let carried = !elements(raw).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
        self.protocol = Some(self.protocol.unwrap_or(true) && carried);
    }

    fn take_connection(&mut self, raw: &[u8], side: Side) -> Result<(), Refusal> {
        for option in elements(raw) {
            self.options += 1;
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        if self.options > OPTIONS {
            return Err(side.too_large("too many options in Connection"));
        }
        Ok(())
    }

    fn take_length(&mut self, name: &[u8], raw: &[u8], side: Side) -> Result<(), Refusal> {
        is_plain(name, raw, side)?;
        let digits = trim(raw);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(side.wrong("a Content-Length that is no number"));
        }
        let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let Some(length) = length else { return Err(side.wrong("a Content-Length that is too large")) };
        if self.length.replace(length).is_some() {
            return Err(side.wrong("more than one Content-Length"));
        }
        Ok(())
    }

    fn take_coding(&mut self, name: &[u8], raw: &[u8], side: Side) -> Result<(), Refusal> {
        is_plain(name, raw, side)?;
        if self.chunked {
            return Err(side.wrong("more than one Transfer-Encoding"));
        }
        self.chunked = trim(raw).eq_ignore_ascii_case(b"chunked");
        if self.chunked {
            return Ok(());
        }
        if is_other_coding(raw) {
            return Err(side.refusal(StatusCode::NOT_IMPLEMENTED, "a Transfer-Encoding other than chunked"));
        }
        Err(side.wrong("a Transfer-Encoding that is not chunked"))
    }

    /// How the body is delimited; UntilClose: nothing is said of it.
    pub(super) fn framing(&self, version: Version, side: Side) -> Result<Framing, Refusal> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(side.wrong("both Content-Length and Transfer-Encoding")),
            (true, None) if version == Version::HTTP_10 => Err(side.wrong("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }

    /// Whether the connection may go on after the message (RFC 9112, 9.3).
    pub(super) fn persists(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }

    /// Whether it is about another protocol (RFC 9110, 7.8).
    pub(super) fn upgrades(&self, version: Version) -> bool {
        version == Version::HTTP_11 && self.upgrade && self.protocol == Some(true)
    }
}

/// The same name to a reader who takes `_` for `-`, as those who put fields into variables do.
fn is_like(name: &[u8], plain: &[u8]) -> bool {
    name.iter().zip(plain).all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
}

/// Of what frames the body, nothing but the plain spelling is taken.
fn is_plain(name: &[u8], raw: &[u8], side: Side) -> Result<(), Refusal> {
    if name.contains(&b'_') {
        return Err(side.wrong("a field that could be taken for Content-Length or Transfer-Encoding"));
    }
    if raw.contains(&b'\t') {
        return Err(side.wrong("a tab in Content-Length or Transfer-Encoding"));
    }
    Ok(())
}

/// Whether it is right but not supported: chunks last and once, other codings before them (RFC 9112, 6.1 and 6.3).
fn is_other_coding(raw: &[u8]) -> bool {
    let count = elements(raw).filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
    let last = elements(raw).last().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    let known = |coding: &[u8]| is_token(coding) && !coding.eq_ignore_ascii_case(b"identity");
    count == 1 && last && elements(raw).all(known)
}
