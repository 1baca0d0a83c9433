//! What goes over the control port: requests and answers, shared by server and client.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use squall_core::scenario::Protocol;
use squall_core::tls::{Tls, UpstreamTls};
use squall_core::way::{ProxyProtocol, Source, Transparent, Way};
pub use squall_drill::approve::ApproveRequest;
pub use squall_drill::view::{
    AbortReport, ConsentView, Event, ExperimentView, FaultView, LeverView, Mark, MarkKind, Marked, State, Verdict,
    WaitingView,
};

/// `GET /v1/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Of squall.
    pub version: String,
    /// What this host is.
    pub environment: String,
    /// All proxies, by name.
    pub proxies: Vec<Proxy>,
    /// Where what runs is not what the configuration's file says: nothing starts meanwhile.
    #[serde(default)]
    pub drift: Vec<String>,
    /// All experiments that this process knows, newest first.
    pub experiments: Vec<ExperimentLine>,
    /// The safety lever.
    #[serde(default)]
    pub lever: LeverView,
}

/// A proxy in the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// Where it listens: the port that port 0 became.
    pub listen: String,
    /// Where it leads.
    pub upstream: String,
    /// What it speaks.
    pub protocol: Protocol,
}

/// `GET /v1/proxies` (a list) and `/v1/proxies/{name}`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyView {
    /// Who it is.
    #[serde(flatten)]
    pub proxy: Proxy,
    /// Connections at one moment; none: as many as descriptors allow.
    pub max_connections: Option<u64>,
    /// How long a connect to the upstream may take, ms.
    pub connect_timeout_ms: u64,
    /// PROXY headers, transparent mode.
    #[serde(flatten)]
    pub way: Way,
    /// Id of the running experiment that brought it.
    pub experiment: Option<String>,
    /// Connections accepted since it was opened.
    pub accepted: u64,
    /// Connections refused because the PROXY header that they must begin with was missing, wrong, or late.
    pub misheaded: u64,
    /// Connections refused because they did not begin with a ClientHello, or with a wrong, too long or late one.
    pub hello_refused: u64,
    /// Connections whose TLS handshake with the client failed by itself.
    pub tls_client_failed: u64,
    /// Connections whose TLS handshake with the upstream failed.
    pub tls_server_failed: u64,
    /// Connections open now.
    pub active: u64,
    /// Bytes delivered towards the server.
    pub bytes_upstream: u64,
    /// Bytes delivered towards the client.
    pub bytes_downstream: u64,
    /// UDP: datagrams that squall itself dropped, for want of room; none of them injected.
    pub dropped: u64,
}

/// Body of `PUT /v1/proxies/{name}`: the fields of `[[proxy]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyRequest {
    /// If given, the name in the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `address:port` (port 0: any), `[v6]:port` or `unix:PATH`.
    pub listen: String,
    /// `host:port` or `unix:PATH`; `original` on a transparent proxy.
    pub upstream: String,
    /// What it speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// Connections at one moment; none: as many as descriptors allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u64>,
    /// How long a connect to the upstream may take, as in "5s".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<String>,
    /// The node whose connections it carries, for faults between groups of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The node that it carries them to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// PROXY headers, taken and sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Takes connections that the kernel redirects here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent: Option<Transparent>,
    /// Whose address the upstream sees: squall's own unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Mark of the packets to the upstream, 1 to 4294967295.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// What becomes of the TLS that clients speak; paths are absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// TLS with the upstream; paths are absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTls>,
    /// UDP: how long a client may be silent before its association ends, as in "60s".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<String>,
}

/// An experiment in the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExperimentLine {
    /// Unique in this state directory.
    pub id: String,
    /// The scenario's name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Whether it only observes: nothing is injected.
    #[serde(default)]
    pub observed: bool,
    /// The step that it waits for.
    #[serde(default)]
    pub waiting: Option<WaitingView>,
    /// Who handed it in, approved it, started it.
    #[serde(default)]
    pub consent: ConsentView,
}

/// The answer to an abort of one experiment: the experiment, and the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AbortedExperiment {
    /// As it stands now.
    #[serde(flatten)]
    pub experiment: ExperimentView,
    /// How the abort went.
    pub abort: AbortReport,
}

/// Body of `POST /v1/experiments/{id}/start`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StartRequest {
    /// It goes on without anybody renewing its lease; then `max` is required.
    pub detach: bool,
    /// When a detached experiment ends at the latest, as in "5m".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
    /// The digest of what is meant; another one is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Nothing is started: it is only looked at whether it may be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub check: bool,
    /// It does everything but act: nothing is injected, and guards only say what they would have done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub observe: bool,
}

/// Body of `POST /v1/lever/engage`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngageRequest {
    /// Why, 1 to 500 characters: whoever is refused a start is told.
    pub reason: String,
}

/// The answer to `POST /v1/lever/engage`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Engaged {
    /// How it stands now.
    pub lever: LeverView,
    /// How the abort of what ran went.
    pub abort: AbortReport,
    /// Why it may not survive a restart; none: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
}

/// Body of `POST /v1/experiments/{id}/reject`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectRequest {
    /// Why, 1 to 500 characters: kept with the experiment.
    pub reason: String,
}

/// Body of the other POSTs: `{}`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// The answer to `POST /v1/reload`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// What has changed, one line each.
    pub changes: Vec<String>,
}

/// An error (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong, for people.
    pub detail: String,
    /// What is wrong with the body, or what stands in the way of a start: one entry each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Mistake>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// The field, as in `fault[late].delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// In the body, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In the line, in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What was expected there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}
