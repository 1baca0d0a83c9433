//! `kind = "recording"`: answers HTTP/1.1 and HTTP/2 requests (prior knowledge) as somebody else was seen to, in the same
//! pieces and at the same times.

mod body;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use squall_core::draw::DrawKey;
use squall_core::recording::{Asked, Content, Ended, Exchange, Playing, Recording, Timing};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use self::body::Pieces;
use super::{Counts, count};
use crate::timer::{Timer, now};

/// Bytes of a request's body that are looked at; one that is longer is no recorded one.
const LOOKED_AT: usize = 1 << 20;
/// Fields that belong to a connection, not to an answer (RFC 9110, 7.6.1).
const HOP_BY_HOP: &[&str] = &["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];
/// Says that a recording has no answer.
const SAYS: HeaderName = HeaderName::from_static("x-squall-recording");

/// Plays one recording to whoever connects.
pub(super) struct Player {
    playing: Playing,
    timing: Timing,
    draws: DrawKey,
    requests: AtomicU64,
    counts: Arc<Counts>,
}

type Answer = Either<Pieces, Full<Bytes>>;

impl Player {
    /// An error is in words for people.
    pub(super) fn new(
        name: &str,
        recording: &Arc<Recording>,
        timing: Timing,
        strict: bool,
        counts: Arc<Counts>,
    ) -> Result<Player, String> {
        let playing = Playing::new(Arc::clone(recording), strict)?;
        // as for other services: the name and the number of the request decide
        Ok(Player { playing, timing, draws: DrawKey::new(0, "service", name), requests: AtomicU64::new(0), counts })
    }

    pub(super) async fn converse(self: &Arc<Self>, stream: TcpStream, timer: &Timer) -> io::Result<()> {
        let (player, timer) = (Arc::clone(self), timer.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let (player, timer) = (Arc::clone(&player), timer.clone());
            async move { player.answer(request, &timer).await }
        });
        let mut builder = Builder::new(OnThisThread);
        builder.http1().auto_date_header(false);
        builder.http2().auto_date_header(false);
        builder.serve_connection(TokioIo::new(stream), answer).await.map_err(io::Error::other)
    }

    async fn answer(&self, request: Request<Incoming>, timer: &Timer) -> hyper::Result<Response<Answer>> {
        let (head, mut body) = request.into_parts();
        let mut kept = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                let room = (LOOKED_AT + 1).saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        let came = now(); // looking for the answer is no part of the time that it took
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        count(&self.counts.requests);
        let host = head.uri.authority().map(http::uri::Authority::as_str);
        let host = host.or_else(|| head.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
        let asked =
            Asked { host, method: head.method.as_str(), path: head.uri.path(), query: head.uri.query(), body: &kept };
        let Some(found) = self.playing.answer(&asked) else {
            count(&self.counts.unknown);
            return Ok(unknown(&asked));
        };
        let due = came.saturating_add(self.playing.first(found, self.timing, self.draws.unit(number)));
        timer.sleep_until(due).await;
        let recording = self.playing.recording();
        let Some(exchange) = recording.exchanges.get(found) else { return Ok(unknown(&asked)) };
        let timed = self.timing != Timing::None;
        let pieces = Pieces::new(Arc::clone(recording), found, timer.clone(), due, timed);
        let mut response = Response::new(Either::Left(pieces));
        *response.status_mut() = StatusCode::from_u16(exchange.status).unwrap_or(StatusCode::BAD_GATEWAY);
        for (name, value) in fields(exchange, recording.head.upstream.as_deref(), host) {
            response.headers_mut().append(name, value);
        }
        Ok(response)
    }
}

/// The fields of an answer, as they go to somebody who asked for `host`.
fn fields<'a>(
    exchange: &'a Exchange,
    upstream: Option<&'a str>,
    host: &'a str,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + 'a {
    let size_of = |chunk: &squall_core::recording::Chunk| match &chunk.content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Size(size) => *size, // as a file says it
    };
    let size = exchange.chunks.iter().map(size_of).fold(0, u64::saturating_add);
    // of a HEAD, a 304 and what ended too early the length is not that of what comes
    let fits = move |length: &str| exchange.ended != Ended::Whole || size == 0 || length.parse() == Ok(size);
    let passes = move |name: &str, value: &str| {
        !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
            && (!name.eq_ignore_ascii_case("content-length") || fits(value))
    };
    let sent =
        exchange.fields.iter().filter(move |(name, value)| passes(name, value)).filter_map(move |(name, value)| {
            let is_place = ["location", "content-location"].iter().any(|place| name.eq_ignore_ascii_case(place));
            let value = if is_place { &*here(value, exchange, upstream, host) } else { &**value };
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        });
    // HTTP/1.1 sends no trailers that were not announced
    let announced = exchange.trailers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let announces =
        !announced.is_empty() && !exchange.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("trailer"));
    let announced = announces.then(|| HeaderValue::try_from(announced).ok()).flatten();
    sent.chain(announced.map(|names| (header::TRAILER, names)))
}

/// A place at the recorded upstream is one here: whoever follows it must not leave for the network.
fn here(place: &str, exchange: &Exchange, upstream: Option<&str>, host: &str) -> String {
    let of_host = |scheme: &str| (!exchange.host.is_empty()).then(|| format!("{scheme}://{}", exchange.host));
    let origins = [upstream.map(str::to_owned), of_host("http"), of_host("https")];
    for origin in origins.iter().flatten() {
        if let Some(rest) = place.strip_prefix(origin.as_str())
            && (rest.is_empty() || rest.starts_with(['/', '?']))
        {
            return format!("http://{host}{rest}");
        }
    }
    place.to_owned()
}

fn unknown(asked: &Asked<'_>) -> Response<Answer> {
    let Asked { method, path, .. } = asked;
    let text = format!("squall: the recording has no answer to {method} {path}\n");
    let mut response = Response::new(Either::Right(Full::new(text.into())));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(SAYS, HeaderValue::from_static("unknown"));
    response
}

/// Tasks of one service stay on its thread.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F> Executor<F> for OnThisThread
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        spawn_local(task);
    }
}
