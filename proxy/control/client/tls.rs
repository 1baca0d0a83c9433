//! What a client trusts, and what it shows, where the control port speaks TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ClientError;
use crate::tls::{pair, provider, roots};

/// Files in PEM, read with every call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Who vouches for the control port.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl Files {
    /// Those that `SQUALL_CA`, `SQUALL_CERT` and `SQUALL_KEY` name.
    pub fn named() -> Files {
        let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Files { ca: named("SQUALL_CA"), cert: named("SQUALL_CERT"), key: named("SQUALL_KEY") }
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let ca = self.ca.as_ref().ok_or("a control port with https needs --ca, or SQUALL_CA: who vouches for it")?;
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(roots(ca)?);
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let (chain, secret) = pair(cert, key)?;
                let shown = builder.with_client_auth_cert(chain, secret);
                shown.map_err(|error| format!("{}: {error}", cert.display()))?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err("a certificate is shown with its key: --cert and --key go together".into()),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Carries the handshake out with the control port at `address`.
    pub(super) async fn shake(
        &self,
        stream: TcpStream,
        address: &str,
        unreachable: impl Fn(String) -> ClientError,
    ) -> Result<TlsStream<TcpStream>, ClientError> {
        let config = self.config().map_err(ClientError::BadPlace)?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| ClientError::BadPlace(format!("{address}: {error}")))?;
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        shaken.map_err(|error| unreachable(error.to_string()))
    }
}
