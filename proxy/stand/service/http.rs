//! `kind = "http"`: answers every HTTP/1.1 request with one status, a body of one size, and a drawn latency.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use squall_core::dist::Distribution;
use squall_core::draw::DrawKey;
use tokio::net::TcpStream;

use crate::timer::{Timer, now};

/// What to answer, and how many requests have come.
pub(super) struct Answers {
    status: StatusCode,
    size: u64,
    latency: Option<Latency>,
}

struct Latency {
    distribution: Distribution,
    key: DrawKey,
    requests: Cell<u64>,
    started: u64,
}

impl Answers {
    pub(super) fn new(name: &str, status: u16, size: u64, latency: Option<Distribution>) -> Result<Answers, String> {
        let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200);
        let status = status.ok_or("the status of an answer lies between 200 and 999")?;
        // No seed reaches a service, and none is needed: its name and the number of the request decide.
        let latency = latency.map(|distribution| Latency {
            distribution,
            key: DrawKey::new(0, "service", name),
            requests: Cell::new(0),
            started: now(),
        });
        Ok(Answers { status, size, latency })
    }

    pub(super) async fn converse(&self, stream: TcpStream, timer: &Timer) -> io::Result<()> {
        let answer = service_fn(|request: http::Request<Incoming>| self.answer(request, timer));
        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.map_err(io::Error::other)
    }

    async fn answer(&self, request: http::Request<Incoming>, timer: &Timer) -> hyper::Result<Response<Filler>> {
        let due = self.latency.as_ref().map(Latency::due);
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        if let Some(due) = due {
            timer.sleep_until(due).await;
        }
        let mut response = Response::new(Filler { left: self.size });
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
        Ok(response)
    }
}

impl Latency {
    fn due(&self) -> u64 {
        let number = self.requests.get();
        self.requests.set(number + 1);
        let now = now();
        now + self.distribution.sample(self.key.unit(number).at(0), now - self.started)
    }
}

/// A body of a given size, made from one block however large it is.
struct Filler {
    left: u64,
}

static BLOCK: [u8; 16 * 1024] = block();

/// Lines of 64 characters, so that a block continues where the last one ended.
const fn block() -> [u8; 16 * 1024] {
    let line = b"squall 0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQ.\n";
    assert!(line.len() == 64);
    let mut block = [0; 16 * 1024];
    let mut at = 0;
    while at < block.len() {
        block[at] = line[at % 64];
        at += 1;
    }
    block
}

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = usize::try_from(self.left).unwrap_or(usize::MAX).min(BLOCK.len());
        self.left -= piece as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&BLOCK[..piece])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
