//! Recordings: TOML to [`Recording`], with every mistake at its place.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::node::{Table, from_toml};
use super::reader::{Reader, item, join, tables};
use crate::diagnostic::{Diagnostic, Source};
use crate::dist::DistributionConfig;
use crate::http::{is_field_name, is_field_value};
use crate::recording::{Body, Chunk, Content, Ended, Exchange, Head, Recording, Route, VERSION};
use crate::unit::Duration;

/// Whether a text may be a recording: so that one is not written over anything else.
pub fn is_recording(text: &str) -> bool {
    from_toml(text).is_ok_and(|root| root.has("recording"))
}

/// Reads a recording.
///
/// # Errors
/// Everything that is wrong with it.
pub fn recording(source: &Arc<Source>) -> Result<Recording, Vec<Diagnostic>> {
    let mut reader = Reader::new(Some(source.clone()));
    let root = match from_toml(&source.text) {
        Ok(root) => root,
        Err(broken) => {
            for broken in broken {
                let message = format!("this is not TOML: {}", broken.message.replace('\n', ", "));
                reader.push(Diagnostic::error(message), "", broken.span);
            }
            return Err(reader.finish());
        }
    };
    let recording = read(&mut reader, &root);
    match recording {
        Some(recording) if !reader.has_errors() => Ok(recording),
        _ => Err(reader.finish()),
    }
}

const LISTS: &[&str] = &["route", "exchange"];

fn read(reader: &mut Reader, root: &Table) -> Option<Recording> {
    let (_, own) = root.split(|key| LISTS.contains(&key));
    let head: Option<HeadDraft> = reader.read_beside(&own, "", LISTS);
    if let Some(version) = head.as_ref().map(|head| head.recording)
        && version != VERSION
    {
        let message = format!("this is version {version} of the format, and this squall reads version {VERSION}");
        reader.error(&own, "", "recording", message);
    }
    let routes = tables(reader, root, "route");
    let routes = routes.iter().enumerate().filter_map(|(index, table)| route(reader, table, index)).collect();
    let exchanges = tables(reader, root, "exchange");
    if exchanges.is_empty() {
        reader.push(Diagnostic::error("a recording has at least one [[exchange]]"), "exchange", None);
    }
    let exchanges = exchanges.iter().enumerate().filter_map(|(index, table)| exchange(reader, table, index)).collect();
    let HeadDraft { recording: _, upstream, recorded, left_out } = head?;
    Some(Recording { head: Head { upstream, recorded, left_out }, routes, exchanges })
}

fn route(reader: &mut Reader, table: &Table, index: usize) -> Option<Route> {
    let path = item("route", table, index);
    let RouteDraft { method, path: of, samples, latency } = reader.read(table, &path)?;
    match latency.build() {
        Ok(latency) => Some(Route { method, path: of, samples, latency }),
        Err(misfit) => {
            let inner = table.node("latency").and_then(super::node::Node::as_table).unwrap_or(table);
            reader.error(inner, &join(&path, "latency"), misfit.field.unwrap_or_default(), misfit.message);
            None
        }
    }
}

fn exchange(reader: &mut Reader, table: &Table, index: usize) -> Option<Exchange> {
    let place = item("exchange", table, index);
    let draft: ExchangeDraft = reader.read(table, &place)?;
    if !is_field_name(draft.method.as_bytes()) {
        reader.error(table, &place, "method", "this is not an HTTP method");
    }
    if !(draft.path.starts_with('/') || draft.path == "*") {
        reader.error(table, &place, "path", "a path begins with `/`");
    }
    if !(200..=599).contains(&draft.status) {
        reader.error(table, &place, "status", "a status lies between 200 and 599");
    }
    for (key, fields) in [("fields", &draft.fields), ("trailers", &draft.trailers)] {
        for (n, (name, value)) in fields.iter().enumerate() {
            if !is_field_name(name.as_bytes()) || !is_field_value(value.as_bytes()) {
                reader.error(table, &place, key, format!("the field at {n}, {name:?}, can't stand in an HTTP message"));
            }
        }
    }
    let body = body(reader, table, &place, &draft);
    Some(Exchange {
        at: draft.at.0,
        host: draft.host,
        method: draft.method,
        path: draft.path,
        query: draft.query,
        request_fields: draft.request_fields,
        body,
        status: draft.status,
        fields: draft.fields,
        first: draft.first.0,
        chunks: draft.chunks.into_iter().map(|ChunkDraft(chunk)| chunk).collect(),
        trailers: draft.trailers,
        ended: draft.ended,
    })
}

fn body(reader: &mut Reader, table: &Table, place: &str, draft: &ExchangeDraft) -> Body {
    let given: Vec<&str> = ["body", "body_base64", "body_size"].into_iter().filter(|key| table.has(key)).collect();
    if let [_, second, ..] = given[..] {
        reader.error(table, place, second, format!("`{second}` does not go with `{}`", given[0]));
    }
    if table.has("body_sha256") && !table.has("body_size") {
        reader.error(table, place, "body_sha256", "`body_sha256` goes with `body_size`");
    }
    match (&draft.body, &draft.body_base64, draft.body_size) {
        (Some(text), _, _) => Body::Kept(text.clone().into_bytes().into()),
        (_, Some(text), _) => match STANDARD.decode(text) {
            Ok(bytes) => Body::Kept(bytes.into()),
            Err(error) => {
                reader.error(table, place, "body_base64", format!("this is not base64: {error}"));
                Body::None
            }
        },
        (_, _, Some(size)) => match &draft.body_sha256 {
            Some(digest) => Body::Digest(size, digest.to_ascii_lowercase()),
            None => Body::Size(size),
        },
        (None, None, None) => Body::None,
    }
}

/// A recording without its lists.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HeadDraft {
    recording: u64,
    upstream: Option<String>,
    recorded: Option<String>,
    #[serde(default)]
    left_out: Vec<String>,
}

/// `[[route]]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RouteDraft {
    method: String,
    path: String,
    samples: u64,
    latency: DistributionConfig,
}

/// `[[exchange]]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExchangeDraft {
    #[serde(default)]
    at: Duration,
    #[serde(default)]
    host: String,
    method: String,
    path: String,
    query: Option<String>,
    #[serde(default)]
    request_fields: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
    body_size: Option<u64>,
    body_sha256: Option<String>,
    status: u16,
    #[serde(default)]
    fields: Vec<(String, String)>,
    #[serde(default)]
    first: Duration,
    #[serde(default)]
    chunks: Vec<ChunkDraft>,
    #[serde(default)]
    trailers: Vec<(String, String)>,
    #[serde(default)]
    ended: Ended,
}

/// `["40ms", "text"]`, `["40ms", "dGV4dA==", "base64"]` or `["40ms", 4096]`
#[derive(Debug, JsonSchema)]
#[schemars(transparent)]
struct ChunkDraft(#[schemars(with = "Vec<serde_json::Value>")] Chunk);

impl<'de> Deserialize<'de> for ChunkDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ChunkDraft, D::Error> {
        deserializer.deserialize_seq(OfChunk).map(ChunkDraft)
    }
}

struct OfChunk;

impl<'de> Visitor<'de> for OfChunk {
    type Value = Chunk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a piece such as [\"40ms\", \"text\"], [\"40ms\", \"dGV4dA==\", \"base64\"] or [\"40ms\", 4096]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Chunk, A::Error> {
        let Some(Duration(after)) = list.next_element()? else { return Err(de::Error::invalid_length(0, &self)) };
        let Some(content) = list.next_element()? else { return Err(de::Error::invalid_length(1, &self)) };
        let encoding: Option<String> = list.next_element()?;
        if list.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(de::Error::invalid_length(4, &self));
        }
        let content = match (content, encoding.as_deref()) {
            (Written::Size(size), None) => Content::Size(size),
            (Written::Text(text), None) => Content::Bytes(text.into_bytes().into()),
            (Written::Text(text), Some("base64")) => {
                let bytes = STANDARD.decode(text).map_err(|error| de::Error::custom(format!("no base64: {error}")))?;
                Content::Bytes(bytes.into())
            }
            (_, Some(other)) => return Err(de::Error::custom(format!("`{other}` is no encoding: `base64` is one"))),
        };
        Ok(Chunk { after, content })
    }
}

/// What stands for a piece.
enum Written {
    Text(String),
    Size(u64),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_any(OfWritten)
    }
}

struct OfWritten;

impl Visitor<'_> for OfWritten {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or how many bytes it was")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Text(text.to_owned()))
    }
    fn visit_u64<E: de::Error>(self, size: u64) -> Result<Written, E> {
        Ok(Written::Size(size))
    }
}
