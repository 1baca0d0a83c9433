//! Patterns compiled for one subject: what is cut into segments where, and what is compared without case.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};

use super::Pattern;
use crate::http::{plain_host, spell};

/// What a pattern looks at. Names of fields are in small letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Path,
    Host,
    Sni,
    ContentType,
    GrpcService,
    GrpcMethod,
    Query(String),
    Header(String),
    ResponseHeader(String),
}

impl Subject {
    /// Between the segments that `*` stays within; none: the value is one segment.
    fn separator(&self) -> Option<char> {
        match self {
            Subject::Path => Some('/'),
            Subject::Host | Subject::Sni => Some('.'),
            _ => None,
        }
    }

    /// Whether values come without case, in small letters.
    fn without_case(&self) -> bool {
        matches!(self, Subject::Host | Subject::Sni | Subject::ContentType)
    }

    /// A written text as values are written.
    pub(super) fn spelled<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self {
            Subject::Path => Cow::Owned(spell(text.as_bytes())),
            Subject::Host | Subject::Sni => plain_host(text.trim_start_matches('[').trim_end_matches(']')),
            Subject::ContentType => Cow::Owned(text.to_ascii_lowercase()),
            _ => Cow::Borrowed(text),
        }
    }
}

/// A pattern, compiled.
#[derive(Clone, Debug)]
pub(super) enum Text {
    /// The very text.
    Exact(Box<str>),
    /// A path, and every path below it.
    Below(Box<str>),
    /// A regular expression over the whole value.
    Regex(Box<Regex>),
    /// Any value.
    Present,
    /// No value.
    Absent,
    /// Nothing: it does not compile, which the language refuses before.
    Nothing,
}

impl Text {
    pub(super) fn compile(subject: &Subject, pattern: &Pattern) -> Text {
        match pattern {
            Pattern::Exact(text) => Text::Exact(subject.spelled(text).into()),
            Pattern::Glob(text) if !text.contains('*') => Text::Exact(subject.spelled(text).into()),
            Pattern::Glob(text) => {
                let text = subject.spelled(text);
                match text.strip_suffix("/**") {
                    Some(above) if *subject == Subject::Path && !above.contains('*') => Text::Below(above.into()),
                    _ if subject.separator().is_none() && text.bytes().all(|byte| byte == b'*') => Text::Present,
                    _ => Text::compiled(build(&glob(&text, subject.separator()))),
                }
            }
            Pattern::Regex(text) => Text::compiled(whole(text, subject.without_case())),
            Pattern::Present => Text::Present,
            Pattern::Absent => Text::Absent,
        }
    }

    fn compiled(built: Result<Regex, regex::Error>) -> Text {
        built.map_or(Text::Nothing, |regex| Text::Regex(Box::new(regex)))
    }

    /// Whether it holds for one value.
    pub(super) fn takes(&self, value: &[u8]) -> bool {
        match self {
            Text::Exact(text) => text.as_bytes() == value,
            Text::Below(above) => {
                value.strip_prefix(above.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
            }
            Text::Regex(regex) => regex.is_match(&readable(value)),
            Text::Present => true,
            Text::Absent | Text::Nothing => false,
        }
    }
}

/// What a regular expression sees of a value: what is no UTF-8 stands as U+FFFD, or `.` would not match it.
pub(super) fn readable(value: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(value) {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// The whole segments that every path begins with that a pattern takes; none: nothing is certain.
pub(super) fn path_prefix(pattern: &Pattern) -> Option<String> {
    let certain = match pattern {
        Pattern::Glob(text) => spell(text.split_once('*')?.0.as_bytes()),
        Pattern::Regex(text) => certain_beginning(text)?,
        _ => return None,
    };
    certain.rfind('/').filter(|end| *end > 0).map(|end| certain[..end].to_owned())
}

/// What every text begins with that an expression takes; none: it can't be told.
pub(super) fn certain_beginning(expression: &str) -> Option<String> {
    let parsed = regex_syntax::parse(expression).ok()?;
    let beginnings = regex_syntax::hir::literal::Extractor::new().extract(&parsed);
    String::from_utf8(beginnings.longest_common_prefix()?.to_vec()).ok()
}

/// The whole labels that every name ends with that a glob takes.
pub(super) fn host_suffix(subject: &Subject, pattern: &Pattern) -> Option<String> {
    let Pattern::Glob(text) = pattern else { return None };
    let (_, certain) = text.rsplit_once('*')?;
    let (_, labels) = certain.split_once('.')?;
    Some(subject.spelled(labels).into_owned()).filter(|labels| !labels.is_empty())
}

/// The longest glob, bytes.
const LONGEST: usize = 4 << 10;

/// Refuses a glob that would not compile.
pub(crate) fn check_glob(text: &str) -> Result<(), String> {
    match text.len() {
        0..=LONGEST => Ok(()),
        long => Err(format!("a glob has at most {LONGEST} bytes, and this one {long}")),
    }
}

/// Refuses a regular expression that is wrong, or takes too much memory.
pub(super) fn check_regex(text: &str) -> Result<(), String> {
    // by itself first: what is written must not end the group that is put around it
    let built = build(text).and_then(|_| whole(text, true));
    built.map(drop).map_err(|error| format!("this regular expression is wrong: {error}"))
}

/// A written expression over the whole value, in which `.` is any character.
fn whole(text: &str, without_case: bool) -> Result<Regex, regex::Error> {
    let flags = if without_case { "si" } else { "s" };
    // a comment (flag x) would go on to the end of the line
    build(&format!(r"\A(?{flags}:{text})\z")).or_else(|_| build(&format!("\\A(?{flags}:{text}\n)\\z")))
}

fn build(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(1 << 20).build()
}

/// A glob as an expression over bytes. A segment `**` is any number of segments; within one it is any characters.
fn glob(text: &str, separator: Option<char>) -> String {
    let mut out = String::from(r"\A(?s-u:");
    let separator_text = separator.map(|separator| regex::escape(&separator.to_string())).unwrap_or_default();
    let mut segments: Vec<&str> = match separator {
        Some(separator) => text.split(separator).collect(),
        None => vec![text],
    };
    segments.dedup_by(|one, before| *one == "**" && *before == "**");
    let mut joined = true; // nothing stands before, or its separator does already
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        if *segment == "**" && last {
            out.push_str(&if joined { ".*".to_owned() } else { format!("(?:{separator_text}.*)?") });
            continue;
        }
        if !joined {
            out.push_str(&separator_text);
        }
        joined = *segment == "**";
        match *segment {
            "**" => out.push_str(&format!("(?:.*{separator_text})?")),
            "*" if separator.is_some() => out.push_str(&format!("[^{separator_text}]+")),
            _ => within(&mut out, segment, &separator_text),
        }
    }
    out.push_str(r")\z");
    out
}

fn within(out: &mut String, segment: &str, separator: &str) {
    for (at, part) in segment.split("**").enumerate() {
        if at > 0 {
            out.push_str(".*");
        }
        for (at, literal) in part.split('*').enumerate() {
            match (at, separator) {
                (0, _) => {}
                (_, "") => out.push_str(".*"),
                (_, separator) => out.push_str(&format!("[^{separator}]*")),
            }
            out.push_str(&format!("(?u:{})", regex::escape(literal)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(subject: &Subject, glob: &str, value: &str) -> bool {
        let text = Text::compile(subject, &Pattern::Glob(glob.into()));
        assert!(!matches!(text, Text::Nothing), "{glob}");
        text.takes(value.as_bytes())
    }

    #[test]
    fn globs_stay_within_segments() {
        for (glob, yes, no) in [
            ("/v1/**", &["/v1", "/v1/", "/v1/a", "/v1/a/b"][..], &["/v10", "/", "/v"][..]),
            ("/v1/*", &["/v1/a"], &["/v1", "/v1/", "/v1/a/b", "/v2/a"]),
            ("/v1/a*c", &["/v1/ac", "/v1/abc"], &["/v1/a/c", "/v1/abcd"]),
            ("/**/x", &["/x", "/a/x", "/a/b/x"], &["/ax", "/x/"]),
            ("/a/**/b", &["/a/b", "/a/c/b", "/a/c/d/b"], &["/ab", "/a/cb"]),
            ("/a/**/**", &["/a", "/a/b/c"], &["/ab"]),
            ("**", &["/", "/a", "*", ""], &[]),
            ("/**", &["/", "/a/b", ""], &["*"]),
            ("**/x", &["/x", "/a/x"], &["/ax"]),
            ("/s/**.js", &["/s/a.js", "/s/a/b.js"], &["/s/a.css"]),
            ("/a.b", &["/a.b"], &["/aXb"]),
            ("/%7Ea/*", &["/~a/b"], &["/%7Ea/b"]),
            ("/caf\u{e9}/*", &["/caf%C3%A9/x"], &[]),
        ] {
            yes.iter().for_each(|value| assert!(takes(&Subject::Path, glob, value), "{glob} {value}"));
            no.iter().for_each(|value| assert!(!takes(&Subject::Path, glob, value), "{glob} {value}"));
        }
        for (glob, yes, no) in [
            ("*.Example.com", &["a.example.com"][..], &["example.com", "a.b.example.com", ".example.com"][..]),
            ("**.example.com", &["example.com", "a.b.example.com"], &["anexample.com"]),
            ("api-*.a", &["api-1.a", "api-.a"], &["api-1.b.a"]),
            ("[::1]", &["::1"], &[]),
        ] {
            yes.iter().for_each(|value| assert!(takes(&Subject::Host, glob, value), "{glob} {value}"));
            no.iter().for_each(|value| assert!(!takes(&Subject::Host, glob, value), "{glob} {value}"));
        }
        let header = Subject::Header("x".into());
        assert!(takes(&header, "*", "") && takes(&header, "*", "a/b.c") && takes(&header, "a*c", "a/b.c"));
        assert!(takes(&header, "\u{e9}*", "\u{e9}a") && !takes(&header, "a*", "b"));
    }

    #[test]
    fn expressions_are_over_the_whole_value() {
        let regex = |text: &str, value: &str| {
            Text::compile(&Subject::Path, &Pattern::Regex(text.into())).takes(value.as_bytes())
        };
        assert!(regex("/a|/b", "/b") && !regex("/a|/b", "/bc") && !regex("a", "/a"));
        assert!(regex("(?x) /a # the first", "/a") && regex("/a.*", "/a\n") && regex("(?m)/a$", "/a"));
        assert!(!regex("(?m)/a$", "/a\nb"));
        assert!(
            check_regex("a)|(?:b").is_err() && check_regex("(?x) a # b").is_ok() && check_regex(r"\w{900}").is_err()
        );
        let host = Text::compile(&Subject::Host, &Pattern::Regex("API[.]a".into()));
        assert!(host.takes(b"api.a"));
        assert!(Text::compile(&Subject::Header("x".into()), &Pattern::Regex("a.".into())).takes(b"a\xff"));
    }

    #[test]
    fn what_a_value_begins_and_ends_with_is_found() {
        let glob = |text: &str| path_prefix(&Pattern::Glob(text.into()));
        let regex = |text: &str| path_prefix(&Pattern::Regex(text.into()));
        assert_eq!(glob("/v1/charges/**").as_deref(), Some("/v1/charges"));
        assert_eq!(glob("/v1/a*").as_deref(), Some("/v1"));
        assert_eq!((glob("/v1*"), glob("/*/a"), glob("**")), (None, None, None));
        assert_eq!(regex("/v1/orders/[0-9]+").as_deref(), Some("/v1/orders"));
        assert_eq!(regex("^/v1/(a|b)$").as_deref(), Some("/v1"));
        assert_eq!((regex("/v1/a|/v2/a"), regex(".*/v1/a"), regex("(?i)/v1/a")), (None, None, None));
        let suffix = |text: &str| host_suffix(&Subject::Host, &Pattern::Glob(text.into()));
        assert_eq!(suffix("*.Example.com").as_deref(), Some("example.com"));
        assert_eq!(suffix("api-*1.example.com").as_deref(), Some("example.com"));
        assert_eq!((suffix("a.*"), suffix("*com")), (None, None));
    }
}
