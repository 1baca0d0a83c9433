//! The client's side of a handshake: with upstreams.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use squall_core::tls::{SYSTEM, UpstreamTls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Failure, Side};
use super::files::{self, Pair};
use super::{postgres, provider};
use crate::dial::Upstream;

/// A proxy's end of TLS with its upstream.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    /// None: the address that is reached.
    name: Option<ServerName<'static>>,
    postgres: bool,
    /// Besides `config`, which offers no protocol of its own: one that offers what was chosen with a client.
    offering: Mutex<Option<(Vec<u8>, Arc<ClientConfig>)>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?})", self.name)
    }
}

impl Client {
    /// What a proxy with this upstream shows and asks for.
    ///
    /// # Errors
    /// What is wrong with its files or its name.
    pub(crate) fn open(tls: &UpstreamTls, upstream: &Upstream) -> Result<Client, String> {
        let name = match (&tls.server_name, upstream) {
            (Some(name), _) => Some(name.as_str()),
            (None, Upstream::Host(host, _)) => Some(host.as_str()),
            (None, Upstream::Unix(_)) => Some("localhost"), // of no account: nothing is verified
            (None, Upstream::Address(_) | Upstream::Original) => None,
        };
        let wrong = |name: &str| format!("`{name}` is not the name of a host");
        let name = name.map(|name| ServerName::try_from(name.to_owned()).map_err(|_| wrong(name))).transpose()?;
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        let config = match tls.verify {
            true => match tls.roots.as_deref() {
                None | Some(SYSTEM) => config.with_root_certificates(of_this_machine()?),
                Some(file) => config.dangerous().with_custom_certificate_verifier(Pinned::open(Path::new(file))?),
            },
            false => config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)),
        };
        let mut config = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => config.with_client_cert_resolver(Pair::open(cert, key)?),
            _ => config.with_no_client_auth(),
        };
        config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Client { config: Arc::new(config), name, postgres: tls.postgres, offering: Mutex::default() })
    }

    /// Carries the handshake out with the upstream behind `io`, which was reached at this address. `chosen`: the protocol
    /// that was chosen with the client, offered where the configuration names none. `asked`: the client has asked for TLS in
    /// PostgreSQL's own protocol. It may take so long.
    ///
    /// # Errors
    /// Why it failed.
    pub(crate) async fn connect<S>(
        &self,
        mut io: S,
        reached: Option<SocketAddr>,
        chosen: Option<&[u8]>,
        asked: bool,
        within: Duration,
    ) -> Result<TlsStream<S>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shake = async {
            let at = || reached.map(|address| ServerName::from(address.ip()));
            let name = self.name.clone().or_else(at).ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            if asked || self.postgres {
                postgres::ask(&mut io).await?;
            }
            TlsConnector::from(self.config(chosen)).connect(name, io).await
        };
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let shaken = tokio::time::timeout(within, shake).await.map_err(late).and_then(|shaken| shaken);
        shaken.map_err(|error| Failure::new(Side::Upstream, &error))
    }

    fn config(&self, chosen: Option<&[u8]>) -> Arc<ClientConfig> {
        let Some(chosen) = chosen.filter(|_| self.config.alpn_protocols.is_empty()) else { return self.config.clone() };
        let mut offering = self.offering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, config)) = &*offering
            && name == chosen
        {
            return config.clone();
        }
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![chosen.to_vec()];
        let config = Arc::new(config);
        *offering = Some((chosen.to_vec(), config.clone()));
        config
    }
}

/// The roots that this machine trusts.
fn of_this_machine() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        false => Ok(roots),
        true => {
            let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            Err(format!(
                "this machine has no roots (package ca-certificates); name a file in `roots`. {}",
                why.join(", ")
            ))
        }
    }
}

/// Takes what leads to the roots of a file, and a certificate that stands there itself although it is a CA's: what
/// `openssl req -x509` makes is a root and a server's certificate in one.
#[derive(Debug)]
struct Pinned {
    known: Vec<CertificateDer<'static>>,
    usual: Arc<WebPkiServerVerifier>,
}

impl Pinned {
    fn open(file: &Path) -> Result<Arc<Pinned>, String> {
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(files::roots(file)?), provider()).build();
        let usual = usual.map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Arc::new(Pinned { known: files::certificates(file)?, usual }))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.usual.verify_server_cert(shown, more, name, ocsp, now) {
            // its time has been looked at before this is said, its name has not
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string() == "CaUsedAsEndEntity" && self.known.contains(shown) =>
            {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

/// Takes any certificate, as long as the upstream has its key.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
