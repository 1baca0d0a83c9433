//! One connection, from its first byte to its last.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tower::Service;

use super::Link;
use super::stall::Unstalled;
use crate::problem::{self, Failure};
use crate::server::{Limits, stopped};

/// How long, and how much, a closed connection is still read, so that the last answer is not lost to a reset.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 4 << 20;

pub(super) async fn serve<S>(
    stream: S,
    router: Router,
    link: Arc<Link>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        let busy = link.busy();
        request.extensions_mut().insert(link.clone());
        let mut router = router.clone();
        Box::pin(async move {
            let answer = router.call(request).await;
            drop(busy);
            answer
        })
    });
    let stream = TokioIo::new(Unstalled::new(stream, limits.write));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(64)
        .max_buf_size(32 << 10)
        .half_close(true)
        .serve_connection(stream, service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        () = stopped(&mut stop) => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().into_inner();
    if ended.is_err_and(|e| e.is_timeout()) && !parts.read_buf.is_empty() {
        let _ = stream.write_all(&late()).await;
    }
    linger(stream).await;
}

/// hyper closes without a word when a head takes too long; a client that has begun one is told.
fn late() -> Vec<u8> {
    let failure = Failure::new(StatusCode::REQUEST_TIMEOUT, "the head of the request took too long");
    let body = failure.body();
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        problem::CONTENT,
        body.len()
    );
    [head.into_bytes(), body].concat()
}

async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut scratch = [0; 4096];
    let drain = async {
        let mut left = LINGER_BYTES;
        while let Ok(n @ 1..) = stream.read(&mut scratch).await {
            let Some(rest) = left.checked_sub(n) else { return };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(LINGER, drain).await;
}
