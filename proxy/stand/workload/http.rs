//! `kind = "http"`: HTTP/1.1 requests; an answer counts when its status is right and its body whole.

use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use squall_core::scenario::{HttpRequest, Weighted, WorkloadSpec};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};

use super::arrivals::Due;
use super::dispatch::Client;
use super::failure::Failure;
use super::template::Template;

pub(crate) struct HttpClient {
    host: HeaderValue,
    requests: Vec<Filled>,
    /// Whether connections are kept for further requests.
    keeps: bool,
}

/// A request in which the number is still to be filled in.
struct Filled {
    method: Method,
    path: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    status: Option<u16>,
}

impl Filled {
    fn new(request: &HttpRequest) -> Result<Filled, String> {
        let HttpRequest { method, path, headers, body, status } = request;
        let name = |(name, value): (&String, &String)| match HeaderName::from_str(name) {
            Ok(name) => Ok((name, Template::new(value))),
            Err(_) => Err(format!("`{name}` is not a header name")),
        };
        Ok(Filled {
            method: Method::from_str(method).map_err(|_| format!("`{method}` is not a method"))?,
            path: Template::new(path),
            headers: headers.iter().map(name).collect::<Result<_, _>>()?,
            body: body.as_deref().map(Template::new),
            status: *status,
        })
    }

    fn is_answer(&self, status: u16) -> bool {
        self.status.map_or(status < 500, |expected| status == expected)
    }
}

impl HttpClient {
    /// A client for HTTP requests; everything that can be wrong about them is found here.
    pub(super) fn new(
        requests: &[Weighted<HttpRequest>],
        spec: &WorkloadSpec,
        target: &str,
    ) -> Result<HttpClient, String> {
        let client = HttpClient {
            host: HeaderValue::from_str(target).map_err(|_| format!("`{target}` is not a host"))?,
            requests: requests.iter().map(|one| Filled::new(&one.request)).collect::<Result<_, _>>()?,
            keeps: spec.connections.is_some(),
        };
        client.requests.iter().try_for_each(|request| client.request(request, 0).map(drop))?;
        Ok(client)
    }

    /// `GET /` on connections of its own; any status below 500 is an answer.
    pub(crate) fn get(target: &str) -> Result<HttpClient, String> {
        let path = "/".to_owned();
        let request = HttpRequest { method: "GET".into(), path, headers: BTreeMap::new(), body: None, status: None };
        Ok(HttpClient {
            host: HeaderValue::from_str(target).map_err(|_| format!("`{target}` is not a host"))?,
            requests: vec![Filled::new(&request)?],
            keeps: false,
        })
    }

    fn request(&self, of: &Filled, number: u64) -> Result<Request<Full<Bytes>>, String> {
        let path = of.path.fill(number);
        let mut request = Request::new(Full::from(of.body.as_ref().map_or(String::new(), |body| body.fill(number))));
        *request.method_mut() = of.method.clone();
        *request.uri_mut() = Uri::from_str(&path).map_err(|error| format!("path `{path}`: {error}"))?;
        *request.headers_mut() = self.head(of, number)?;
        Ok(request)
    }

    fn head(&self, of: &Filled, number: u64) -> Result<HeaderMap, String> {
        let mut head = HeaderMap::new();
        head.insert(HOST, self.host.clone());
        if !self.keeps {
            head.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in &of.headers {
            let value = value.fill(number);
            let value =
                HeaderValue::from_str(&value).map_err(|_| format!("header {name}: `{value}` can not be sent"))?;
            head.insert(name, value);
        }
        Ok(head)
    }
}

/// An HTTP connection and the task that moves its bytes.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client for HttpClient {
    type Connection = Connection;

    async fn open(&self, stream: TcpStream) -> Result<Connection, Failure> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driver = spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection of a workload ended");
            }
        });
        Ok(Connection { sender, driver })
    }

    async fn is_usable(&self, connection: &mut Connection) -> bool {
        connection.sender.ready().await.is_ok()
    }

    async fn exchange(&self, connection: &mut Connection, due: Due) -> Result<(), Failure> {
        let of = self.requests.get(due.request).ok_or(Failure::Other)?;
        let request = self.request(of, due.number).map_err(|_| Failure::Other)?;
        let response = connection.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        if of.is_answer(status) { Ok(()) } else { Err(Failure::Status(status)) }
    }
}
