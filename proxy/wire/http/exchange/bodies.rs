//! Bodies of an exchange that are taken whole: to be changed, kept, or sent more than once.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use squall_core::fault::{Flow, NewBody, Patch, Rewrite};
use squall_core::http::{Response, StatusCode};

use super::{Exchange, Halt};
use crate::http::ends::{Client, Length, Piece, Source};
use crate::http::leg::Leg;
use crate::http::reach::Reached;

/// Bytes of an answer that are kept until the upstream has said everything, where a fault asks for that.
const KEPT: usize = 1 << 20;

impl<C: Client> Exchange<'_, C> {
    /// Another body in the place of the request's, or another length.
    pub(super) async fn renew_request(&mut self, patch: Patch) -> Result<(), Halt> {
        self.off_by += patch.length_off_by;
        if self.brought.length == Length::None || self.brought.upgrade {
            return Ok(());
        }
        let new = match patch.body {
            None => return Ok(()),
            Some(NewBody::Put(bytes)) => {
                while !self.gather_request(KEPT).await?.1 {}
                bytes
            }
            Some(NewBody::Rewrite { most, by }) => {
                let (pieces, whole) = self.gather_request(most).await?;
                match rewrite(&pieces, whole, &*by) {
                    Some(new) => new,
                    None => {
                        self.request.put_ahead(pieces, whole);
                        return Ok(());
                    }
                }
            }
        };
        self.brought.length = Length::Known(new.len() as u64);
        self.request.put_ahead([new], true);
        Ok(())
    }

    /// Takes of the request's body what is no longer than that, or more of it; whether that is all.
    async fn gather_request(&mut self, most: usize) -> Result<(Vec<Bytes>, bool), Halt> {
        if self.with_request(|request| request.fields.has("expect")) {
            self.client.interim(&Response { status: StatusCode::CONTINUE, ..Response::default() });
        }
        let (mut pieces, mut sum) = (Vec::new(), 0);
        while sum <= most {
            let piece = poll_fn(|cx| {
                let _the_client_tells = self.client.poll_written(cx);
                self.client.poll_piece(cx)
            });
            match piece.await.map_err(|_| Halt::Client)? {
                Piece::Data(bytes) => {
                    sum += bytes.len();
                    pieces.push(bytes);
                }
                Piece::End(_) => return Ok((pieces, true)),
            }
        }
        Ok((pieces, false))
    }

    /// Reads the request's body, to send it more than once; whether it is short enough for that.
    pub(super) async fn keep_request(&mut self) -> Result<bool, Halt> {
        if !self.kept.is_empty() || self.request.is_done() {
            return Ok(true);
        }
        let (pieces, whole) = self.gather_request(KEPT).await?;
        self.request.put_ahead(pieces.iter().cloned(), whole);
        if whole {
            self.kept = pieces;
        }
        Ok(whole)
    }

    /// Another body in the place of the answer's. Returns its length.
    pub(super) async fn renew(
        &mut self,
        server: &mut Reached,
        length: Length,
        body: Option<NewBody>,
    ) -> Result<Length, Halt> {
        let Some(body) = body.filter(|_| !matches!(length, Length::None | Length::Tunnel)) else { return Ok(length) };
        match body {
            NewBody::Put(bytes) => {
                self.swallow(server).await?;
                let length = Length::Known(bytes.len() as u64);
                self.answer = Leg::new(Flow::Downstream);
                self.answer.put_ahead([bytes], true);
                Ok(length)
            }
            NewBody::Rewrite { most, by } => {
                let (pieces, whole) = self.gather(server, most).await?;
                match rewrite(&pieces, whole, &*by) {
                    Some(new) => {
                        let length = Length::Known(new.len() as u64);
                        self.answer.put_ahead([new], true);
                        Ok(length)
                    }
                    None => {
                        self.answer.put_ahead(pieces, whole);
                        Ok(length)
                    }
                }
            }
        }
    }

    /// Takes of the answer's body what is kept until the upstream has said everything.
    pub(super) async fn keep(&mut self, server: &mut Reached) -> Result<(), Halt> {
        let (pieces, whole) = self.gather(server, KEPT).await?;
        self.answer.put_ahead(pieces, whole);
        Ok(())
    }

    async fn gather(&mut self, server: &mut Reached, most: usize) -> Result<(Vec<Bytes>, bool), Halt> {
        let (mut pieces, mut sum) = (Vec::new(), 0);
        while sum <= most {
            match self.next_of_answer(server).await? {
                Piece::Data(bytes) => {
                    sum += bytes.len();
                    pieces.push(bytes);
                }
                Piece::End(trailers) => {
                    self.answer.put_behind(trailers);
                    return Ok((pieces, true));
                }
            }
        }
        Ok((pieces, false))
    }

    /// Reads the answer to its end and throws it away.
    pub(super) async fn swallow(&mut self, server: &mut Reached) -> Result<(), Halt> {
        while let Piece::Data(_) = self.next_of_answer(server).await? {}
        Ok(())
    }

    async fn next_of_answer(&mut self, server: &mut Reached) -> Result<Piece, Halt> {
        poll_fn(|cx| {
            self.poll_request(server, cx)?;
            if let Poll::Ready(piece) = server.poll_piece(cx) {
                return Poll::Ready(piece.map_err(Halt::Upstream));
            }
            self.client.poll_left(cx).map(|()| Err(Halt::Client))
        })
        .await
    }
}

/// A whole body changed; none: it goes on as it was.
fn rewrite(pieces: &[Bytes], whole: bool, by: &dyn Rewrite) -> Option<Bytes> {
    if !whole {
        by.too_long();
        return None;
    }
    by.rewrite(&pieces.concat()).map(Bytes::from)
}
