//! `GET /v1/events`: everything that happens, as it happens.

use std::convert::Infallible;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event as Line, KeepAlive, Sse};
use http::StatusCode;
use squall_drill::view::Event;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::connections::Link;
use crate::pool::Lane;
use crate::problem::Failure;
use crate::routes::Port;
use crate::server::stopped;

type Stream = ReceiverStream<Result<Line, Infallible>>;

pub(crate) async fn events(
    State(port): State<Port>,
    Extension(link): Extension<Arc<Link>>,
) -> Result<Sse<axum::response::sse::KeepAliveStream<Stream>>, Failure> {
    let Ok(place) = port.streams.clone().try_acquire_owned() else {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many readers of the event stream"));
    };
    let app = port.app.clone();
    let mut events = port.pool.run(Lane::Quick, move || app.experiments().events()).await?;
    // What a slow reader has not taken waits in the engine's bounded channel, which drops the oldest.
    let (to, stream) = mpsc::channel(8);
    let mut stop = port.stop;
    let busy = link.busy();
    tokio::spawn(async move {
        let _held = (place, busy);
        let mut last_at = String::new();
        loop {
            let event = tokio::select! {
                () = stopped(&mut stop) => return,
                () = to.closed() => return,
                event = events.recv() => match event {
                    Ok(event) => event,
                    Err(RecvError::Lagged(n)) => lost(n, &last_at),
                    Err(RecvError::Closed) => return,
                },
            };
            last_at.clone_from(&event.at);
            let Ok(line) = Line::default().id(event.seq.to_string()).event(&event.kind).json_data(&event) else {
                continue;
            };
            if to.send(Ok(line)).await.is_err() {
                return;
            }
        }
    });
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::new().interval(port.limits.pulse)))
}

/// A gap is said, not hidden. `at` is that of the event before it.
fn lost(n: u64, at: &str) -> Event {
    let text = format!("{n} events were lost: this reader was too slow");
    Event { seq: 0, at: at.to_owned(), elapsed: None, experiment: None, kind: "lost".to_owned(), text }
}
