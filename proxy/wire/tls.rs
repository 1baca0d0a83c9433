//! TLS with clients and with upstreams, over anything that carries bytes: the faults beneath act under it.

mod alert;
mod ca;
mod client;
mod failure;
mod files;
mod flaw;
mod server;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;

pub(crate) use self::alert::alert;
pub(crate) use self::ca::Authority;
pub use self::ca::Ca;
pub(crate) use self::client::Client;
pub(crate) use self::failure::{Cause, Failure};
pub(crate) use self::server::Server;

/// The cryptography that everything here uses.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(default_provider())).clone()
}
