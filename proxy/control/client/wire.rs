//! One request, one answer.

use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

use super::{Bearer, ClientError, Files};
use crate::api::Problem;
use crate::place::Place;

/// No answer of squall's is larger.
const MAX_ANSWER: usize = 64 << 20;

/// A request that is to be made.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) place: Place,
    pub(super) patience: Duration,
    pub(super) token: Option<Bearer>,
    pub(super) tls: Files,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) accept: &'static str,
    /// Content type and text.
    pub(super) body: Option<(&'static str, String)>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Bytes,
}

impl Call {
    /// Makes the request and reads the answer, whatever its status.
    pub(super) fn run(self) -> Result<Answer, ClientError> {
        let patience = self.patience;
        runtime()?.block_on(within(patience, self.place.clone(), async { Answer::read(self.send().await?).await }))
    }

    /// Makes the request; gives head and body of the answer.
    pub(super) async fn send(self) -> Result<Response<Incoming>, ClientError> {
        match &self.place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|e| self.unreachable(e))?;
                let _ = stream.set_nodelay(true);
                let host = address.clone();
                if self.token.is_some() && !stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
                {
                    let why = format!("a token is not sent to {host} for all in between to read: use https");
                    return Err(ClientError::BadPlace(why));
                }
                self.over(TokioIo::new(stream), &host).await
            }
            Place::Tls(address) => {
                let stream = TcpStream::connect(address).await.map_err(|e| self.unreachable(e))?;
                let _ = stream.set_nodelay(true);
                let host = address.clone();
                let stream = self.tls.shake(stream, &host, |why| self.unreachable(why)).await?;
                self.over(TokioIo::new(stream), &host).await
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|e| self.unreachable(e))?;
                self.over(TokioIo::new(stream), "localhost").await
            }
        }
    }

    async fn over<S>(self, stream: S, host: &str) -> Result<Response<Incoming>, ClientError>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|e| self.unreachable(e))?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(&self.method).uri(&self.path).header(HOST, host);
        request = request.header(ACCEPT, self.accept);
        if let Some(Bearer(token)) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some((content_type, _)) = &self.body {
            request = request.header(CONTENT_TYPE, *content_type);
        }
        let body = self.body.as_ref().map(|(_, text)| Bytes::from(text.clone())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|e| ClientError::Strange(e.to_string()))?;
        sender.send_request(request).await.map_err(|e| self.unreachable(e))
    }

    fn unreachable(&self, why: impl std::fmt::Display) -> ClientError {
        ClientError::Unreachable(self.place.clone(), why.to_string())
    }
}

impl Answer {
    pub(super) async fn read(response: Response<Incoming>) -> Result<Answer, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|e| ClientError::Strange(e.to_string()))?.to_bytes();
        Ok(Answer { status, body })
    }

    /// The body of a success, as text; the problem otherwise.
    pub(super) fn text(self) -> Result<String, ClientError> {
        if self.status.is_success() {
            return String::from_utf8(self.body.into()).map_err(|e| ClientError::Strange(e.to_string()));
        }
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
            Err(_) => Err(ClientError::Strange(format!("status {}", self.status))),
        }
    }

    /// The body of a success, read as JSON.
    pub(super) fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        serde_json::from_str(&self.text()?).map_err(|e| ClientError::Strange(e.to_string()))
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|e| ClientError::Strange(format!("no runtime: {e}")))
}

pub(super) async fn within<T>(
    patience: Duration,
    place: Place,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(ClientError::Unreachable(place, format!("nothing came within {patience:?}"))),
    }
}

/// Percent-encodes a value of the query.
pub(super) fn escape(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => to.push(char::from(byte)),
            _ => {
                let _ = write!(to, "%{byte:02X}");
            }
        }
    }
}
