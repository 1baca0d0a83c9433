//! Heads of HTTP/2 (RFC 9113, 8) as squall's, and the other way round. The `h2` crate has taken them apart and refused what
//! breaks the rules for pseudo-headers, names and the fields that HTTP/2 has none of; the rest is looked at here.

use h2::ext::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, request, uri};
use squall_core::http::{Fields, Method, Request, Response, Scheme, StatusCode};

use super::ends::Length;
use super::h1::{self, Refusal};

/// Fields of a head; more are refused, as in HTTP/1.
const FIELDS: usize = 200;

/// Why a request is not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is malformed (RFC 9113, 8.1.1): its stream is reset.
    Malformed,
    /// It is answered so.
    Refused(Refusal),
}

const fn refused(status: StatusCode, why: &'static str) -> Wrong {
    Wrong::Refused(Refusal { status, why })
}

/// A request. `whole`: nothing follows its head.
pub(crate) fn request(head: request::Parts, whole: bool) -> Result<(Request, Length), Wrong> {
    let request::Parts { method, uri, headers, mut extensions, .. } = head;
    let protocol = extensions.remove::<Protocol>().map(|protocol| protocol.as_str().to_owned());
    let tunnel = method == Method::CONNECT && protocol.is_none();
    let scheme = if uri.scheme() == Some(&uri::Scheme::HTTPS) { Scheme::Https } else { Scheme::Http };
    let target = if tunnel { "" } else { uri.path_and_query().map_or("/", |target| target.as_str()) };
    let authority = authority(&uri, &headers, tunnel)?;
    if !h1::is_target(target.as_bytes()) || !(tunnel || target.starts_with('/') || target == "*") {
        return Err(Wrong::Malformed);
    }
    if target == "*" && method != Method::OPTIONS {
        return Err(Wrong::Malformed);
    }
    if headers.len() > FIELDS {
        return Err(refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many fields"));
    }
    let expects = headers.get_all("expect").iter().any(|what| !what.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expects {
        return Err(refused(StatusCode::EXPECTATION_FAILED, "an expectation other than 100-continue"));
    }
    let length = match content_length(&headers).map_err(|_| Wrong::Malformed)? {
        _ if method == Method::CONNECT => Length::None,
        None if whole => Length::None,
        None => Length::Open,
        Some(_) if whole => Length::Known(0),
        Some(n) => Length::Known(n),
    };
    let mut fields = fields(&headers);
    if fields.iter().any(|(name, value)| !is_plain(name, value)) {
        return Err(Wrong::Malformed);
    }
    fields.remove("host"); // the authority stands for it
    let target = target.to_owned();
    Ok((Request { method, scheme, authority, target, protocol, version: Version::HTTP_2, fields }, length))
}

/// The host that is asked for: `:authority`, or `Host`, which must not say something else (RFC 9113, 8.3.1).
fn authority(uri: &Uri, headers: &HeaderMap, tunnel: bool) -> Result<String, Wrong> {
    let mut hosts = headers.get_all("host").iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| Wrong::Malformed)).transpose()?;
    let named = uri.authority().map(uri::Authority::as_str);
    let same = named.zip(host).is_none_or(|(named, host)| named.eq_ignore_ascii_case(host));
    if !same || hosts.next().is_some() {
        return Err(Wrong::Malformed);
    }
    match named.or(host) {
        None if tunnel => Err(Wrong::Malformed),
        None => Err(refused(StatusCode::BAD_REQUEST, "neither :authority nor Host")),
        Some(authority) if !h1::is_authority(authority.as_bytes()) => Err(Wrong::Malformed),
        Some(_) if tunnel && uri.port().is_none() => {
            Err(refused(StatusCode::BAD_REQUEST, "the target of CONNECT is no host with a port"))
        }
        Some(authority) => Ok(authority.to_owned()),
    }
}

/// Whether no reader takes a field for something else: no white space around its value (RFC 9113, 8.2.1), and no name that one
/// who takes `_` for `-` holds for what frames a body.
fn is_plain(name: &[u8], value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let frames = [&b"content_length"[..], b"transfer_encoding", b"content-length", b"transfer-encoding"];
    let disguised = name.contains(&b'_') && {
        let plain: Vec<u8> = name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect();
        frames.contains(&&plain[..])
    };
    !disguised && !is_space(value.first()) && !is_space(value.last())
}

/// The one length that is written; none: there is none.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let wrong = Refusal { status: StatusCode::BAD_GATEWAY, why: "a Content-Length that is none" };
    let mut lengths = headers.get_all("content-length").iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let digits = first.as_bytes();
    if lengths.next().is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    length.map(Some).ok_or(wrong)
}

/// An answer to a request of this method. `whole`: nothing follows its head.
pub(crate) fn response(
    status: StatusCode,
    headers: &HeaderMap,
    method: &Method,
    whole: bool,
    into: &mut Response,
) -> Result<Length, Refusal> {
    into.clear();
    into.status = status;
    into.version = Version::HTTP_2;
    into.fields = fields(headers);
    let bodiless = *method == Method::HEAD || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    Ok(match content_length(headers)? {
        _ if bodiless => Length::None,
        _ if whole => Length::Known(0),
        Some(n) => Length::Known(n),
        None => Length::Open,
    })
}

/// The fields of a head or behind a body. Cookies that were sent in crumbs are one again (RFC 9113, 8.2.3).
pub(crate) fn fields(headers: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    let mut crumbs = headers.get_all("cookie").iter();
    let cookie = crumbs.next().map(|first| {
        crumbs.fold(first.as_bytes().to_vec(), |mut whole, crumb| {
            whole.extend_from_slice(b"; ");
            whole.extend_from_slice(crumb.as_bytes());
            whole
        })
    });
    for (name, value) in headers {
        match &cookie {
            Some(cookie) if name == "cookie" && !fields.has("cookie") => fields.push("cookie", cookie),
            Some(_) if name == "cookie" => {}
            _ => fields.push(name, value),
        }
    }
    fields
}

/// The head of a request for an upstream. `protocol`: it is an extended CONNECT (RFC 8441).
pub(crate) fn to_request(from: &Request, length: Length, protocol: Option<&str>) -> Result<http::Request<()>, Refusal> {
    let wrong = |_| Refusal { status: StatusCode::BAD_REQUEST, why: "a target that HTTP/2 can not carry" };
    let mut to = http::Request::new(());
    *to.method_mut() = if protocol.is_some() { Method::CONNECT } else { from.method.clone() };
    *to.version_mut() = if from.authority.is_empty() { Version::HTTP_11 } else { Version::HTTP_2 };
    let mut parts = uri::Parts::default();
    if !from.authority.is_empty() {
        parts.authority = Some(from.authority.parse().map_err(|error: uri::InvalidUri| wrong(error.into()))?);
    }
    if from.method != Method::CONNECT || protocol.is_some() {
        let target = if from.target.is_empty() { "/" } else { &from.target };
        parts.path_and_query = Some(target.parse().map_err(|error: uri::InvalidUri| wrong(error.into()))?);
        let scheme = if from.scheme == Scheme::Https { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
        parts.scheme = parts.authority.is_some().then_some(scheme);
    }
    *to.uri_mut() = Uri::from_parts(parts).map_err(|error| wrong(http::Error::from(error)))?;
    if let Some(protocol) = protocol {
        to.extensions_mut().insert(Protocol::from(protocol));
    }
    *to.headers_mut() = header_map(&from.fields, framed(length));
    Ok(to)
}

/// The head of an answer for a client.
pub(crate) fn to_response(from: &Response, length: Length) -> http::Response<()> {
    let mut to = http::Response::new(());
    *to.status_mut() = from.status;
    let bodiless = from.status.is_informational() || from.status == StatusCode::NO_CONTENT;
    let frame = match length {
        Length::None if bodiless => Frame::Nothing,
        Length::None => Frame::AsSaid,
        length => framed(length),
    };
    *to.headers_mut() = header_map(&from.fields, frame);
    to
}

/// What stands behind a body.
pub(crate) fn trailers(fields: &Fields) -> HeaderMap {
    header_map(fields, Frame::Nothing)
}

/// What a head says of its body's length.
#[derive(Clone, Copy)]
enum Frame {
    Nothing,
    AsSaid,
    Length(u64),
}

fn framed(length: Length) -> Frame {
    match length {
        Length::Known(n) => Frame::Length(n),
        _ => Frame::Nothing,
    }
}

/// Fields as HTTP/2 has them, without what is meant for the next hop of HTTP/1 only (RFC 9113, 8.2.2). What can't stand in a
/// field is left out.
fn header_map(fields: &Fields, frame: Frame) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    let mut said = false;
    for (name, value) in fields.iter() {
        let Ok(name) = HeaderName::from_bytes(name) else { continue };
        let value = match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "http2-settings"
            | "host" => continue,
            "te" if !fields.has_token("te", "trailers") || map.contains_key("te") => continue,
            "te" => Ok(HeaderValue::from_static("trailers")),
            "content-length" if said => continue,
            "content-length" => {
                said = true;
                match frame {
                    Frame::Nothing => continue,
                    Frame::AsSaid => HeaderValue::from_bytes(value),
                    Frame::Length(n) => Ok(HeaderValue::from(n)),
                }
            }
            other if fields.has_token("connection", other) => continue,
            _ => HeaderValue::from_bytes(value),
        };
        if let Ok(value) = value {
            let _too_many = map.try_append(name, value);
        }
    }
    if let (Frame::Length(n @ 1..), false) = (frame, said) {
        map.insert("content-length", HeaderValue::from(n));
    }
    map
}
