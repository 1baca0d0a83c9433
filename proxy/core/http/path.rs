//! Paths and queries in the one form in which rules and keys look at them.
//!
//! A path is normalised as RFC 3986, 6.2.2 says, and a step further where receivers agree with each other: whoever spells a
//! path in another way means the same resource to the upstream, and must mean the same one to a rule.

use std::borrow::Cow;

/// A path (without its query) in normal form:
/// - what follows a `#` is cut off;
/// - a percent-encoded character that may stand in a segment by itself stands by itself (unreserved ones by RFC 3986,
///   6.2.2.2; sub-delimiters, `:` and `@` because no server tells them apart), once: `%2561` stays as it is;
/// - everything else is percent-encoded, with capital digits. An encoded slash (`%2F`) stays what RFC 3986 says that it is:
///   a character of a segment;
/// - slashes in a row are one, then `.` and `..` segments are resolved, as nginx does.
///
/// `*` and the empty path of CONNECT stay as they are.
pub fn normal_path(path: &str) -> Cow<'_, str> {
    let path = path.split_once('#').map_or(path, |(path, _)| path);
    if is_normal(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    let spelled = spell(path.as_bytes());
    match spelled.starts_with('/') {
        true => Cow::Owned(resolve(&spelled)),
        false => Cow::Owned(spelled),
    }
}

/// The segments of a path in normal form.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// A text in the spelling of normal paths, its segments left as they are.
pub(crate) fn spell(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at).copied() {
        match (byte, escaped(&path[at..])) {
            (_, Some(byte)) => {
                if is_segment(byte) {
                    out.push(char::from(byte))
                } else {
                    encode(&mut out, byte)
                }
                at += 3;
                continue;
            }
            (byte, None) if is_segment(byte) || byte == b'/' => out.push(char::from(byte)),
            // a percent sign that encodes nothing, too: or the next round would take it for one that does
            (byte, None) => encode(&mut out, byte),
        }
        at += 1;
    }
    out
}

/// The parameters of a query, decoded: `+` is a space, and what is no UTF-8 becomes U+FFFD.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decoded(name), form_decoded(value))
    })
}

fn form_decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let text = text.as_bytes();
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at).copied() {
        match escaped(&text[at..]) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if byte == b'+' { b' ' } else { byte });
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn is_normal(path: &[u8]) -> bool {
    let mut before = 0;
    path.iter().all(|byte| {
        let fits = is_segment(*byte) || *byte == b'/';
        let structure = before == b'/' && matches!(byte, b'/' | b'.');
        before = *byte;
        fits && !structure
    })
}

/// RFC 3986, 5.2.4, on a path that begins with a slash.
fn resolve(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut open = false; // whether the last segment was one that leaves a slash at the end
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if open {
        out.push('/');
    }
    out
}

/// The character that a percent-encoding at the beginning stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn encode(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// `pchar` of RFC 3986, 3.3, without percent-encodings.
fn is_segment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_mean_the_same_become_the_same() {
        for (sent, normal) in [
            ("/v1/charges", "/v1/charges"),
            ("/v1/%63harges", "/v1/charges"),
            ("/v1/%2e%2E/v1//./charges", "/v1/charges"),
            ("/a/./b/../c", "/a/c"),
            ("/a//../b", "/b"),
            ("/../..", "/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("//", "/"),
            ("/a%2fb%2F", "/a%2Fb%2F"),
            ("/%2561", "/%2561"),
            ("/me%40example%2ecom;a=1", "/me@example.com;a=1"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/100%", "/100%25"),
            ("/%%341", "/%2541"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/healthz#top", "/healthz"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normal_path(sent), normal, "{sent}");
            assert_eq!(normal_path(normal), normal, "{sent}");
        }
    }

    #[test]
    fn what_is_normal_is_not_copied() {
        assert!(matches!(normal_path("/v1/charges/a-b_c.d~e"), Cow::Borrowed(_)));
    }

    #[test]
    fn parameters_are_decoded() {
        let all: Vec<_> = parameters("a=1&&b%20c=x+y%2B&d&e=%ff&=f").collect();
        let expected = [("a", "1"), ("b c", "x y+"), ("d", ""), ("e", "\u{fffd}"), ("", "f")];
        assert_eq!(all, expected.map(|(name, value)| (name.into(), value.into())));
    }

    proptest::proptest! {
        #[test]
        fn normal_form_is_a_fixed_point_without_dot_segments(path in "/[/.%a2eEfF5cC0~ \u{e9}]{0,24}") {
            let normal = normal_path(&path).into_owned();
            proptest::prop_assert_eq!(normal_path(&normal), normal.as_str());
            proptest::prop_assert!(!normal.contains("//") && segments(&normal).all(|segment| !matches!(segment, "." | "..")));
        }
    }
}
