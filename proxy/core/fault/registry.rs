//! The list of kinds, and what is derived from it: parsing, schema, `squall faults`, the reference page, completions,
//! metric labels, the contract test.

use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

use crate::fault::{AnyFault, Carrier, Effect, Fault, Flow, Hooks, Phase};
use crate::parse::{COMMON, Reader, Table};

/// Names the kinds; each is `fault/<kind>.rs` with a type that implements [`Kind`].
macro_rules! faults {
    ($($file:ident :: $kind:ident),* $(,)?) => {
        /// All kinds, presets included.
        pub static KINDS: &[Entry] = &[$(Entry::of::<crate::fault::$file::$kind>()),*];
    };
}

faults![
    latency::Latency,
    pad::Pad,
    bandwidth::Bandwidth,
    cut::Cut,
    cut::Reset,
    cut::LimitData,
    blackhole::Blackhole,
    half_open::HalfOpen,
    slow_close::SlowClose,
    slicer::Slicer,
    partition::Partition,
    connect::Connect,
    connection_limit::ConnectionLimit,
    down::Down,
    corrupt::Corrupt,
    dns::Dns,
    loss::Loss,
    noop::Noop,
    tls::Tls,
    duplicate::Duplicate,
    truncate::Truncate,
    error::Error,
    rate_limit::RateLimit,
    drop_answer::DropAnswer,
    trickle::Trickle,
    sse::Sse,
    grpc::Grpc,
    websocket::WebSocket,
    http2::Http2,
    replace::Replace,
    patch::Patching,
    envoy_headers::EnvoyHeaders,
];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Entry> {
    KINDS.iter().find(|entry| entry.name == name)
}

/// What a kind's own file says about itself. A preset is a kind too: its own `Config`, another kind's fault.
pub trait Kind: 'static {
    /// The word in `kind = "…"`.
    const NAME: &'static str;
    /// One line.
    const ABOUT: &'static str;
    /// A complete `[[fault]]` table as TOML, with `proxy = "redis"`.
    const EXAMPLE: &'static str;
    /// The direction where none is written; none: both.
    const DIRECTION: Option<Flow>;
    /// Why it acts in [`Kind::DIRECTION`] only, and another one is refused; none: it may act in any.
    const ONE_WAY: Option<&'static str> = None;
    /// The phases of an HTTP exchange in which it may act, the first where none is written; none at all: on proxies that
    /// speak HTTP it acts on the connections beneath.
    const PHASES: &'static [Phase] = &[];
    /// What it acts on: decides which common fields it takes.
    const WHOM: Whom = Whom::Flows;
    /// The fields of the table that are the kind's own: `#[serde(deny_unknown_fields)]`, every field documented. The names
    /// of the common fields are taken: name, kind, proxy, direction, percentage, key, at, for, every, times, first, nth,
    /// each, min_hits, match, phase, layer, stealth.
    type Config: DeserializeOwned + JsonSchema;
    /// What it makes.
    type Makes: Fault;

    /// The fault, or what does not fit together.
    fn build(config: Self::Config) -> Result<Self::Makes, Misfit>;

    /// The fault in words for plan and report: `200ms ± 50ms normal`.
    fn summary(fault: &Self::Makes) -> String;
}

/// What a kind acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Directions of connections, or both.
    Flows,
    /// Whole connections: `direction` says nothing.
    Connections,
    /// Everybody who uses the proxy: nothing selects.
    Everybody,
}

impl Whom {
    /// In words that follow "it is".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Whom::Flows => "for directions of connections",
            Whom::Connections => "for whole connections",
            Whom::Everybody => "for everybody",
        }
    }

    /// The common fields that would say nothing.
    pub(crate) fn refuses(self) -> &'static [&'static str] {
        match self {
            Whom::Flows => &[],
            Whom::Connections => &["direction"],
            Whom::Everybody => &["direction", "percentage", "key", "first", "nth", "each"],
        }
    }
}

/// Why a table makes no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The field to point at, as written; none: the table.
    pub field: Option<&'static str>,
    /// The place, where serde knows it.
    pub span: Option<std::ops::Range<usize>>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Misfit {
    /// A field that does not fit the others.
    pub fn new(field: &'static str, message: impl Into<String>) -> Misfit {
        Misfit { field: Some(field), span: None, message: message.into() }
    }
}

impl From<toml::de::Error> for Misfit {
    fn from(error: toml::de::Error) -> Misfit {
        Misfit { field: None, span: error.span(), message: error.message().to_owned() }
    }
}

/// A [`Kind`] with its types erased.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// See [`Kind::NAME`].
    pub name: &'static str,
    /// See [`Kind::ABOUT`].
    pub about: &'static str,
    /// See [`Kind::EXAMPLE`].
    pub example: &'static str,
    /// See [`Kind::DIRECTION`].
    pub direction: Option<Flow>,
    /// See [`Kind::ONE_WAY`].
    pub one_way: Option<&'static str>,
    /// See [`Kind::PHASES`].
    pub phases: &'static [Phase],
    /// See [`Kind::WHOM`].
    pub whom: Whom,
    /// See [`Fault::EFFECT`].
    pub effect: Effect,
    /// See [`Fault::HOOKS`].
    pub hooks: Hooks,
    /// The schema of [`Kind::Config`].
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Reads the kind's own fields of a table of the language, with every mistake on record.
    pub(crate) read: fn(&mut Reader, &Table, &str) -> Option<Made>,
    /// Makes the fault from a table that holds only the kind's own fields.
    pub make: fn(Spanned<DeTable<'_>>) -> Result<Made, Misfit>,
}

impl Entry {
    /// The direction where none is written, in the language's word.
    pub fn direction_word(&self) -> &'static str {
        match self.direction {
            None => "both",
            Some(Flow::Upstream) => "upstream",
            Some(Flow::Downstream) => "downstream",
        }
    }

    /// What it acts on, as a sentence begins.
    pub fn whom_words(&self) -> String {
        match self.whom {
            Whom::Flows => format!("Direction: {}", self.direction_word()),
            whom => format!("It is {}", whom.words()),
        }
    }

    /// Whether it acts on nothing but HTTP exchanges.
    pub fn is_http_only(&self) -> bool {
        !self.hooks.serve(Carrier::Stream) && !self.hooks.serve(Carrier::Datagrams)
    }

    /// The protocols whose proxies it can act on.
    pub fn serves_words(&self) -> &'static str {
        let http = !self.phases.is_empty();
        match (self.hooks.serve(Carrier::Stream), self.hooks.serve(Carrier::Datagrams), http) {
            (true, true, true) => "TCP, UDP and HTTP",
            (true, true, false) => "TCP and UDP",
            (true, false, true) => "TCP and HTTP",
            (false, true, true) => "UDP and HTTP",
            (false, true, false) => "UDP",
            (false, false, _) => "HTTP",
            (true, false, false) => "TCP",
        }
    }

    /// The phases of an HTTP exchange in which it may act, as a sentence; none: it acts on connections alone.
    pub fn phases_words(&self) -> Option<String> {
        let (first, others) = self.phases.split_first()?;
        let others: Vec<_> = others.iter().map(|phase| format!("`{}`", phase.word())).collect();
        let others = if others.is_empty() { String::new() } else { format!(", or {}", others.join(", ")) };
        Some(format!("Phase: `{}`{others}", first.word()))
    }

    /// What it does to bytes, in words that follow "it".
    pub fn effect_words(&self) -> &'static str {
        match self.effect {
            Effect::Keeps => "keeps every byte, unless the connection ends early",
            Effect::Mutates => "changes bytes",
            Effect::Loses => "loses bytes: lifting it resets the connections that lost any",
        }
    }

    const fn of<K: Kind>() -> Entry {
        Entry {
            name: K::NAME,
            about: K::ABOUT,
            example: K::EXAMPLE,
            direction: K::DIRECTION,
            one_way: K::ONE_WAY,
            phases: K::PHASES,
            whom: K::WHOM,
            effect: K::Makes::EFFECT,
            hooks: K::Makes::HOOKS,
            schema: K::Config::json_schema,
            read: read::<K>,
            make: make::<K>,
        }
    }
}

/// A fault made from a table.
#[derive(Clone, Debug)]
pub struct Made {
    /// The fault.
    pub fault: Arc<dyn AnyFault>,
    /// In words.
    pub summary: String,
}

fn make<K: Kind>(table: Spanned<DeTable<'_>>) -> Result<Made, Misfit> {
    let config = K::Config::deserialize(toml::de::Deserializer::from(table))?;
    let fault = K::build(config)?;
    Ok(Made { summary: K::summary(&fault), fault: Arc::new(fault) })
}

fn read<K: Kind>(reader: &mut Reader, table: &Table, path: &str) -> Option<Made> {
    let config: K::Config = reader.read_beside(table, path, COMMON)?;
    match K::build(config) {
        Ok(fault) => Some(Made { summary: K::summary(&fault), fault: Arc::new(fault) }),
        Err(misfit) => {
            reader.error(table, path, misfit.field.unwrap_or_default(), misfit.message);
            None
        }
    }
}
