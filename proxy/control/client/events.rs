//! The stream of events, one by one.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::ClientError;
use super::wire::{Answer, Call, runtime, within};
use crate::api::Event;
use crate::place::Place;

/// No event is longer.
const MAX_EVENT: usize = 1 << 20;

/// Iterates over events as they happen; [`Iterator::next`] blocks until there is one and gives `None` when the server ends
/// the stream.
#[derive(Debug)]
pub struct Events {
    runtime: tokio::runtime::Runtime,
    place: Place,
    body: Incoming,
    buffer: BytesMut,
}

impl Events {
    pub(super) fn open(call: Call) -> Result<Events, ClientError> {
        let (patience, place) = (call.patience, call.place.clone());
        let runtime = runtime()?;
        let call = Call { accept: "text/event-stream", ..call };
        let response = runtime.block_on(within(patience, place.clone(), call.send()))?;
        if !response.status().is_success() {
            let answer = runtime.block_on(within(patience, place, Answer::read(response)))?;
            return Err(answer.text().err().unwrap_or_else(|| ClientError::Strange("no event stream".into())));
        }
        Ok(Events { runtime, place, body: response.into_body(), buffer: BytesMut::new() })
    }

    /// The next event whose block of lines is complete in the buffer.
    fn buffered(&mut self) -> Option<Result<Event, ClientError>> {
        loop {
            let end = self.buffer.windows(2).position(|two| two == b"\n\n")?;
            let block = self.buffer.split_to(end);
            self.buffer.advance(2);
            let data = block[..].split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"data: ".as_slice()));
            // Blocks without data are comments that keep the connection alive.
            if let Some(data) = data {
                return Some(serde_json::from_slice(data).map_err(|e| ClientError::Strange(e.to_string())));
            }
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.buffered() {
                return Some(event);
            }
            if self.buffer.len() > MAX_EVENT {
                return Some(Err(ClientError::Strange("an event without end".into())));
            }
            match self.runtime.block_on(self.body.frame())? {
                Ok(frame) => self.buffer.extend(frame.into_data().ok()),
                Err(e) => return Some(Err(ClientError::Unreachable(self.place.clone(), e.to_string()))),
            }
        }
    }
}
