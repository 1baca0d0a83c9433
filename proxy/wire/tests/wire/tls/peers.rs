//! A plane with a CA of its own, a client that trusts it, and an upstream under TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use squall_core::observe::Ledger;
use squall_core::plane::DataPlane;
use squall_core::scenario::ProxySpec;
use squall_core::tls::{Mode, Tls, UpstreamTls};
use squall_core::way::HttpVersion;
use squall_wire::{Ca, Options, Plane};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::http2::peers::{http, serve2};
use crate::support::*;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn names(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A plane that makes certificates.
pub(crate) struct Stand {
    pub(crate) plane: Plane,
    place: PathBuf,
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.place);
    }
}

impl Stand {
    pub(crate) fn new(name: &str) -> Stand {
        let place = std::env::temp_dir().join(format!("squall-wire-{name}-{}", std::process::id()));
        let (ledger, _records) = Ledger::new(1024);
        let options = Options { workers: 1, ca: Some(place.clone()), ..Options::new(ledger) };
        Stand { plane: Plane::new(options).unwrap(), place }
    }

    /// Proxy `p` between TLS with clients and TLS with an upstream.
    pub(crate) fn spec(&self, upstream: &Secret, version: HttpVersion) -> ProxySpec {
        let mut spec = http(upstream.address, version);
        spec.way.tls = Some(self.terminate(&["h2", "http/1.1"]));
        let spoken = if version == HttpVersion::Two { "h2" } else { "http/1.1" };
        spec.way.upstream_tls = Some(UpstreamTls {
            roots: None,
            cert: None,
            key: None,
            server_name: Some("upstream.test".into()),
            alpn: vec![spoken.into()],
            verify: false,
            postgres: false,
        });
        spec
    }

    pub(crate) fn terminate(&self, alpn: &[&str]) -> Tls {
        let alpn = alpn.iter().map(|name| (*name).to_owned()).collect();
        Tls { mode: Mode::Terminate, issue: true, alpn, ..Tls::default() }
    }

    pub(crate) fn open(&self, upstream: &Secret, version: HttpVersion) -> SocketAddr {
        address(&self.plane.open(&self.spec(upstream, version)).unwrap())
    }

    /// A client's handshake, and what was agreed on.
    pub(crate) async fn connect(
        &self,
        to: SocketAddr,
        alpn: &[&str],
    ) -> (client::TlsStream<TcpStream>, Option<String>) {
        let stream = self.try_connect(to, alpn).await.unwrap();
        let agreed = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap());
        (stream, agreed)
    }

    pub(crate) async fn try_connect(
        &self,
        to: SocketAddr,
        alpn: &[&str],
    ) -> std::io::Result<client::TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(Ca::certificate(&self.place)).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = names(alpn);
        let socket = TcpStream::connect(to).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let name = ServerName::try_from("a.test").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

/// An upstream under TLS that speaks what is agreed on: HTTP/2 answers as [`serve2`] does, HTTP/1 with the request's body.
pub(crate) struct Secret {
    pub(crate) address: SocketAddr,
    pub(crate) given_up: mpsc::Receiver<u32>,
    agreed: Arc<Mutex<Vec<String>>>,
}

impl Secret {
    pub(crate) fn new() -> Secret {
        let made = rcgen::generate_simple_self_signed(["upstream.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let mut config =
            config.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        config.alpn_protocols = names(&["h2", "http/1.1"]);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let (tell, given_up) = mpsc::channel();
        let agreed = Arc::<Mutex<Vec<String>>>::default();
        let keeps = agreed.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let set = tokio::task::LocalSet::new();
            set.block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    let (acceptor, keeps, tell) = (acceptor.clone(), keeps.clone(), tell.clone());
                    tokio::task::spawn_local(async move {
                        let Ok(stream) = acceptor.accept(socket).await else { return };
                        let name = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
                        keeps.lock().unwrap().push(String::from_utf8(name.clone()).unwrap());
                        if name == b"h2" { serve_two(stream, tell).await } else { serve_one(stream).await }
                    });
                }
            });
        });
        Secret { address, given_up, agreed }
    }

    /// What was agreed on, connection by connection.
    pub(crate) fn agreed(&self) -> Vec<String> {
        self.agreed.lock().unwrap().clone()
    }
}

async fn serve_two(stream: server::TlsStream<TcpStream>, tell: mpsc::Sender<u32>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::task::spawn_local(serve2(request, respond, tell.clone()));
    }
}

async fn serve_one(mut stream: server::TlsStream<TcpStream>) {
    while let Some((_, body)) = message(&mut stream).await {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
        let _gone = stream.flush().await;
    }
}

/// A message with a length or in chunks: its head and its body.
async fn message(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut body = Vec::new();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            while !size.ends_with("\r\n") {
                size.push(char::from(stream.read_u8().await.ok()?));
            }
            let (start, size) = (body.len(), usize::from_str_radix(size.trim_end(), 16).unwrap());
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).await.ok()?;
            while stream.read_u8().await.ok()? != b'\n' {}
            if size == 0 {
                return Some((head, body));
            }
        }
    }
    let length = crate::http1::script::value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    body.resize(length, 0);
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// A client of HTTP/2 on a connection.
pub(crate) async fn talk2(stream: client::TlsStream<TcpStream>) -> h2::client::SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// A request of HTTP/1 with this body.
pub(crate) fn post(body: &[u8]) -> Vec<u8> {
    let head = format!("POST /echo HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// What a client of HTTP/1 hears.
pub(crate) async fn ask1(stream: client::TlsStream<TcpStream>, body: &[u8]) -> (String, Vec<u8>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let said = post(body);
    let (said, heard) = tokio::join!(
        async {
            write.write_all(&said).await?;
            write.flush().await
        },
        message(&mut read)
    );
    said.unwrap();
    heard.unwrap()
}

/// Says this, and reads to the end: what came, and how it ended.
pub(crate) async fn read_out(stream: client::TlsStream<TcpStream>, said: &[u8]) -> (Vec<u8>, std::io::Result<usize>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut all = Vec::new();
    let (_gone, ended) = tokio::join!(write.write_all(said), read.read_to_end(&mut all));
    (all, ended)
}
