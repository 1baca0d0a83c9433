//! A client's connection that speaks HTTP, from its first byte to its last.

use std::future::poll_fn;
use std::rc::Rc;

use squall_core::chain::{Chain, Dialogue, Talk};
use squall_core::http::{Method, Request, Scheme};
use squall_core::time::Time;

use super::client1::{Client1, Next};
use super::ends::{Client, Length};
use super::exchange::{Brought, carry};
use super::failure::Failure;
use super::h1::{Framing, Refusal, Taken};
use super::io::Io;
use super::line::Line;
use super::reach::Origin;
use super::session2;
use super::stream::Stream;
use super::watch::{Task, Watcher};
use crate::clock::SystemClock;
use crate::socket::Socket;
use crate::worker::{Local, Worker};

/// Takes a connection over, with the faults that it has met.
pub(crate) fn begin(
    worker: &Rc<Worker>,
    local: &Rc<Local>,
    socket: Socket,
    talk: Talk,
    faults: Option<(Box<Chain>, Time)>,
    from: Origin,
) {
    let (chain, retuned) = faults.map_or((None, 0), |(chain, retuned)| (Some(chain), retuned));
    let watcher = Watcher::new(worker, local, Some((talk.clone().beneath(), chain, retuned)));
    let session = Session { watcher: watcher.clone(), ordinal: talk.ordinal, from };
    let io = Io::client(socket, watcher.clone());
    tokio::task::spawn_local(Task::new(watcher, session.serve(io)));
}

/// Counts the connection out when it ends, however it does.
struct Session {
    watcher: Rc<Watcher>,
    ordinal: u64,
    from: Origin,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.watcher.worker.ended(&self.watcher.local);
    }
}

impl Session {
    async fn serve(self, io: Io) {
        let mut client = Client1::new(Line::new(Stream::plain(io)), self.watcher.clone());
        let mut number = 0;
        loop {
            let mut request = Request::default();
            client.rest();
            match poll_fn(|cx| client.poll_next(&mut request, number == 0, cx)).await {
                Next::Request(taken) => self.exchange(&mut client, request, taken, number).await,
                Next::Refused(refusal) => {
                    refuse(&mut client, refusal);
                    self.watcher.local.meter.exchange(refusal.status, false, 0);
                    break;
                }
                Next::Preface => {
                    let Line { stream, read, .. } = client.into_line();
                    return session2::serve(&self.watcher, self.ordinal, self.from, stream, read.freeze()).await;
                }
                Next::Closed => break,
            }
            number += 1;
            if !client.goes_on() {
                break;
            }
        }
        client.conclude().await;
    }

    async fn exchange(&self, client: &mut Client1, mut request: Request, taken: Taken, number: u64) {
        request.scheme = Scheme::Http;
        let length = match taken.framing {
            Framing::None | Framing::UntilClose => Length::None,
            Framing::Length(n) => Length::Known(n),
            Framing::Chunked => Length::Open,
        };
        // what stands behind an upgrade could be taken for another request
        let upgrade = (taken.upgrade && length == Length::None) || request.method == Method::CONNECT;
        let dialogue = Dialogue { number, request, size: length.known(), response: None, answered: None };
        let talk = Talk::exchange(self.ordinal, self.from.client, SystemClock::mono(), dialogue);
        carry(&self.watcher, client, talk, Brought { length, upgrade, from: self.from }).await;
    }
}

/// Answers what can't be understood; the connection ends with it.
pub(super) fn refuse(client: &mut impl Client, refusal: Refusal) {
    let failure = Failure { status: refusal.status, error: "http_request_error", why: refusal.why.into() };
    let (head, body) = failure.answer();
    client.answer(&head, Length::Known(body.len() as u64));
    client.put(body);
    client.finish(None);
}
