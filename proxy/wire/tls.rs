//! TLS with clients and with upstreams, over anything that carries bytes: the faults beneath act under it.

mod alert;
mod bundle;
mod ca;
mod client;
mod failure;
mod files;
mod flaw;
pub(crate) mod postgres;
mod relay;
mod server;
mod side;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use squall_core::fault::Flaw;
use squall_core::plan::FaultRef;

pub(crate) use self::alert::alert;
pub use self::bundle::Bundle;
pub(crate) use self::ca::Authority;
pub use self::ca::Ca;
pub(crate) use self::client::Client;
pub(crate) use self::failure::Failure;
pub(crate) use self::relay::begin;
pub(crate) use self::server::Server;

/// What the beginning of a connection has to say to its TLS handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shaken {
    /// What is to be wrong with it, and by which fault.
    pub(crate) flaw: Option<(Flaw, Arc<FaultRef>)>,
    /// The client has asked for TLS in PostgreSQL's protocol, and squall has granted it.
    pub(crate) postgres: bool,
}

/// The cryptography that everything here uses.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(default_provider())).clone()
}
