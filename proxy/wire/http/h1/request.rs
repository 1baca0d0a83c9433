//! The head of a request.

use std::net::Ipv6Addr;

use squall_core::http::{Method, Request, Scheme, StatusCode, Version};

use super::head::{Part, VERSION, fields, minor_version, unexpected};
use super::scan::{line_end, target_end, token_end, trim};
use super::{Framing, Limits, Refusal, Scan, Side, Taken};

const SIDE: Side = Side::Request;

/// Parses the head of a request at the start of `buf`. None: more bytes are needed, and the next call gets the same `scan` and
/// `into`, and the same bytes with more behind them. When a head is whole, `scan` is ready for the next.
///
/// `into` is cleared first, but for its scheme, which the caller sets for each request: a target in absolute form changes it.
///
/// # Errors
/// What is no request, what can be read in more than one way and what is too large is refused at the first byte from which
/// this is certain, whatever the pieces in which it came.
pub(crate) fn request(
    buf: &[u8],
    scan: &mut Scan,
    limits: &Limits,
    into: &mut Request,
) -> Result<Option<Taken>, Refusal> {
    let text = &buf[..buf.len().min(limits.head)];
    if scan.is_new() {
        into.clear();
    }
    if !request_line(text, scan, limits, into)? || !request_fields(text, scan, limits, into)? {
        let is_too_large = text.len() == limits.head;
        return if is_too_large { Err(SIDE.too_large("the head is too large")) } else { Ok(None) };
    }
    let taken = conclude(scan, into)?;
    *scan = Scan::default();
    Ok(Some(taken))
}

/// Takes the first line, and an empty one before it (RFC 9112, 2.2 and 3). False: more bytes are needed.
fn request_line(text: &[u8], scan: &mut Scan, limits: &Limits, into: &mut Request) -> Result<bool, Refusal> {
    let Scan { place, named, .. } = scan;
    if place.part == Part::Start {
        match text {
            [] | [b'\r'] => return Ok(false),
            [b'\r', b'\n', ..] => place.line = 2,
            _ => {}
        }
        let start = place.line;
        place.enter(Part::Method, start);
    }
    if place.part == Part::Method {
        place.at = token_end(text, place.at);
        match text.get(place.at) {
            None => return Ok(false),
            Some(b' ') if place.at > place.line => {}
            Some(_) => return Err(SIDE.wrong("the method is no token, or nothing follows it")),
        }
        let method = Method::from_bytes(&text[place.line..place.at]);
        into.method = method.map_err(|_| SIDE.wrong("the method is no token"))?;
        let target = place.at + 1;
        place.enter(Part::Target, target);
    }
    if place.part == Part::Target {
        place.at = target_end(text, place.at);
        if place.at - place.mark > limits.target {
            return Err(SIDE.refusal(StatusCode::URI_TOO_LONG, "the target is too long"));
        }
        match text.get(place.at) {
            None => return Ok(false),
            Some(b' ') => {}
            Some(_) => return Err(SIDE.wrong("a byte that can't be in a target, or no version behind it")),
        }
        *named = take_target(&text[place.mark..place.at], into).map_err(|why| SIDE.wrong(why))?;
        let version = place.at + 1;
        place.enter(Part::Version, version);
    }
    if place.part != Part::Version {
        return Ok(true);
    }
    let Some(version) = minor_version(&text[place.mark..], SIDE)? else { return Ok(false) };
    place.at = place.mark + VERSION;
    match line_end(text, place.at) {
        None => return Ok(false),
        Some(true) => {}
        Some(false) => {
            return Err(SIDE.wrong(unexpected(text, place.at, "more than a version at the end of the line")));
        }
    }
    into.version = version;
    let next = place.at + 2;
    place.next_field(next);
    Ok(true)
}

/// Takes a target apart (RFC 9112, 3.2). Whether it names the authority itself: `Host` then says nothing.
fn take_target(target: &[u8], into: &mut Request) -> Result<bool, &'static str> {
    let Ok(target) = std::str::from_utf8(target) else { return Err("a byte that can't be in a target") };
    if into.method == Method::CONNECT {
        if !is_authority(target.as_bytes()) || host_end(target.as_bytes()) == Some(target.len()) {
            return Err("the target of CONNECT is no host with a port");
        }
        into.authority.push_str(target);
        return Ok(true);
    }
    if target.starts_with('/') {
        into.target.push_str(target);
        return Ok(false);
    }
    let is_options = into.method == Method::OPTIONS;
    if target == "*" && is_options {
        into.target.push('*');
        return Ok(false);
    }
    let Some((scheme, rest)) = target.split_once("://") else {
        return Err("the target is neither a path nor a URL");
    };
    into.scheme = match scheme {
        scheme if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
        scheme if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
        _ => return Err("the scheme of the target is neither http nor https"),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_authority(authority.as_bytes()) {
        return Err("the host of the target is none");
    }
    into.authority.push_str(authority);
    match path.as_bytes().first() {
        Some(b'/') => {}
        None if is_options => into.target.push('*'), // RFC 9112, 3.2.4
        _ => into.target.push('/'),
    }
    into.target.push_str(path);
    Ok(true)
}

fn request_fields(text: &[u8], scan: &mut Scan, limits: &Limits, into: &mut Request) -> Result<bool, Refusal> {
    let Scan { place, said, named } = scan;
    fields(text, place, SIDE, |name, raw| {
        said.count(limits, SIDE)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if std::mem::replace(&mut said.host, true) {
                    return Err(SIDE.wrong("more than one Host"));
                }
                return take_host(raw, *named, into);
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if into.version == Version::HTTP_10 {
                    return Ok(()); // RFC 9110, 10.1.1
                }
                if !trim(raw).eq_ignore_ascii_case(b"100-continue") {
                    return Err(SIDE.refusal(StatusCode::EXPECTATION_FAILED, "an expectation other than 100-continue"));
                }
                said.expects = true;
            }
            _ => said.take(name, raw, SIDE)?,
        }
        into.fields.push(name, trim(raw));
        Ok(())
    })
}

fn take_host(raw: &[u8], named: bool, into: &mut Request) -> Result<(), Refusal> {
    let host = trim(raw);
    if raw.contains(&b'\t') || !is_authority(host) {
        return Err(SIDE.wrong("a Host that is none"));
    }
    if !named {
        let host = std::str::from_utf8(host);
        into.authority.push_str(host.map_err(|_| SIDE.wrong("a Host that is none"))?);
    }
    Ok(())
}

/// Host and port as they may stand in a target or a field: a name of letters, digits, `-`, `.`, `_`, `~`, an IPv4 address, or
/// an IPv6 address in brackets; then perhaps a port. What RFC 3986 allows besides (userinfo, `%`-encoding, `,`, an empty host
/// or port) is read in more than one way.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    host_end(text).is_some_and(|end| end == text.len() || is_port(&text[end..]))
}

fn host_end(text: &[u8]) -> Option<usize> {
    if let Some(rest) = text.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']')?;
        let address = std::str::from_utf8(&rest[..end]).ok()?;
        return address.parse::<Ipv6Addr>().is_ok().then_some(end + 2);
    }
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let end = text.iter().position(|byte| !is_of_name(byte)).unwrap_or(text.len());
    (end > 0).then_some(end)
}

/// A colon, and a number up to 65535 in up to five digits.
fn is_port(text: &[u8]) -> bool {
    let Some(digits) = text.strip_prefix(b":") else { return false };
    let is_short = matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit);
    is_short && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
}

/// What all fields together say.
fn conclude(scan: &Scan, into: &Request) -> Result<Taken, Refusal> {
    let Scan { place, said, .. } = scan;
    let version = into.version;
    if version == Version::HTTP_11 && !said.host {
        return Err(SIDE.wrong("no Host"));
    }
    let framing = match said.framing(version, SIDE)? {
        Framing::UntilClose => Framing::None,
        framing => framing,
    };
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    if has_body && matches!(into.method, Method::CONNECT | Method::TRACE) {
        return Err(SIDE.wrong("a body where its method has none"));
    }
    Ok(Taken {
        used: place.at,
        framing,
        persists: said.persists(version),
        expects_continue: said.expects && has_body,
        upgrade: said.upgrades(version),
    })
}
