//! Keys of HTTP requests: what of a request stands for it in draws.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::path::{normal_path, parameters, segments};
use super::{Request, is_field_name};
use crate::draw;

/// A part of a request that identifies it in draws. Two requests with the same value are selected together, whatever
/// version they travel in, whatever case a field's name has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpKey {
    part: Part,
    word: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Header(String),
    Cookie(String),
    Query(String),
    Path(usize),
    TraceId,
}

impl HttpKey {
    /// What stands in draws for a request; none: it does not have the key.
    ///
    /// - `header:N`: the values of all fields of that name, joined by `, ` as a recipient may join them (RFC 9110, 5.3);
    ///   `header:host` is the host that is asked for, without case and port.
    /// - `cookie:N`: the value of the first cookie of that name (RFC 6265, 5.4), over all `cookie` fields.
    /// - `query:N`: the value of the first parameter of that name, decoded.
    /// - `path:N`: the nth segment, from 1, of the path in normal form; an empty one is none.
    /// - `trace-id`: the trace's id from `traceparent` (W3C Trace Context, 3.2.2), else `b3` or `x-b3-traceid` (B3
    ///   propagation), else `uber-trace-id` (Jaeger), the first that holds a valid one. A shorter id is filled up with
    ///   zeros, so that the same trace has the same key in each of these. `x-request-id` names a request, not a trace:
    ///   it is had as `header:x-request-id`.
    pub fn of(&self, request: &Request) -> Option<u64> {
        match &self.part {
            Part::Header(name) if name == "host" => host(request).map(|host| draw::hash(host.as_bytes())),
            Part::Header(name) => {
                let mut values = request.fields.values(name);
                let first = values.next()?;
                let all = values.fold(Cow::Borrowed(first), |mut all, value| {
                    all.to_mut().extend_from_slice(b", ");
                    all.to_mut().extend_from_slice(value);
                    all
                });
                Some(draw::hash(&all))
            }
            Part::Cookie(name) => cookie(request, name.as_bytes()).map(draw::hash),
            Part::Query(name) => {
                let mut all = parameters(request.query()?);
                all.find(|(other, _)| other == name).map(|(_, value)| draw::hash(value.as_bytes()))
            }
            Part::Path(n) => {
                let path = normal_path(request.path());
                let segment = segments(&path).nth(n - 1).filter(|segment| !segment.is_empty())?;
                Some(draw::hash(segment.as_bytes()))
            }
            Part::TraceId => trace_id(request).map(|id| draw::hash(&id.to_be_bytes())),
        }
    }
}

/// The host that is asked for, without case, port and a dot at its end; none: there is none.
pub(crate) fn host(request: &Request) -> Option<Cow<'_, str>> {
    let host = request.host();
    Some(plain_host(host)).filter(|host| !host.is_empty())
}

/// A host's or server's name without case and a dot at its end.
pub(crate) fn plain_host(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

fn cookie<'a>(request: &'a Request, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = request.fields.values("cookie").flat_map(|value| value.split(|byte| *byte == b';'));
    pairs
        .filter_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            (pair[..equals].trim_ascii() == name).then(|| pair[equals + 1..].trim_ascii())
        })
        .next()
}

fn trace_id(request: &Request) -> Option<u128> {
    let text = |name| request.fields.text(name).map(str::trim);
    // more than one traceparent is none (W3C Trace Context, 3.2)
    let parents = request.fields.values("traceparent").count();
    let parent = || text("traceparent").filter(|_| parents == 1).and_then(traceparent);
    // a lone `0`, `1` or `d` is a decision about sampling without a trace
    let b3 = || text("b3").and_then(|b3| b3_id(b3.split_once('-')?.0));
    let b3_many = || text("x-b3-traceid").and_then(b3_id);
    // trace:span:parent:flags, where the colons may be encoded
    let jaeger = || text("uber-trace-id").and_then(|text| hex(text.split([':', '%']).next()?, 1..=32));
    parent().or_else(b3).or_else(b3_many).or_else(jaeger)
}

/// version "-" trace-id "-" parent-id "-" flags, in small digits; later versions may say more.
fn traceparent(text: &str) -> Option<u128> {
    let mut parts = text.split('-');
    let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let more = parts.next().is_some();
    let digits = |text: &str, n| text.len() == n && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let sound = digits(version, 2) && digits(span, 16) && digits(flags, 2) && span != "0000000000000000";
    if !sound || version == "ff" || (version == "00" && more) || !digits(id, 32) {
        return None;
    }
    hex(id, 32..=32)
}

fn b3_id(text: &str) -> Option<u128> {
    matches!(text.len(), 16 | 32).then(|| hex(text, 16..=32)).flatten()
}

fn hex(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u128> {
    let sound = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|id| sound && *id != 0)
}

impl FromStr for HttpKey {
    type Err = String;

    fn from_str(word: &str) -> Result<HttpKey, String> {
        let name = |name: &str, what: &str| match is_field_name(name.as_bytes()) {
            true => Ok(name.to_owned()),
            false => Err(format!("{name:?} can't be the name of a {what}")),
        };
        let part = match word.split_once(':') {
            None if word == "trace-id" => Part::TraceId,
            Some(("header", text)) => Part::Header(name(text, "header")?.to_ascii_lowercase()),
            Some(("cookie", text)) => Part::Cookie(name(text, "cookie")?),
            Some(("query", text)) if !text.is_empty() => Part::Query(text.to_owned()),
            Some(("path", n)) => match n.parse::<u32>().ok().and_then(|n| usize::try_from(n).ok()) {
                Some(n @ 1..) => Part::Path(n),
                _ => return Err(format!("`{n}` is not the number of a segment, which counts from 1")),
            },
            _ => return Err(format!("`{word}` is none of {}", HttpKey::WORDS)),
        };
        Ok(HttpKey { part, word: word.to_owned() })
    }
}

impl HttpKey {
    /// The words that there are, for messages.
    pub const WORDS: &'static str = "`header:NAME`, `cookie:NAME`, `query:NAME`, `path:N` or `trace-id`";
}

/// The word as written.
impl fmt::Display for HttpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn request(target: &str, fields: &[(&str, &str)]) -> Request {
        Request {
            authority: "Api.Example.com:80".into(),
            target: target.into(),
            fields: fields.iter().copied().collect(),
            ..Request::default()
        }
    }

    fn unit(word: &str, request: &Request) -> Option<u64> {
        word.parse::<HttpKey>().unwrap().of(request)
    }

    #[test]
    fn each_part_is_found_and_an_absent_one_is_none() {
        let one =
            request("/v1/%74enants/7?q=a+b&q=c&e", &[("X-Tenant", "7"), ("Cookie", "a=1; s=x=y"), ("cookie", "b=2")]);
        let hash = |text: &str| Some(draw::hash(text.as_bytes()));
        for (word, value) in [
            ("header:x-tenant", hash("7")),
            ("header:X-TENANT", hash("7")),
            ("header:host", hash("api.example.com")),
            ("header:x", None),
            ("cookie:s", hash("x=y")),
            ("cookie:b", hash("2")),
            ("cookie:S", None),
            ("query:q", hash("a b")),
            ("query:e", hash("")),
            ("query:none", None),
            ("path:2", hash("tenants")),
            ("path:4", None),
            ("trace-id", None),
        ] {
            assert_eq!(unit(word, &one), value, "{word}");
            assert_eq!(word.parse::<HttpKey>().unwrap().to_string(), word);
        }
        assert_eq!(unit("path:1", &request("/", &[])), None);
        assert_eq!(unit("header:a", &request("/", &[("a", "1"), ("A", "2")])), hash("1, 2"));
    }

    #[test]
    fn a_trace_has_one_key_in_every_format() {
        const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{ID}-00f067aa0ba902b7-01");
        let key = |fields: &[(&str, &str)]| unit("trace-id", &request("/", fields));
        let expected = key(&[("traceparent", &parent)]);
        assert!(expected.is_some());
        assert_eq!(key(&[("b3", &format!("{ID}-e457b5a2e4d86bd1-1"))]), expected);
        assert_eq!(key(&[("X-B3-TraceId", &ID.to_uppercase())]), expected);
        assert_eq!(key(&[("uber-trace-id", &format!("{ID}:1:0:1"))]), expected);
        assert_eq!(key(&[("traceparent", "bad"), ("x-b3-traceid", ID)]), expected);
        assert_eq!(key(&[("traceparent", &format!("01-{ID}-00f067aa0ba902b7-01-more"))]), expected);
        // 64 bits, filled up or not
        let short = key(&[("x-b3-traceid", "a3ce929d0e0e4736")]);
        assert_eq!(key(&[("b3", "0000000000000000a3ce929d0e0e4736-e457b5a2e4d86bd1")]), short);
        assert_eq!(key(&[("uber-trace-id", "a3ce929d0e0e4736%3A1%3A0%3A1")]), short);
        assert!(short.is_some() && short != expected);
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-\u{e9}-00f067aa0ba902b7-01",
        ] {
            assert_eq!(key(&[("traceparent", wrong)]), None, "{wrong}");
        }
        assert_eq!(key(&[("b3", "0")]), None);
        assert_eq!(key(&[("traceparent", &parent), ("traceparent", &parent)]), None);
    }

    #[test]
    fn words_that_are_no_keys_are_refused() {
        for wrong in
            ["header:", "header:a b", "cookie:a=b", "query:", "path:0", "path:-1", "path:x", "trace", "client", "a:b"]
        {
            assert!(wrong.parse::<HttpKey>().is_err(), "{wrong}");
        }
    }
}
