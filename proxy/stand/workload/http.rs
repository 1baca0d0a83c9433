//! `kind = "http"`: HTTP/1.1 requests; an answer counts when its status is right and its body whole.

use std::str::FromStr;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use squall_core::scenario::{WorkloadKind, WorkloadSpec};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};

use super::dispatch::Client;
use super::failure::Failure;
use super::template::Template;

pub(crate) struct HttpClient {
    host: HeaderValue,
    method: Method,
    path: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Template>,
    status: Option<u16>,
    /// Whether connections are kept for further requests.
    keeps: bool,
}

impl HttpClient {
    /// A client for an HTTP workload; everything that can be wrong about its requests is found here.
    pub(super) fn new(spec: &WorkloadSpec, target: &str) -> Result<HttpClient, String> {
        let WorkloadKind::Http { method, path, headers, body, status } = &spec.kind else {
            return Err("not an HTTP workload".into());
        };
        let name = |(name, value): (&String, &String)| match HeaderName::from_str(name) {
            Ok(name) => Ok((name, Template::new(value))),
            Err(_) => Err(format!("`{name}` is not a header name")),
        };
        let client = HttpClient {
            host: HeaderValue::from_str(target).map_err(|_| format!("`{target}` is not a host"))?,
            method: Method::from_str(method).map_err(|_| format!("`{method}` is not a method"))?,
            path: Template::new(path),
            headers: headers.iter().map(name).collect::<Result<_, _>>()?,
            body: body.as_deref().map(Template::new),
            status: *status,
            keeps: spec.connections.is_some(),
        };
        client.request(0)?;
        Ok(client)
    }

    /// `GET /` on connections of its own; any status below 500 is an answer.
    pub(crate) fn get(target: &str) -> Result<HttpClient, String> {
        Ok(HttpClient {
            host: HeaderValue::from_str(target).map_err(|_| format!("`{target}` is not a host"))?,
            method: Method::GET,
            path: Template::new("/"),
            headers: Vec::new(),
            body: None,
            status: None,
            keeps: false,
        })
    }

    fn request(&self, number: u64) -> Result<Request<Full<Bytes>>, String> {
        let path = self.path.fill(number);
        let mut request = Request::new(Full::from(self.body.as_ref().map_or(String::new(), |body| body.fill(number))));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_str(&path).map_err(|error| format!("path `{path}`: {error}"))?;
        *request.headers_mut() = self.head(number)?;
        Ok(request)
    }

    fn head(&self, number: u64) -> Result<HeaderMap, String> {
        let mut head = HeaderMap::new();
        head.insert(HOST, self.host.clone());
        if !self.keeps {
            head.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in &self.headers {
            let value = value.fill(number);
            let value =
                HeaderValue::from_str(&value).map_err(|_| format!("header {name}: `{value}` can not be sent"))?;
            head.insert(name, value);
        }
        Ok(head)
    }

    fn is_answer(&self, status: u16) -> bool {
        self.status.map_or(status < 500, |expected| status == expected)
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

    async fn exchange(&self, connection: &mut Connection, number: u64) -> Result<(), Failure> {
        let request = self.request(number).map_err(|_| Failure::Other)?;
        let response = connection.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        if self.is_answer(status) { Ok(()) } else { Err(Failure::Status(status)) }
    }
}
