//! `kind = "http"`: answers every HTTP/1.1 request with one status, a body of one size, and a drawn latency; where a
//! capacity is written, no more of them at one moment than that.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use squall_core::scenario::{ServiceKind, ServiceSpec};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::calls::Calls;
use super::capacity::Capacity;
use super::{Counts, count};
use crate::timer::{Timer, now};

/// What to answer, and how many requests have come.
pub(super) struct Answers {
    status: StatusCode,
    size: u64,
    latency: Option<Latency>,
    capacity: Option<Capacity>,
    calls: Option<Calls>,
    counts: Arc<Counts>,
}

struct Latency {
    distribution: Distribution,
    key: DrawKey,
    requests: AtomicU64,
    started: u64,
}

impl Answers {
    pub(super) fn new(spec: &ServiceSpec, counts: Arc<Counts>) -> Result<Answers, String> {
        let ServiceKind::Http { status, size, latency, capacity, calls } = &spec.kind else {
            return Err("not an HTTP service".into());
        };
        let status = StatusCode::from_u16(*status).ok().filter(|status| status.as_u16() >= 200);
        let status = status.ok_or("the status of an answer lies between 200 and 999")?;
        // No seed reaches a service, and none is needed: its name and the number of the request decide.
        let latency = latency.clone().map(|distribution| Latency {
            distribution,
            key: DrawKey::new(0, "service", &spec.name),
            requests: AtomicU64::new(0),
            started: now(),
        });
        let calls = calls.as_ref().map(Calls::new).transpose()?;
        Ok(Answers { status, size: *size, latency, capacity: capacity.map(Capacity::new), calls, counts })
    }

    pub(super) async fn converse(self: &Arc<Self>, stream: TcpStream, timer: &Timer) -> io::Result<()> {
        let answer = service_fn(|request: http::Request<Incoming>| self.answer(request, timer));
        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await.map_err(io::Error::other)
    }

    async fn answer(
        self: &Arc<Self>,
        request: http::Request<Incoming>,
        timer: &Timer,
    ) -> hyper::Result<Response<Filler>> {
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        count(&self.counts.requests);
        let status = self.status(timer).await;
        let mut response = Response::new(Filler { left: if status == self.status { self.size } else { 0 } });
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
        Ok(response)
    }

    /// Does the work, in its turn.
    async fn status(self: &Arc<Self>, timer: &Timer) -> StatusCode {
        let Some(capacity) = &self.capacity else { return self.work(timer).await };
        let Some(place) = capacity.enter() else {
            count(&self.counts.turned_away);
            return StatusCode::SERVICE_UNAVAILABLE;
        };
        let (answers, timer) = (Arc::clone(self), timer.clone());
        // a task of its own: it goes on when the client does not wait for it any more
        let work = spawn_local(async move {
            let _place = place.await;
            answers.work(&timer).await
        });
        work.await.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    async fn work(&self, timer: &Timer) -> StatusCode {
        if let Some(calls) = &self.calls
            && !calls.somebody_answers().await
        {
            return StatusCode::BAD_GATEWAY;
        }
        if let Some(latency) = &self.latency {
            timer.sleep_until(latency.due()).await;
        }
        self.status
    }
}

impl Latency {
    fn due(&self) -> u64 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let now = now();
        now + self.distribution.sample(self.key.unit(number).at(0), now - self.started)
    }
}

/// A body of a given size, made from one block however large it is.
struct Filler {
    left: u64,
}

/// What nobody has written down: at most so many bytes.
pub(super) fn filler(most: u64) -> Bytes {
    let piece = usize::try_from(most).unwrap_or(usize::MAX).min(BLOCK.len());
    Bytes::from_static(&BLOCK[..piece])
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
        let piece = filler(self.left);
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
