//! TLS of the control port: who it is, and, with a CA for clients, who they are. Files are read anew when they change.

mod names;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
pub use squall_core::config::ControlTls as Settings;
use squall_core::who::{Identity, Proof};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::names::names;

/// At work.
#[derive(Debug)]
pub(crate) struct Tls {
    settings: Settings,
    /// Whoever shows no certificate is turned away.
    strict: bool,
    config: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// What changes when a file does: inode, size, and when it was changed.
type Stamp = (u64, u64, i64, i64);

impl Tls {
    /// `strict`: whoever shows no certificate is turned away. Errors: what is wrong with the files.
    pub(crate) fn open(settings: &Settings, strict: bool) -> Result<Tls, String> {
        let seen = Mutex::new(stamps(settings));
        let config = RwLock::new(Arc::new(config(settings, strict)?));
        Ok(Tls { settings: settings.clone(), strict, config, seen })
    }

    /// For the next connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Reads the files anew if they have changed; touches the disk. Errors: they can't be taken, and what was in force stays.
    pub(crate) fn refresh(&self) -> Result<bool, String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.settings);
        if now == *seen {
            return Ok(false);
        }
        *seen = now; // said once, not with every look
        let fresh = Arc::new(config(&self.settings, self.strict)?);
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }

    /// Who has these names: the first of them that has a role.
    pub(crate) fn identity(&self, names: &[String], peer: &str) -> Option<Identity> {
        let settings = &self.settings;
        let role_of = |name: &String| settings.roles.iter().find(|(known, _)| is_same(known, name));
        let (name, role) = names.iter().find_map(role_of)?;
        let is_in = |group: &&String| settings.groups[*group].iter().any(|known| is_same(known, name));
        let groups = settings.groups.keys().filter(is_in).cloned().collect();
        Some(Identity { groups, ..Identity::new(name, *role, Proof::Certificate, peer) })
    }
}

/// Addresses of mail and DNS names in any case, URIs exactly.
fn is_same(known: &str, name: &str) -> bool {
    if known.contains("://") { known == name } else { known.eq_ignore_ascii_case(name) }
}

fn stamps(settings: &Settings) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
    };
    [&settings.cert, &settings.key].into_iter().chain(&settings.client_ca).map(stamp).collect()
}

fn config(settings: &Settings, strict: bool) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
            let verifier = if strict { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| format!("{}: {error}", ca.display()))?)
        }
    };
    let (chain, key) = pair(&settings.cert, &settings.key)?;
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| format!("{}: {error}", settings.cert.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // no session of before is taken up: a client's certificate may have ended since
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A certificate with its chain, and its key.
pub(crate) fn pair(cert: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    Ok((certificates(cert)?, secret))
}

/// The roots in a file.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
    let all = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    let all = all.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if all.is_empty() { Err(format!("{}: there is no certificate in it", path.display())) } else { Ok(all) }
}

/// What all cryptography here is done by.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(default_provider())).clone()
}
