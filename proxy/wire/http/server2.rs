//! An upstream that speaks HTTP/2: one exchange, a stream of a connection that carries others.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use squall_core::http::{Fields, Method, Request, Response, StatusCode};

use super::channel2::Channel;
use super::ends::{Answered, Broken, Length, Piece, Server, Sink, Source};
use super::flow2::{Outflow, poll_body};
use super::h1::Refusal;
use super::head2;
use super::upgrade;

/// See the module.
pub(crate) struct Server2 {
    channel: Rc<Channel>,
    method: Method,
    awaited: Option<ResponseFuture>,
    out: Option<Outflow>,
    body: Option<RecvStream>,
    tunnel: Tunnel,
    /// Why the request could not be sent.
    failed: Option<Broken>,
    heard: bool,
}

/// What a request asks for besides an answer.
enum Tunnel {
    No,
    /// CONNECT, of either kind.
    Connect,
    /// A client of HTTP/1 asks for WebSocket, and has to hear this.
    Upgrade(Option<String>),
}

impl Server2 {
    /// Nothing has been sent yet.
    pub(crate) fn new(channel: Rc<Channel>) -> Server2 {
        channel.enter();
        Server2 {
            channel,
            method: Method::GET,
            awaited: None,
            out: None,
            body: None,
            tunnel: Tunnel::No,
            failed: None,
            heard: false,
        }
    }

    /// Whether any of an answer has come.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Its connection carries no other exchange.
    pub(crate) fn retire(&self) {
        self.channel.retire();
    }

    fn send(&mut self, request: &Request, length: Length) -> Result<(), Broken> {
        let mut sender = self.channel.sender().ok_or(Broken::Lost { reset: true })?;
        self.method = request.method.clone();
        let wanted =
            request.protocol.as_deref().or_else(|| upgrade::protocol(request).filter(|_| length == Length::Tunnel));
        let (head, tunnel) = match wanted {
            _ if request.method == Method::CONNECT && request.protocol.is_none() => {
                (head2::to_request(request, length, None)?, Tunnel::Connect)
            }
            None => (head2::to_request(request, length, None)?, Tunnel::No),
            Some(_) if !sender.is_extended_connect_protocol_enabled() => {
                let why = "the upstream takes no extended CONNECT";
                return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, why }.into());
            }
            Some(protocol) if request.protocol.is_some() => {
                (head2::to_request(request, length, Some(protocol))?, Tunnel::Connect)
            }
            Some(protocol) => {
                let (request, accept) = upgrade::to_connect(request);
                (head2::to_request(&request, length, Some(protocol))?, Tunnel::Upgrade(accept))
            }
        };
        self.tunnel = tunnel;
        let whole =
            matches!(self.tunnel, Tunnel::No) && matches!(length, Length::None | Length::Known(0) | Length::Tunnel);
        let (awaited, out) = sender.send_request(head, whole).inspect_err(|_| self.channel.retire())?;
        self.awaited = Some(awaited);
        self.out = Some(Outflow::new(out, whole));
        Ok(())
    }

    fn take_head(&mut self, head: http::Response<RecvStream>, into: &mut Response) -> Result<Answered, Broken> {
        let (head, body) = head.into_parts();
        let status = head.status;
        let opens = !matches!(self.tunnel, Tunnel::No) && status.is_success();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let why = "101 (Switching Protocols) in HTTP/2";
            return Err(Refusal { status: StatusCode::BAD_GATEWAY, why }.into());
        }
        let whole = body.is_end_stream();
        self.body = Some(body);
        let length = head2::response(status, &head.headers, &self.method, whole, into)?;
        if !opens {
            return Ok(Answered { length });
        }
        if let Tunnel::Upgrade(accept) = &self.tunnel {
            upgrade::switched(into, accept.as_deref());
        }
        into.fields.remove("content-length"); // RFC 9110, 8.6
        Ok(Answered { length: Length::Tunnel })
    }
}

impl Drop for Server2 {
    fn drop(&mut self) {
        self.channel.leave();
    }
}

impl Server for Server2 {
    fn request(&mut self, request: &Request, length: Length) {
        self.failed = self.send(request, length).err();
    }

    fn poll_head(&mut self, into: &mut Response, cx: &mut Context<'_>) -> Poll<Result<Answered, Broken>> {
        if let Some(failed) = self.failed.take() {
            return Poll::Ready(Err(failed));
        }
        let Some(awaited) = &mut self.awaited else { return Poll::Ready(Err(Broken::Lost { reset: false })) };
        if let Poll::Ready(Some(interim)) = awaited.poll_informational(cx)? {
            self.heard = true;
            let status = interim.status();
            head2::response(status, interim.headers(), &self.method, false, into)?;
            return Poll::Ready(Ok(Answered { length: Length::None }));
        }
        let head = ready!(Pin::new(awaited).poll(cx))?;
        self.heard = true;
        self.awaited = None;
        Poll::Ready(self.take_head(head, into))
    }

    fn cancel(&mut self) {
        if let Some(out) = &mut self.out {
            out.reset(Reason::CANCEL);
        }
    }
}

impl Source for Server2 {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(Piece::End(None))) };
        poll_body(body, cx)
    }
}

impl Sink for Server2 {
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match &mut self.out {
            Some(out) if !out.has_room() => {
                let written = out.poll_written(cx)?;
                if out.has_room() { Poll::Ready(Ok(())) } else { written.map(Ok) }
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn put(&mut self, bytes: Bytes) {
        if let Some(out) = &mut self.out {
            out.put(bytes);
        }
    }

    fn finish(&mut self, trailers: Option<Fields>) {
        if let Some(out) = &mut self.out {
            out.finish(trailers.as_ref());
        }
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.out.as_mut().map_or(Poll::Ready(Ok(())), |out| out.poll_written(cx))
    }
}
