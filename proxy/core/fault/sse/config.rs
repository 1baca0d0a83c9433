//! The words of `sse`.

use bytes::Bytes as Buffer;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::words::check_headers;
use crate::fault::{End, Flow, Phase};
use crate::time::Time;
use crate::unit::{Bytes, Duration};

/// Acts on answers that are streams of server-sent events, and lets all others by. `after` whole events pass as they are;
/// comments that keep a connection alive are not counted. No event waits for its end to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Sse {
    pub(super) how: How,
    pub(super) after: u64,
    pub(super) bytes: u64,
    /// None: the stream goes on.
    pub(super) end: Option<End>,
    pub(super) keepalive: Option<Time>,
    /// With "omit": the member.
    pub(super) member: String,
    pub(super) text: Buffer,
    /// Events a second, above 0.
    pub(super) rate: f64,
    pub(super) content_type: String,
}

/// The fields of a fault on server-sent events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What happens.
    how: How,
    /// How many whole events pass before. Default 0.
    #[serde(default)]
    after: u64,
    /// With "cut": how many bytes of the next event still come; at the latest it is cut before the empty line that ends
    /// it. Default 16B.
    bytes: Option<Bytes>,
    /// With "truncate", "cut" and "error": how the stream ends. Default "complete", with "cut" "fin".
    end: Option<Ending>,
    /// With "stall": a comment is sent each time this has passed, so that a limit on silence never fires.
    keepalive: Option<Duration>,
    /// With "error": the event, its lines as they are sent. Default: an event `error` with a JSON object as data. With
    /// "stall" and `keepalive`: what is sent instead of the comment.
    text: Option<String>,
    /// With "omit": the name of a member, as in "arguments".
    member: Option<String>,
    /// With "pace": events a second, above 0 and up to 1000000.
    rate: Option<f64>,
    /// With "content_type": what the answer says it is instead. Default "text/html".
    content_type: Option<String>,
}

/// `how`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// The stream ends between two events.
    Truncate,
    /// It ends in the middle of an event.
    Cut,
    /// Nothing more comes, and nobody is told.
    Stall,
    /// An event is put in.
    Error,
    /// The next event's data lose their last byte: JSON that can't be read.
    Malformed,
    /// The text of a JSON member is missing, the first that is not empty: each event can be read, and the pieces of a tool
    /// call's arguments make no JSON together.
    Omit,
    /// Events come no faster than a rate.
    Pace,
    /// The answer says that it is something else.
    ContentType,
}

/// `end`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ending {
    /// As if the answer were whole.
    Complete,
    /// The connection is closed in the middle of the answer; HTTP/2: the stream is reset.
    Fin,
    /// The connection is reset; HTTP/2: the stream.
    Reset,
    /// Not at all ("error" only): the stream goes on behind the event.
    Never,
}

const ERROR: &str =
    "event: error\ndata: {\"error\":{\"type\":\"server_error\",\"message\":\"The server had an error\"}}";
/// A comment that keeps a connection alive (HTML Standard, 9.2.7).
const KEEPALIVE: &str = ": keepalive";
/// A longer event is no event.
const LONGEST_TEXT: usize = 64 << 10;

impl Kind for Sse {
    const NAME: &'static str = "sse";
    const ABOUT: &'static str = "Ends, stalls, paces or spoils streams of server-sent events";
    const EXAMPLE: &'static str = r#"[[fault]]
kind      = "sse"
proxy     = "redis"
how       = "stall"
after     = 5
keepalive = "1s"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const ONE_WAY: Option<&'static str> = Some("events are sent to clients");
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Sse;

    fn build(config: Config) -> Result<Sse, Misfit> {
        let Config { how, after, bytes, end, keepalive, text, member, rate, content_type } = config;
        let fits = [
            ("bytes", bytes.is_some(), how == How::Cut),
            ("end", end.is_some(), matches!(how, How::Truncate | How::Cut | How::Error)),
            ("keepalive", keepalive.is_some(), how == How::Stall),
            ("text", text.is_some(), how == How::Error || how == How::Stall && keepalive.is_some()),
            ("member", member.is_some(), how == How::Omit),
            ("rate", rate.is_some(), how == How::Pace),
            ("content_type", content_type.is_some(), how == How::ContentType),
            ("after", after > 0, how != How::ContentType),
        ];
        if let Some((field, ..)) = fits.into_iter().find(|(_, written, fits)| *written && !fits) {
            return Err(Misfit::new(field, format!("`{field}` says nothing with how = \"{}\"", how.word())));
        }
        if how == How::Pace && !rate.is_some_and(|rate| rate > 0.0 && rate <= 1e6) {
            return Err(Misfit::new("rate", "how = \"pace\" needs `rate`: events a second, above 0 and up to 1000000"));
        }
        if how == How::Omit && !member.as_ref().is_some_and(|name| is_plain(name)) {
            let message = "how = \"omit\" needs `member`: a name of up to 200 bytes, without quotes and backslashes";
            return Err(Misfit::new("member", message));
        }
        if keepalive.is_some_and(|keepalive| keepalive.0 == 0) {
            return Err(Misfit::new("keepalive", "`keepalive` must be above 0"));
        }
        if end == Some(Ending::Never) && how != How::Error {
            return Err(Misfit::new("end", "only behind an event that is put in does a stream go on"));
        }
        if text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT || text.trim().is_empty()) {
            return Err(Misfit::new("text", format!("`text` has from 1 to {LONGEST_TEXT} bytes")));
        }
        let content_type = content_type.unwrap_or_else(|| "text/html".into());
        check_headers("content_type", [(&"content-type".to_owned(), &content_type)])?;
        let usual = if how == How::Cut { Ending::Fin } else { Ending::Complete };
        let text = text.unwrap_or_else(|| if how == How::Stall { KEEPALIVE.into() } else { ERROR.into() });
        Ok(Sse {
            how,
            after,
            bytes: bytes.map_or(16, |bytes| bytes.0),
            end: end.unwrap_or(usual).end(),
            keepalive: keepalive.map(|keepalive| keepalive.0),
            member: member.unwrap_or_default(),
            text: format!("{}\n\n", text.trim_end_matches(['\r', '\n'])).into(),
            rate: rate.unwrap_or(1.0),
            content_type,
        })
    }

    fn summary(fault: &Sse) -> String {
        let after = match fault.after {
            0 => "at the beginning".to_owned(),
            1 => "after 1 event".to_owned(),
            n => format!("after {n} events"),
        };
        match fault.how {
            How::Truncate => format!("ends {after}"),
            How::Cut => format!("cut in the middle of an event, {after}"),
            How::Stall => {
                let sent = if fault.text.starts_with(b":") { "a comment" } else { "an event" };
                let alive = fault.keepalive.map(|every| format!(", {sent} every {}", Duration(every)));
                format!("stalls {after}{}", alive.unwrap_or_default())
            }
            How::Error => format!("an error event {after}"),
            How::Malformed => format!("malformed data {after}"),
            How::Omit => format!("no text in `{}`, {after}", fault.member),
            How::Pace => format!("{} events a second", fault.rate),
            How::ContentType => format!("says it is {}", fault.content_type),
        }
    }
}

/// A name that stands in JSON as it is written here.
fn is_plain(name: &str) -> bool {
    (1..=200).contains(&name.len()) && !name.bytes().any(|byte| matches!(byte, b'"' | b'\\') || byte.is_ascii_control())
}

impl How {
    /// As it is written.
    fn word(self) -> &'static str {
        match self {
            How::Truncate => "truncate",
            How::Cut => "cut",
            How::Stall => "stall",
            How::Error => "error",
            How::Malformed => "malformed",
            How::Omit => "omit",
            How::Pace => "pace",
            How::ContentType => "content_type",
        }
    }
}

impl Ending {
    fn end(self) -> Option<End> {
        match self {
            Ending::Complete => Some(End::Complete),
            Ending::Fin => Some(End::Fin),
            Ending::Reset => Some(End::Reset),
            Ending::Never => None,
        }
    }
}
