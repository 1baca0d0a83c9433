#![allow(clippy::unwrap_used, clippy::panic)]
//! The codec as a client's bytes meet it: taken in, and written for the upstream.

mod bodies;
mod corpus;
mod properties;
mod reader;
mod requests;
mod responses;
mod writing;

use squall_core::http::{Fields, Method, Request, Response};

use super::*;

/// What became of the bytes of a client.
#[derive(Debug, Default, PartialEq)]
struct Relayed {
    /// What went to the upstream, each body in chunks as one.
    sent: Vec<u8>,
    requests: Vec<Message>,
    refused: Option<Refusal>,
    /// Bytes behind the last whole message.
    left: usize,
}

/// A request as a reader understands it.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    method: String,
    target: String,
    host: String,
    body: Vec<u8>,
}

/// A client's connection through squall, its bytes in these pieces; it ends behind them.
fn relay(pieces: &[&[u8]]) -> Relayed {
    let mut relay = Relay::default();
    for piece in pieces {
        relay.buf.extend_from_slice(piece);
        if let Err(refusal) = relay.go_on() {
            relay.all.refused = Some(refusal);
            break;
        }
    }
    Relayed { left: relay.buf.len(), ..relay.all }
}

#[derive(Default)]
struct Relay {
    buf: Vec<u8>,
    scan: Scan,
    request: Request,
    body: Option<(Taken, Decoder, Vec<u8>)>,
    ended: bool,
    all: Relayed,
}

impl Relay {
    fn go_on(&mut self) -> Result<(), Refusal> {
        while !self.ended {
            let Some((_, decoder, body)) = &mut self.body else {
                let limits = Limits::default();
                let Some(taken) = request(&self.buf, &mut self.scan, &limits, &mut self.request)? else {
                    return Ok(());
                };
                self.buf.drain(..taken.used);
                self.body = Some((taken, Decoder::new(taken.framing, &limits, Side::Request), Vec::new()));
                continue;
            };
            let used = match decoder.decode(&self.buf)? {
                Piece::More => return Ok(()),
                Piece::Skip(skip) => skip,
                Piece::Data { skip, len } => {
                    body.extend_from_slice(&self.buf[skip..skip + len]);
                    skip + len
                }
                Piece::End { used, trailers } => {
                    self.write(trailers.as_ref());
                    used
                }
            };
            self.buf.drain(..used);
        }
        Ok(())
    }

    fn write(&mut self, trailers: Option<&Fields>) {
        let Some((taken, _, body)) = self.body.take() else { return };
        let (request, sent) = (&self.request, &mut self.all.sent);
        let how = Passing { upgrade: taken.upgrade, ..Passing::default() };
        write_request(request, taken.framing, &how, sent);
        if taken.framing == Framing::Chunked {
            if !body.is_empty() {
                chunk_head(body.len(), sent);
                sent.extend_from_slice(&body);
                sent.extend_from_slice(CHUNK_TAIL);
            }
            last_chunk(trailers, sent);
        } else {
            sent.extend_from_slice(&body);
        }
        let is_connect = request.method == Method::CONNECT;
        self.ended = is_connect || taken.upgrade || !taken.persists;
        self.all.requests.push(Message {
            method: request.method.to_string(),
            target: if is_connect { &request.authority } else { &request.target }.clone(),
            host: request.authority.clone(),
            body,
        });
    }
}

/// One byte for each character, up to `\u{ff}`.
fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

/// What a request's head is, all of it at once, and whether it was taken.
fn head_of(text: &str) -> Result<Option<(Taken, Request)>, Refusal> {
    let mut into = Request::default();
    let taken = request(&latin(text), &mut Scan::default(), &Limits::default(), &mut into)?;
    Ok(taken.map(|taken| (taken, into)))
}

fn response_to(method: &Method, text: &str) -> Result<Option<(Taken, Response)>, Refusal> {
    let mut into = Response::default();
    let taken = response(&latin(text), &mut Scan::default(), &Limits::default(), method, &mut into)?;
    Ok(taken.map(|taken| (taken, into)))
}
