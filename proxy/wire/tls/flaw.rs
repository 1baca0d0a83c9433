//! Certificates with a flaw, for faults: each made for the one handshake that shows it.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use squall_core::fault::Flaw;
use time::Duration;

use super::ca::{Authority, Order};

/// A name that no client asks for (RFC 6761, 6.4).
const WRONG_NAME: &str = "wrong-name.invalid";

/// Shows a certificate with one flaw.
pub(super) struct Flawed {
    pub(super) flaw: Flaw,
    pub(super) authority: Arc<Authority>,
    /// Names where the client asks for none.
    pub(super) unnamed: Arc<[String]>,
}

impl fmt::Debug for Flawed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flawed({:?})", self.flaw)
    }
}

impl ResolvesServerCert for Flawed {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let names = hello.server_name().map_or_else(|| self.unnamed.to_vec(), |name| vec![name.to_ascii_lowercase()]);
        let order = Order { names, ..Order::of("") };
        let order = match self.flaw {
            Flaw::Expired => order.shifted(-Duration::days(8)),
            Flaw::NotYetValid => order.shifted(Duration::days(1)),
            Flaw::WrongName => Order { names: vec![WRONG_NAME.to_owned()], ..order },
            Flaw::MissingIntermediate => Order { behind_another: true, ..order },
            Flaw::Untrusted | Flaw::WrongAlpn | Flaw::Alert(_) => order,
        };
        // without a CA of its own the certificate has the flaw, and an unknown root besides
        let known = (self.flaw != Flaw::Untrusted).then(|| self.authority.own().ok()).flatten();
        let made = known.or_else(|| self.authority.unknown())?.make(&order);
        made.inspect_err(|error| tracing::error!(%error, flaw = ?self.flaw, "no certificate could be made"))
            .ok()
            .map(Arc::new)
    }
}
