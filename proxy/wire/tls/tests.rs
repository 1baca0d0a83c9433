//! Handshakes between squall's two ends.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use squall_core::fault::Flaw;
use squall_core::tls::{Mode, Tls, UpstreamTls};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::ca::tests::Place;
use super::failure::{Cause, Side};
use super::{Authority, Ca, Client, Failure, Server};
use crate::dial::Upstream;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that issues, and where its CA is.
struct Stand {
    place: Place,
    server: Server,
}

impl Stand {
    fn new(name: &str, alpn: &[&str]) -> Stand {
        let place = Place::new(name);
        let authority = Arc::new(Authority::new(Some(place.0.join("ca"))));
        let alpn = alpn.iter().map(|name| (*name).to_owned()).collect();
        let tls = Tls { mode: Mode::Terminate, issue: true, alpn, ..Tls::default() };
        let server = Server::open(&tls, "127.0.0.1:0", &authority).unwrap();
        Stand { place, server }
    }

    /// A client that trusts the CA unless told otherwise.
    fn client(&self, change: impl FnOnce(&mut UpstreamTls)) -> Client {
        let roots = Ca::certificate(&self.place.0.join("ca"));
        let mut tls = trusting(&roots);
        change(&mut tls);
        Client::open(&tls, &Upstream::Host("api.example.com".into(), 443)).unwrap()
    }

    /// Both ends of a handshake: what each has come to.
    async fn shake(&self, client: &Client, flaw: Option<Flaw>, chosen: Option<&[u8]>) -> (Cause, Cause) {
        let (near, far) = duplex(1 << 16);
        let (accepted, connected) = tokio::join!(self.server.accept(near, flaw, PATIENCE), async {
            let mut connected = client.connect(far, None, chosen, false, PATIENCE).await?;
            // with TLS 1.3 the client is through before the server has looked
            let _seen = connected.read(&mut [0]).await;
            Ok::<_, Failure>(())
        });
        let (_, Err(client)) = (&accepted, &connected) else { panic!("{connected:?}") };
        assert_eq!(client.side, Side::Upstream);
        (accepted.map(drop).unwrap_err().cause, client.cause)
    }
}

fn trusting(roots: &Path) -> UpstreamTls {
    UpstreamTls {
        roots: Some(roots.display().to_string()),
        cert: None,
        key: None,
        server_name: None,
        alpn: Vec::new(),
        verify: true,
        postgres: false,
    }
}

async fn echo_once(mut stream: tokio_rustls::server::TlsStream<DuplexStream>) {
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    stream.write_all(&word).await.unwrap();
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn name_and_protocol_are_agreed_on() {
    let stand = Stand::new("agreed", &["h2", "http/1.1"]);
    let client = stand.client(|_| {});
    for (chosen, agreed) in [(None, None), (Some(&b"http/1.1"[..]), Some(&b"http/1.1"[..]))] {
        let (near, far) = duplex(1 << 16);
        let served = async {
            let (stream, hello) = stand.server.accept(near, None, PATIENCE).await.unwrap();
            assert_eq!(hello.sni.as_deref(), Some("api.example.com"));
            assert_eq!(hello.alpn, chosen.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
            echo_once(stream).await;
        };
        let asked = async {
            let mut stream = client.connect(far, None, chosen, false, PATIENCE).await.unwrap();
            stream.write_all(b"ping").await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"ping");
        };
        tokio::join!(served, asked);
    }
}

#[tokio::test]
async fn each_flaw_is_felt_as_what_it_is() {
    let stand = Stand::new("flaws", &["h2"]);
    let client = stand.client(|tls| tls.alpn = vec!["h2".into()]);
    for (flaw, felt) in [
        (Flaw::Expired, Cause::Expired),
        (Flaw::NotYetValid, Cause::NotYetValid),
        (Flaw::WrongName, Cause::WrongName),
        (Flaw::Untrusted, Cause::Untrusted),
        (Flaw::MissingIntermediate, Cause::Untrusted),
        (Flaw::WrongAlpn, Cause::NoProtocol),
        (Flaw::Alert(112), Cause::Alert(rustls::AlertDescription::UnrecognisedName)),
    ] {
        let (_, client) = stand.shake(&client, Some(flaw), None).await;
        assert_eq!(client, felt, "{flaw:?}");
    }
}

#[tokio::test]
async fn a_session_of_before_does_not_hide_a_flaw() {
    let stand = Stand::new("sessions", &[]);
    let client = stand.client(|_| {});
    let (near, far) = duplex(1 << 16);
    let served = async { echo_once(stand.server.accept(near, None, PATIENCE).await.unwrap().0).await };
    let asked = async {
        let mut stream = client.connect(far, None, None, false, PATIENCE).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap(); // its tickets too
    };
    tokio::join!(served, asked);
    assert_eq!(stand.shake(&client, Some(Flaw::Expired), None).await.1, Cause::Expired);
}

#[tokio::test]
async fn failures_say_on_whose_side_and_why() {
    let stand = Stand::new("failures", &["h2"]);
    let other = Stand::new("failures-other", &[]);
    let stranger = other.client(|_| {});
    let (server, client) = stand.shake(&stranger, None, None).await;
    assert_eq!(client, Cause::Untrusted);
    assert_eq!(server, Cause::Alert(rustls::AlertDescription::UnknownCA));
    let speaks_else = stand.client(|tls| tls.alpn = vec!["smtp".into()]);
    assert_eq!(stand.shake(&speaks_else, None, None).await, (Cause::NoProtocol, Cause::NoProtocol));

    for (said, cause) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], Cause::NoTls), (b"\x16\x03\x01\x00", Cause::Closed)] {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(said).await.unwrap();
        far.shutdown().await.unwrap();
        let failure = stand.server.accept(near, None, PATIENCE).await.map(drop).unwrap_err();
        assert_eq!((failure.side, failure.cause), (Side::Client, cause), "{failure}");
    }
    let (near, _far) = duplex(1 << 16);
    let failure = stand.server.accept(near, None, Duration::from_millis(1)).await.map(drop).unwrap_err();
    assert_eq!(failure.cause, Cause::Late);
    assert_eq!(failure.to_string(), "the TLS handshake with the client failed: it took too long (timed out)");
}

#[tokio::test]
async fn whoever_is_not_verified_needs_no_name_that_is_known() {
    let stand = Stand::new("unverified", &[]);
    let client = stand.client(|tls| (tls.roots, tls.verify) = (None, false));
    let (near, far) = duplex(1 << 16);
    let (accepted, connected) = tokio::join!(
        stand.server.accept(near, Some(Flaw::Untrusted), PATIENCE),
        client.connect(far, None, None, false, PATIENCE)
    );
    assert!(accepted.is_ok() && connected.is_ok());
}

#[tokio::test]
async fn a_postgres_is_asked_first() {
    let stand = Stand::new("postgres", &[]);
    let client = stand.client(|tls| tls.postgres = true);
    for (answer, goes) in [(b'S', true), (b'N', false)] {
        let (mut near, far) = duplex(1 << 16);
        let served = async {
            let mut asked = [0; 8];
            near.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, super::postgres::SSL_REQUEST);
            near.write_all(&[answer]).await.unwrap();
            stand.server.accept(near, None, PATIENCE).await.is_ok()
        };
        let (served, connected) = tokio::join!(served, client.connect(far, None, None, false, PATIENCE));
        assert_eq!((served, connected.is_ok()), (goes, goes));
    }
}

#[test]
fn what_can_not_be_had_is_told_at_once() {
    let authority = Arc::new(Authority::new(None));
    let issuing = Tls { mode: Mode::Terminate, issue: true, ..Tls::default() };
    assert!(Server::open(&issuing, "127.0.0.1:0", &authority).unwrap_err().contains("no directory for a CA"));
    let gone = trusting(Path::new("/gone.pem"));
    let upstream = Upstream::Address("127.0.0.1:1".parse().unwrap());
    assert!(Client::open(&gone, &upstream).unwrap_err().contains("/gone.pem: can not read the file"));
}
