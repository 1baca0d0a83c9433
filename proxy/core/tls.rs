//! TLS: what a proxy's configuration says of it, and what a connection's ClientHello says.

mod hello;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::hello::{Hello, LONGEST, MOST, Sniff, sniff};

/// `tls`: what becomes of the TLS that clients speak.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whether squall looks at the handshake only, or carries it out.
    pub mode: Mode,
    /// The server's certificate and what leads to its root, PEM; read anew when it changes. Relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// In place of `cert` and `key`: certificates for the names that clients ask for, made on the fly by squall's own CA
    /// (`squall ca` says where it is).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub issue: bool,
    /// Protocols that the server speaks, the first that the client offers too is chosen (ALPN): `h2` and `http/1.1` on
    /// HTTP proxies unless written, elsewhere whatever the client offers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
}

/// `mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The upstream carries the handshake out; squall reads the ClientHello, and faults may select by it.
    #[default]
    Passthrough,
    /// squall carries it out, and speaks with the upstream on its own.
    Terminate,
}

/// `upstream_tls`: squall speaks TLS with the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The roots that the upstream's certificate must lead to: a PEM file, or `system`, those of this machine: that unless
    /// written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roots: Option<String>,
    /// The certificate that squall shows to the upstream if it is asked for one, PEM; read anew when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name that is asked for (SNI) and that the certificate must have: the upstream's host unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Protocols that are offered (ALPN): on HTTP proxies the version of HTTP that is spoken, elsewhere the one that was
    /// chosen with the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
    /// `false`: any certificate will do. Whoever stands in between can read everything.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub verify: bool,
    /// The upstream is a PostgreSQL: TLS is asked for in its own protocol first, as it is where a client has done so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub postgres: bool,
}

/// What of `roots` is no file.
pub const SYSTEM: &str = "system";

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
fn is_yes(value: &bool) -> bool {
    *value
}
