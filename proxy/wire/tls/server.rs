//! The server's side of a handshake: with clients.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use squall_core::fault::Flaw;
use squall_core::tls::{Hello, Tls};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::ca::{Authority, Ca};
use super::failure::{Failure, Side};
use super::files::Pair;
use super::flaw::Flawed;
use super::{alert, provider};

/// What nobody speaks.
const NO_PROTOCOL: &[u8] = b"squall-none";

/// A proxy's end of its clients' TLS.
pub(crate) struct Server {
    config: Arc<ServerConfig>,
    authority: Arc<Authority>,
    unnamed: Arc<[String]>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    /// What a proxy that listens here shows to its clients.
    ///
    /// # Errors
    /// What is wrong with its files, or why there is no CA.
    pub(crate) fn open(tls: &Tls, listen: &str, authority: &Arc<Authority>) -> Result<Server, String> {
        let unnamed = unnamed(listen);
        let shown: Arc<dyn ResolvesServerCert> = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => Pair::open(cert, key)?,
            _ => Arc::new(Issuing { ca: authority.own()?, unnamed: unnamed.clone() }),
        };
        let mut config = config(shown)?;
        config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Server { config: Arc::new(config), authority: authority.clone(), unnamed })
    }

    /// Carries the handshake out, with a flaw if a fault wants one. It may take so long.
    ///
    /// # Errors
    /// Why it failed, be it with or because of a flaw.
    pub(crate) async fn accept<S>(
        &self,
        io: S,
        flaw: Option<Flaw>,
        within: Duration,
    ) -> Result<(TlsStream<S>, Hello), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaken = tokio::time::timeout(within, self.shake(io, flaw)).await;
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        shaken.map_err(late).and_then(|shaken| shaken).map_err(|error| Failure::new(Side::Client, &error))
    }

    async fn shake<S>(&self, io: S, flaw: Option<Flaw>) -> std::io::Result<(TlsStream<S>, Hello)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let hello = hello(&start.client_hello());
        if let Some(Flaw::Alert(description)) = flaw {
            start.io.write_all(&alert(description)).await?;
            start.io.flush().await?;
            return Err(std::io::Error::other("a fault has ended it with an alert"));
        }
        let config = match flaw {
            Some(flaw) => self.flawed(flaw).map_err(std::io::Error::other)?,
            None => self.config.clone(),
        };
        Ok((start.into_stream(config).await?, hello))
    }

    /// The same but for the flaw. No session of before is taken up: the certificate would not be looked at.
    fn flawed(&self, flaw: Flaw) -> Result<Arc<ServerConfig>, String> {
        let mut flawed = if flaw == Flaw::WrongAlpn {
            let mut flawed = ServerConfig::clone(&self.config);
            flawed.alpn_protocols = vec![NO_PROTOCOL.to_vec()];
            flawed
        } else {
            let (authority, unnamed) = (self.authority.clone(), self.unnamed.clone());
            let mut flawed = config(Arc::new(Flawed { flaw, authority, unnamed }))?;
            flawed.alpn_protocols.clone_from(&self.config.alpn_protocols);
            flawed
        };
        flawed.session_storage = Arc::new(NoServerSessionStorage {});
        flawed.send_tls13_tickets = 0;
        Ok(Arc::new(flawed))
    }
}

fn config(shown: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, String> {
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| error.to_string())?.with_no_client_auth().with_cert_resolver(shown))
}

fn hello(hello: &ClientHello<'_>) -> Hello {
    Hello {
        sni: hello.server_name().map(str::to_ascii_lowercase),
        alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
    }
}

/// What a client may mean that asks for no name: this machine, and the address that is listened on.
fn unnamed(listen: &str) -> Arc<[String]> {
    let host = listen.rsplit_once(':').map_or("", |(host, _)| host.trim_start_matches('[').trim_end_matches(']'));
    let own = host.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    local.into_iter().chain(own.map(|ip| ip.to_string())).collect()
}

/// Shows certificates for the names that are asked for.
#[derive(Debug)]
struct Issuing {
    ca: Arc<Ca>,
    unnamed: Arc<[String]>,
}

impl ResolvesServerCert for Issuing {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let made = match hello.server_name() {
            Some(name) => self.ca.issue(&[name.to_ascii_lowercase()]),
            None => self.ca.issue(&self.unnamed),
        };
        made.inspect_err(|error| tracing::error!(%error, "no certificate could be made")).ok()
    }
}
