//! `http`: one HTTP/1.1 request on a connection of its own. Redirects are answers like any other.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use squall_core::limits::Limits;

use super::{LOOK, connect, quote};

/// A request.
pub(super) struct Ask<'a> {
    pub(super) url: &'a str,
    pub(super) method: &'a str,
    pub(super) headers: Option<&'a BTreeMap<String, String>>,
    pub(super) body: Option<&'a str>,
    /// For `Authorization: Bearer`.
    pub(super) token: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A GET.
    pub(super) fn get(url: &'a str, token: Option<&'a str>) -> Ask<'a> {
        Ask { url, method: "GET", headers: None, body: None, token }
    }

    fn request(&self, uri: &Uri) -> Result<Request<Full<Bytes>>, String> {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(self.method).uri(path).header(HOST, host);
        request = request.header(USER_AGENT, "squall").header(CONNECTION, "close");
        for (name, value) in self.headers.into_iter().flatten() {
            request = request.header(name, value);
        }
        if let Some(token) = self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| "the token can not stand in a header".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let body = Full::from(self.body.unwrap_or_default().to_owned());
        request.body(body).map_err(|error| error.to_string())
    }
}

/// An answer, its body up to what is looked at.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Nothing was left out.
    pub(super) is_whole: bool,
}

pub(super) async fn check(ask: &Ask<'_>, status: u16, expect: Option<&str>, limits: &Limits) -> Result<(), String> {
    let answer = send(ask, limits).await?;
    if answer.status != status {
        return Err(format!("answered {}, not {status}", answer.status));
    }
    match expect {
        Some(expect) if !String::from_utf8_lossy(&answer.body).contains(expect) => {
            Err(format!("answered {}, without {expect:?}", quote(&String::from_utf8_lossy(&answer.body))))
        }
        _ => Ok(()),
    }
}

/// Sends it and takes the answer in.
pub(super) async fn send(ask: &Ask<'_>, limits: &Limits) -> Result<Answer, String> {
    let uri: Uri = ask.url.parse().map_err(|error| format!("{}: {error}", ask.url))?;
    let request = ask.request(&uri)?;
    let host = uri.host().ok_or("the URL names no host")?;
    let address = format!("{host}:{}", uri.port_u16().unwrap_or(80));
    let stream = connect(&address, limits).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(told)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(told)?;
        let status = response.status().as_u16();
        let (mut body, mut read, mut is_whole) = (response.into_body(), Vec::new(), true);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(told)?;
            let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
            read.extend_from_slice(&data[..data.len().min(LOOK - read.len())]);
            if read.len() == LOOK {
                is_whole = false;
                break;
            }
        }
        Ok(Answer { status, body: read, is_whole })
    };
    // the connection moves the bytes; it ends when the exchange has let go of both halves
    tokio::join!(exchange, connection).0
}

fn told(error: hyper::Error) -> String {
    if error.is_parse() {
        return "the answer is not HTTP".into();
    }
    if error.is_incomplete_message() {
        return "the connection was closed before a whole answer".into();
    }
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(&error) {
        text = format!("{text}: {cause}");
    }
    text
}
