//! The tables of the language as they are written; the JSON Schema is derived from them.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};

use crate::config::Consent;
use crate::curve::Exposure;
use crate::matcher::MatchDraft;
use crate::plan::OnAbort;
use crate::scenario::{During, GuardAction, Metric, Phase, Protocol, Runbook};
use crate::select::Key;
use crate::tls::{Tls, UpstreamTls};
use crate::unit::{Bytes, Duration, Percentage};
use crate::way::{HttpWay, ProxyProtocol, Source, Transparent};
use crate::who::Role;

/// Fields of a scenario besides its lists and `[forecast]`.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// Name of the experiment; draws, ledger and metrics carry it.
    pub(crate) name: Name,
    /// One line for people.
    pub(crate) title: Option<String>,
    /// Who answers for it.
    pub(crate) owner: Option<String>,
    /// What is expected to hold.
    pub(crate) hypothesis: Option<String>,
    /// Where it may run.
    #[serde(default)]
    pub(crate) environments: Vec<Name>,
    /// Free words.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// What it teaches.
    pub(crate) teaches: Option<String>,
    /// How a client that is made well behaves under it.
    pub(crate) expected: Option<String>,
    /// Where the facts come from.
    pub(crate) source: Option<String>,
    /// When they were verified.
    pub(crate) verified_on: Option<Date>,
    /// For draws; left out, one is drawn and printed.
    pub(crate) seed: Option<u64>,
    /// Hard end, whatever happens.
    pub(crate) max_duration: Option<Duration>,
    /// Narrows `[safety]` for this experiment.
    pub(crate) max_percentage: Option<Percentage>,
    /// Narrows `[safety]` for this experiment.
    pub(crate) max_active_faults: Option<u64>,
    /// What becomes of held bytes on abort: `release` unless written.
    pub(crate) on_abort: Option<OnAbort>,
    /// Over how long what is held at the end is let go, up to 5 s: all at once unless written.
    pub(crate) release_over: Option<Duration>,
    /// Words for people.
    pub(crate) runbook: Option<Runbook>,
    /// Who must agree before it starts.
    pub(crate) approval: Option<Approval>,
}

/// `[approval]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    /// People who neither wrote nor start it.
    pub(crate) required: u32,
}

/// `[[parameter]]`: substituted for `${name}` in values, before checking.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParameterDraft {
    /// What `--set name=value` names.
    pub(crate) name: ParameterName,
    /// Used unless `--set` says otherwise.
    #[allow(dead_code)] // taken from the tree, with its type
    pub(crate) default: Scalar,
    /// One line for people.
    pub(crate) about: Option<String>,
}

/// `[[proxy]]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyDraft {
    /// Name, as faults refer to it.
    pub(crate) name: Name,
    /// `address:port`, `[v6]:port` or `unix:PATH`; port 0 takes a free one.
    pub(crate) listen: String,
    /// `host:port`, `unix:PATH`, `service:NAME` or `proxy:NAME`; `original`, where the client meant to go, on a
    /// transparent proxy.
    pub(crate) upstream: String,
    /// What it speaks: `tcp` unless written.
    pub(crate) protocol: Option<Protocol>,
    /// Connections at one moment.
    pub(crate) max_connections: Option<u64>,
    /// How long a connect to the upstream may take: 5 s unless written.
    pub(crate) connect_timeout: Option<Duration>,
    /// UDP: how long a client may be silent, both ways, before its association ends: 60 s unless written.
    pub(crate) idle_timeout: Option<Duration>,
    /// Its service level.
    pub(crate) slo: Option<Slo>,
    /// The node whose connections it carries, for faults between `groups` of nodes: what stands before `-to-` in the
    /// proxy's name unless written.
    pub(crate) from: Option<Name>,
    /// The node that it carries them to: what stands behind `-to-` in the name, or the whole name, unless written.
    pub(crate) to: Option<Name>,
    /// PROXY headers: taken from clients in some networks, sent to the upstream.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// Takes connections that the kernel redirects here; `upstream` is `original` then.
    pub(crate) transparent: Option<Transparent>,
    /// `client`: the upstream sees the client's address instead of squall's.
    pub(crate) source: Option<Source>,
    /// Mark of the packets to the upstream (SO_MARK), 1 to 4294967295.
    pub(crate) mark: Option<u32>,
    /// How HTTP goes on to the upstream.
    pub(crate) http: Option<HttpWay>,
    /// What becomes of the TLS that clients speak: bytes like any others unless written.
    pub(crate) tls: Option<Tls>,
    /// squall speaks TLS with the upstream.
    pub(crate) upstream_tls: Option<UpstreamTls>,
}

/// `slo`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slo {
    /// Share of requests that must be good.
    pub(crate) objective: Percentage,
    /// Over how long.
    pub(crate) window: Duration,
}

/// `[[service]]`: a test double.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceDraft {
    /// Name, as `service:NAME` refers to it.
    pub(crate) name: Name,
    /// What it does.
    pub(crate) kind: ServiceWord,
    /// `address:port`: a free port of 127.0.0.1 unless written.
    pub(crate) listen: Option<String>,
    /// What an http service answers.
    pub(crate) answers: Option<Answers>,
    /// What a banner service sends.
    pub(crate) text: Option<String>,
    /// Requests that an http service serves at one moment; more wait. Left out: all that come. What it has taken in it
    /// does to its end, whether or not the client still waits.
    pub(crate) capacity: Option<u64>,
    /// Requests that may wait, in order; what comes beyond is answered 503 at once: 1024 unless written.
    pub(crate) queue: Option<u64>,
    /// Whom an http service asks before it answers (GET /): `service:NAME` or `proxy:NAME`. The first who answers below
    /// 500 is enough; if nobody does, its own answer is 502.
    pub(crate) calls: Option<Vec<String>>,
    /// Attempts at each of them, at once after each other: 1 unless written.
    pub(crate) tries: Option<u32>,
    /// How long each attempt may take: 5 s unless written.
    pub(crate) timeout: Option<Duration>,
    /// The recording that a recording service plays: a file beside the scenario.
    pub(crate) file: Option<String>,
    /// Its text, where no file can be named.
    pub(crate) recording: Option<String>,
    /// When recorded answers come: as they were recorded unless written.
    pub(crate) timing: Option<crate::recording::Timing>,
    /// Whether only requests with the query and the body of a recorded one are answered: `false` unless written, and the
    /// nearest one will do.
    pub(crate) strict: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServiceWord {
    /// Answers every request.
    Http,
    /// Sends back what it gets.
    Echo,
    /// Sends a text on connect, then answers each line with it.
    Banner,
    /// Answers HTTP requests as a recording has it.
    Recording,
    /// Sends each datagram back.
    UdpEcho,
}

/// `answers`
#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answers {
    /// HTTP status: 200 unless written.
    pub(crate) status: Option<u16>,
    /// Length of the body: nothing unless written.
    pub(crate) size: Option<Bytes>,
    /// Time to the answer.
    pub(crate) latency: Option<crate::dist::DistributionConfig>,
}

/// Fields that every `[[fault]]` has.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultHead {
    /// Draws, ledger and metrics carry it: the kind or preset unless written.
    pub(crate) name: Option<Name>,
    /// What it does.
    #[allow(dead_code)] // looked up before, for the fields
    pub(crate) kind: Option<String>,
    /// A link by name in place of `kind`: several faults, by direction.
    #[allow(dead_code)] // looked up before
    pub(crate) preset: Option<String>,
    /// Proxies by name, globs allowed, or `host:NAME`.
    pub(crate) proxy: String,
    /// Towards the server, towards the client, or both; the default is the kind's.
    pub(crate) direction: Option<Direction>,
    /// Share of units: 100 unless written. May be a curve; with steps it is a ladder (`min_events` beside `hold`: 20).
    pub(crate) percentage: Option<Exposure>,
    /// What decides who is selected: `ordinal` unless written.
    pub(crate) key: Option<KeyWord>,
    /// When it begins, since the start: 0 unless written.
    pub(crate) at: Option<Duration>,
    /// How long it acts: to the end unless written.
    #[serde(rename = "for")]
    pub(crate) length: Option<Duration>,
    /// From opening to opening.
    pub(crate) every: Option<Duration>,
    /// How many openings.
    pub(crate) times: Option<u64>,
    /// Only the first n matching units.
    pub(crate) first: Option<u64>,
    /// Only the nth matching unit.
    pub(crate) nth: Option<u64>,
    /// Every nth matching unit.
    pub(crate) each: Option<u64>,
    /// Fewer hits make the run invalid: 1 unless written.
    pub(crate) min_hits: Option<u64>,
    /// Where in an HTTP exchange.
    pub(crate) phase: Option<Phase>,
    /// Whether it acts on HTTP exchanges or on the connections beneath, where its kind can do both: exchanges unless
    /// written.
    pub(crate) layer: Option<LayerWord>,
    /// The answers that it makes do not say so in a header: false unless written.
    pub(crate) stealth: Option<bool>,
    /// Which HTTP requests.
    #[serde(rename = "match")]
    pub(crate) matches: Option<MatchDraft>,
}

/// `layer`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LayerWord {
    /// HTTP exchanges.
    Http,
    /// Connections and their bytes.
    Bytes,
}

/// `direction`
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// Towards the server.
    Upstream,
    /// Towards the client.
    Downstream,
    /// Both.
    Both,
}

/// `[[guard]]`: ends or pauses the experiment by itself.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuardDraft {
    /// Unique: the metric, `burn` or `harm` unless written.
    pub(crate) name: Option<Label>,
    /// What it watches.
    pub(crate) metric: Option<Metric>,
    /// Fires above this.
    #[allow(dead_code)] // read with the metric's unit
    pub(crate) above: Option<Scalar>,
    /// Fires below this.
    #[allow(dead_code)]
    pub(crate) below: Option<Scalar>,
    /// Burn rate of the proxy's slo: `"14x"`.
    pub(crate) burn: Option<Burn>,
    /// Bad requests allowed.
    pub(crate) harm: Option<u64>,
    /// The proxy it watches: the workload's target unless written, else those that the faults name.
    pub(crate) proxy: Option<String>,
    /// How long the condition must hold: 0 s unless written.
    #[serde(rename = "for")]
    pub(crate) hold: Option<Duration>,
    /// What it does: `abort` unless written.
    pub(crate) action: Option<GuardAction>,
    /// Over how much of the past a metric is taken: 10 s unless written.
    pub(crate) over: Option<Duration>,
    /// Fewer events in `over`: no opinion; 20 unless written.
    pub(crate) min_events: Option<u64>,
}

/// `[[before]]`: what must hold before anything is injected.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeforeDraft {
    /// What is watched.
    pub(crate) metric: Option<Metric>,
    /// Holds below this.
    #[allow(dead_code)] // read with the metric's unit
    pub(crate) below: Option<Scalar>,
    /// Holds above this.
    #[allow(dead_code)]
    pub(crate) above: Option<Scalar>,
    /// The proxy: the workload's target unless written, else those that the faults name.
    pub(crate) proxy: Option<String>,
    /// How long it is watched: 5 s unless written.
    #[serde(rename = "for")]
    pub(crate) watched: Option<Duration>,
    /// Instead of a metric: the probe that must pass.
    pub(crate) probe: Option<Label>,
}

/// `[[step]]`: something that a person does; the timeline waits for it.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepDraft {
    /// Unique.
    pub(crate) name: Label,
    /// When it is asked for, since the start.
    pub(crate) at: Duration,
    /// What the person is to do.
    pub(crate) manual: String,
    /// How long it is waited for until `squall mark step`: 5 m unless written.
    pub(crate) within: Option<Duration>,
}

/// `[[expect]]`: decides the verdict.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectDraft {
    /// What.
    pub(crate) metric: Metric,
    /// Passes below this.
    #[allow(dead_code)]
    pub(crate) below: Option<Scalar>,
    /// Passes above this.
    #[allow(dead_code)]
    pub(crate) above: Option<Scalar>,
    /// When: `faults` unless written.
    pub(crate) during: Option<During>,
    /// The proxy: the workload's target unless written, else those that the faults name.
    pub(crate) proxy: Option<String>,
}

/// `[forecast]`: a bet, scored in the report: low and high per metric.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForecastDraft {
    /// The proxy: the workload's target unless written, else those that the faults name.
    pub(crate) proxy: Option<String>,
    /// Share of requests that failed.
    pub(crate) error_rate: Option<[Percentage; 2]>,
    /// Share of connections that failed.
    pub(crate) connection_error_rate: Option<[Percentage; 2]>,
    /// Latency.
    pub(crate) p50: Option<[Duration; 2]>,
    /// Latency.
    pub(crate) p90: Option<[Duration; 2]>,
    /// Latency.
    pub(crate) p95: Option<[Duration; 2]>,
    /// Latency.
    pub(crate) p99: Option<[Duration; 2]>,
    /// Latency.
    #[serde(rename = "p99.9")]
    pub(crate) p999: Option<[Duration; 2]>,
    /// Answers per second.
    pub(crate) throughput: Option<[f64; 2]>,
    /// Connections open.
    pub(crate) active_connections: Option<[f64; 2]>,
    /// Time back to the baseline.
    pub(crate) recovery: Option<[Duration; 2]>,
}

/// Fields of a configuration besides its proxies.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigHead {
    /// What this host is; a scenario names where it may run.
    pub(crate) environment: Option<Name>,
    /// The control port.
    pub(crate) control: Option<ControlDraft>,
    /// Who did what.
    pub(crate) audit: Option<AuditDraft>,
    /// Who is told of starts, guards, aborts, verdicts and the lever.
    pub(crate) notify: Option<NotifyDraft>,
    /// Health and metrics only.
    pub(crate) metrics: Option<MetricsDraft>,
    /// Limits.
    pub(crate) safety: Option<SafetyDraft>,
}

/// `[control]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlDraft {
    /// `address:port` or `unix:PATH`.
    pub(crate) listen: Option<String>,
    /// Where the Toxiproxy-compatible API listens.
    pub(crate) toxiproxy: Option<String>,
    /// It may listen where other machines reach it, although it has no tokens.
    #[serde(default)]
    pub(crate) toxiproxy_open: bool,
    /// Directory for audit log and runs, relative to this file.
    pub(crate) state: Option<String>,
    /// Token file, relative to this file.
    pub(crate) tokens: Option<String>,
    /// It speaks TLS; with `client_ca` it knows people by their certificates.
    pub(crate) tls: Option<ControlTlsDraft>,
    /// Names besides localhost and the listening address that the Host header may carry.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
}

/// `[control] tls`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlTlsDraft {
    /// Its certificate and chain, PEM, relative to this file.
    pub(crate) cert: String,
    /// The key, PEM, relative to this file.
    pub(crate) key: String,
    /// Who vouches for clients, PEM, relative to this file.
    pub(crate) client_ca: Option<String>,
    /// What whoever has this name in their certificate may do: an address of mail, a DNS name or a URI, and a role.
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, Role>,
    /// Names by group, for approvals by group.
    #[serde(default)]
    pub(crate) groups: BTreeMap<String, Vec<String>>,
}

/// `[audit]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditDraft {
    /// A file, relative to this one; `stdout`; or `http://host:port/path`. Else `audit.log` in the state directory.
    pub(crate) to: Option<String>,
    /// Whose log it is, in checkpoints: the host's name unless written.
    pub(crate) origin: Option<String>,
    /// A file of at least 32 bytes that checkpoints are signed with (HMAC-SHA256), relative to this file.
    pub(crate) key: Option<String>,
}

/// `[notify]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotifyDraft {
    /// `http://host:port/path`: a POST for each start, guard, abort, verdict and turn of the lever.
    pub(crate) webhook: String,
    /// A file of at least 32 bytes that each body is signed with (HMAC-SHA256), relative to this file.
    pub(crate) secret: Option<String>,
}

/// `[metrics]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsDraft {
    /// `address:port`
    pub(crate) listen: String,
}

/// `[safety]`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SafetyDraft {
    /// Networks, addresses and `host:port` globs; addresses are held against the resolved address.
    pub(crate) allow_upstreams: Option<Vec<String>>,
    /// Always wins.
    pub(crate) deny_upstreams: Option<Vec<String>>,
    /// Paths that no fault touches.
    pub(crate) never_fault: Option<Vec<String>>,
    /// The largest share that a fault may select.
    pub(crate) max_percentage: Option<Percentage>,
    /// Connections or requests held or changed at one moment.
    pub(crate) max_active_faults: Option<u64>,
    /// An experiment whose starter falls silent this long ends by itself: 10 s unless written.
    pub(crate) lease: Option<Duration>,
    /// Absolute paths that exec probes may run.
    pub(crate) allow_exec: Option<Vec<String>>,
    /// `host:port` tried before every start: reachable means not isolated.
    pub(crate) must_not_reach: Option<Vec<String>>,
    /// Who has to approve, by environment: so many people, or one of each of these groups.
    pub(crate) approvals: Option<BTreeMap<String, Consent>>,
    /// Experiments that may run at one moment: 4 unless written.
    pub(crate) max_experiments: Option<u64>,
    /// A file with the name of the environment, which only root can write: nothing starts unless it says the same.
    pub(crate) environment_file: Option<std::path::PathBuf>,
    /// Hours of the week in one of which a run lies as a whole: any time unless written.
    pub(crate) windows: Option<Vec<HoursDraft>>,
    /// Stretches of time in which nothing runs.
    pub(crate) blackouts: Option<Vec<BlackoutDraft>>,
}

/// `windows`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoursDraft {
    /// "mon" to "sun": every day unless written.
    pub(crate) days: Option<Vec<DayWord>>,
    /// Time of day, as in "09:00".
    pub(crate) from: Clock,
    /// Time of day; not after `from`, it is on the next day.
    pub(crate) to: Clock,
    /// "Z" or east of Greenwich as in "+01:00": "Z" unless written. Summer time does not move it.
    pub(crate) zone: Option<Zone>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub(crate) enum DayWord {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// `blackouts`
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlackoutDraft {
    /// RFC 3339, as in "2026-12-20T00:00:00Z".
    pub(crate) from: Stamp,
    /// RFC 3339.
    pub(crate) to: Stamp,
    /// Why; whoever is refused is told.
    pub(crate) reason: Option<Label>,
}

/// A text with rules of its own.
macro_rules! text {
    ($(#[$about:meta])* $type:ident, $pattern:literal, $expected:literal, $check:expr) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct $type(pub(crate) String);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    return Ok($type(text));
                }
                Err(de::Error::invalid_value(de::Unexpected::Str(&text), &$expected))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expected, "pattern": $pattern })
            }
        }
    };
}

text!(
    /// A name of the language.
    Name,
    r"^[a-z0-9][a-z0-9-]{0,62}$|^\$\{",
    "a name of at most 63 small letters, digits and `-`, not `-` first",
    is_name
);
text!(
    /// A free name.
    Label,
    r"^.{1,80}$",
    "a name of 1 to 80 characters",
    |text| (1..=80).contains(&text.chars().count()) && !text.chars().any(char::is_control)
);
text!(
    /// A parameter's name.
    ParameterName,
    r"^[a-z0-9][a-z0-9_-]{0,62}$",
    "a name of at most 63 small letters, digits, `-` and `_`",
    |text| is_name(&text.replace('_', "-"))
);
text!(
    /// A day.
    Date,
    r"^\d{4}-\d{2}-\d{2}",
    "a date such as 2026-11-22",
    |text| text.len() >= 10 && text.char_indices().take(10).all(|(at, c)| if at == 4 || at == 7 { c == '-' } else { c.is_ascii_digit() })
);

text!(
    /// A time of day.
    Clock,
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$",
    "a time of day such as \"09:00\"",
    |text| crate::calendar::minutes(text).is_some()
);
text!(
    /// An offset from Greenwich.
    Zone,
    r"^Z$|^[+-][0-9]{2}:[0-9]{2}$",
    "\"Z\" or an offset such as \"+01:00\"",
    |text| crate::stamp::offset(text).is_some()
);
text!(
    /// A moment.
    Stamp,
    r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
    "a time such as \"2026-12-20T00:00:00Z\"",
    |text| crate::stamp::parse(text).is_some()
);

/// Whether a text is `[a-z0-9][a-z0-9-]*` and not too long.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-')
}

/// `key`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyWord(pub(crate) Key);

impl<'de> Deserialize<'de> for KeyWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let key = match text.as_str() {
            "ordinal" => Key::Ordinal,
            "client" => Key::Client,
            word => word.parse().map(Key::Http).map_err(|_| {
                let expected =
                    "`ordinal`, `client`, `header:NAME`, `cookie:NAME`, `query:NAME`, `path:N` or `trace-id`";
                de::Error::invalid_value(de::Unexpected::Str(&text), &expected)
            })?,
        };
        Ok(KeyWord(key))
    }
}

impl JsonSchema for KeyWord {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Key".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`ordinal`, `client`, `header:NAME`, `cookie:NAME`, `query:NAME`, `path:N` or `trace-id`",
            "pattern": r"^(ordinal|client|trace-id|(header|cookie|query):.+|path:[1-9][0-9]*)$|^\$\{"
        })
    }
}

/// `"14x"`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Burn(pub(crate) f64);

impl<'de> Deserialize<'de> for Burn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_suffix('x').and_then(|number| number.trim().parse::<f64>().ok()) {
            Some(rate) if rate.is_finite() && rate > 0.0 => Ok(Burn(rate)),
            _ => Err(de::Error::invalid_value(de::Unexpected::Str(&text), &"a burn rate such as \"14x\"")),
        }
    }
}

impl JsonSchema for Burn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Burn".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a burn rate such as \"14x\"", "pattern": r"^[0-9.]+\s*x$|^\$\{" })
    }
}

/// A text, number or truth value, whose meaning another field decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar;

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl de::Visitor<'_> for Any {
            type Value = Scalar;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
                Ok(Scalar)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Scalar, E> {
                Ok(Scalar)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar)
            }
            fn visit_str<E>(self, _: &str) -> Result<Scalar, E> {
                Ok(Scalar)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}
