//! How a proxy's connections come in and go out, besides its two addresses: PROXY headers, transparent mode, what
//! squall's own sockets carry, how HTTP goes on, and TLS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::matcher::Network;
use crate::tls::{Mode, Tls, UpstreamTls};

/// The way of a proxy's connections; by default nothing out of the ordinary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Way {
    /// PROXY headers, taken and sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Connections that were meant for somebody else come in, and go on to there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transparent: Option<Transparent>,
    /// Whose address the upstream sees: squall's own unless written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Mark of the packets that go to the upstream (SO_MARK), 1 to 4294967295: for rules that must leave squall's own
    /// traffic alone. Needs CAP_NET_ADMIN, or CAP_NET_RAW from Linux 5.17.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// How HTTP goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpWay>,
    /// What becomes of the TLS that clients speak; none: it is bytes like any others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// TLS with the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_tls: Option<UpstreamTls>,
}

/// `http`: how the requests of a proxy that speaks HTTP go on to the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpWay {
    /// The version that is spoken with the upstream, whatever the clients speak: `1.1` unless written. Without TLS, `2` is
    /// spoken by prior knowledge (RFC 9113, 3.3).
    #[serde(default)]
    pub upstream: HttpVersion,
    /// Whom the upstream is asked for: `preserve` (unless written) whom the client asked for, `upstream` the proxy's
    /// upstream, else this host. Where that changes it, Location and the domains of cookies are changed back in answers.
    #[serde(default = "preserve")]
    pub host: String,
    /// Whether the upstream is told of the client: `x-forwarded-for` is added to, `x-forwarded-proto` and
    /// `x-forwarded-host` are set where nobody before has. `false` unless written.
    #[serde(default)]
    pub forwarded: bool,
    /// Networks whose clients may ask for faults with Envoy's request headers, `x-envoy-fault-*`, while an experiment has a
    /// fault `envoy_headers` on this proxy. Nobody unless written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub envoy_headers_from: Vec<Network>,
}

impl HttpWay {
    /// [`HttpWay::host`]: whom the client asked for.
    pub const PRESERVE: &'static str = "preserve";
    /// [`HttpWay::host`]: the proxy's upstream.
    pub const UPSTREAM: &'static str = "upstream";
}

impl Default for HttpWay {
    fn default() -> HttpWay {
        HttpWay { upstream: HttpVersion::default(), host: preserve(), forwarded: false, envoy_headers_from: Vec::new() }
    }
}

fn preserve() -> String {
    HttpWay::PRESERVE.to_owned()
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/1.1
    #[default]
    #[serde(rename = "1.1")]
    One,
    /// HTTP/2
    #[serde(rename = "2")]
    Two,
}

impl Way {
    /// The version of HTTP that is spoken with the upstream.
    pub fn upstream_http(&self) -> HttpVersion {
        self.http.as_ref().map(|http| http.upstream).unwrap_or_default()
    }

    /// Whether squall carries a TLS handshake out, with clients or with the upstream.
    pub fn ends_tls(&self) -> bool {
        self.upstream_tls.is_some() || self.tls.as_ref().is_some_and(|tls| tls.mode == Mode::Terminate)
    }
}

/// `proxy_protocol`: the header that tells an upstream who its client's client is, versions 1 and 2 of
/// <https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>. At least one of the two must be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// A connection from these networks must begin with a header, of either version; from elsewhere a header is bytes like
    /// any others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept_from: Vec<Network>,
    /// The header that the upstream gets before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<HeaderVersion>,
}

impl ProxyProtocol {
    /// Whether a connection from this address must begin with a header.
    pub fn asks(&self, client: std::net::IpAddr) -> bool {
        self.accept_from.iter().any(|network| network.contains(client))
    }
}

/// Version of a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeaderVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// How connections that were meant for somebody else come to squall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transparent {
    /// The kernel rewrote their destination (REDIRECT); it still knows what it was (SO_ORIGINAL_DST).
    Redirect,
    /// The kernel handed them over as they are (TPROXY): their destination is the socket's own address. Needs
    /// CAP_NET_RAW or CAP_NET_ADMIN.
    Tproxy,
}

/// Whose address the upstream sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The client's, on any port. The upstream's packets must find back to squall. Needs CAP_NET_RAW or
    /// CAP_NET_ADMIN.
    Client,
}

/// What `upstream` is on a transparent proxy: where the client meant to go.
pub const ORIGINAL: &str = "original";
