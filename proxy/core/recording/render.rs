//! Recordings as text: what [`crate::parse::recording`] reads.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Body, Chunk, Content, Ended, Exchange, Fit, Head};
use crate::time::{MICRO, Time};
use crate::unit::Duration;

/// The version of the format.
pub const VERSION: u64 = 1;

const ABOUT: &str = "\
# A recording of squall: docs/recordings.md. Fields and secrets of known forms are redacted; look through it before you share it.
";

/// The text of a recording: routes with method, path, how many samples, and what was fitted to them; exchanges as
/// [`exchange`] gives them.
pub fn render(head: &Head, routes: &[(String, String, u64, Fit)], exchanges: &[String]) -> String {
    let mut out = String::from(ABOUT);
    // writing to a string does not fail
    let _ = write_head(&mut out, head);
    for (method, path, samples, fit) in routes {
        let _ = write_route(&mut out, method, path, *samples, fit);
    }
    exchanges.iter().for_each(|exchange| out.push_str(exchange));
    out
}

/// The text of one exchange.
pub fn exchange(exchange: &Exchange) -> String {
    let mut out = String::new();
    let _ = write_exchange(&mut out, exchange);
    out
}

fn write_head(out: &mut String, head: &Head) -> fmt::Result {
    writeln!(out, "recording = {VERSION}")?;
    optional(out, "upstream", head.upstream.as_deref())?;
    optional(out, "recorded", head.recorded.as_deref())?;
    if !head.left_out.is_empty() {
        let words: Vec<String> = head.left_out.iter().map(|words| quoted(words)).collect();
        writeln!(out, "left_out = [{}]", words.join(", "))?;
    }
    Ok(())
}

fn write_route(out: &mut String, method: &str, path: &str, samples: u64, fit: &Fit) -> fmt::Result {
    writeln!(out, "\n[[route]]\nmethod = {}\npath = {}", quoted(method), quoted(path))?;
    writeln!(out, "samples = {samples}\nlatency = {fit}")
}

fn write_exchange(out: &mut String, exchange: &Exchange) -> fmt::Result {
    writeln!(out, "\n[[exchange]]\nat = {}", time(exchange.at))?;
    optional(out, "host", Some(&*exchange.host).filter(|host| !host.is_empty()))?;
    writeln!(out, "method = {}\npath = {}", quoted(&exchange.method), quoted(&exchange.path))?;
    optional(out, "query", exchange.query.as_deref())?;
    fields(out, "request_fields", &exchange.request_fields)?;
    match &exchange.body {
        Body::None => {}
        Body::Kept(bytes) => match text(bytes) {
            Some(text) => writeln!(out, "body = {}", quoted(text))?,
            None => writeln!(out, "body_base64 = \"{}\"", STANDARD.encode(bytes))?,
        },
        Body::Digest(size, digest) => writeln!(out, "body_size = {size}\nbody_sha256 = {}", quoted(digest))?,
        Body::Size(size) => writeln!(out, "body_size = {size}")?,
    }
    writeln!(out, "status = {}", exchange.status)?;
    fields(out, "fields", &exchange.fields)?;
    writeln!(out, "first = {}", time(exchange.first))?;
    if !exchange.chunks.is_empty() {
        writeln!(out, "chunks = [")?;
        exchange.chunks.iter().try_for_each(|chunk| write_chunk(out, chunk))?;
        writeln!(out, "]")?;
    }
    fields(out, "trailers", &exchange.trailers)?;
    match exchange.ended {
        Ended::Whole => Ok(()),
        ended => writeln!(out, "ended = \"{}\"", ended.word()),
    }
}

fn write_chunk(out: &mut String, chunk: &Chunk) -> fmt::Result {
    let after = time(chunk.after);
    match &chunk.content {
        Content::Size(size) => writeln!(out, "  [{after}, {size}],"),
        Content::Bytes(bytes) => match text(bytes) {
            Some(text) => writeln!(out, "  [{after}, {}],", quoted(text)),
            None => writeln!(out, "  [{after}, \"{}\", \"base64\"],", STANDARD.encode(bytes)),
        },
    }
}

fn fields(out: &mut String, key: &str, fields: &[(String, String)]) -> fmt::Result {
    if fields.is_empty() {
        return Ok(());
    }
    writeln!(out, "{key} = [")?;
    for (name, value) in fields {
        writeln!(out, "  [{}, {}],", quoted(name), quoted(value))?;
    }
    writeln!(out, "]")
}

fn optional(out: &mut String, key: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(out, "{key} = {}", quoted(value)))
}

/// Whole µs, as the fits are.
fn time(ns: Time) -> String {
    format!("\"{}\"", Duration((ns + MICRO / 2) / MICRO * MICRO))
}

/// Bytes that people can read.
fn text(bytes: &Bytes) -> Option<&str> {
    let is_read = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(is_read))
}

/// A basic string of TOML. A `$` before a brace is escaped: a scenario that the text is put into would take it for a parameter.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' if rest.peek() == Some(&'{') => out.push_str("\\u0024"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
