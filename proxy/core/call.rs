//! HTTP exchanges one by one, faulted or not, for whoever looks at how a client behaves: a bounded stream out of the data
//! plane, on only where somebody has asked for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::draw;
use crate::fault::What;
use crate::http::{Request, Response};
use crate::plan::FaultRef;
use crate::time::{SECOND, Time};

/// Bytes of a path or a host that are kept.
const KEPT: usize = 256;

/// One exchange that is over.
#[derive(Clone, Debug)]
pub struct Call {
    /// The proxy that carried it.
    pub proxy: Arc<str>,
    /// The nth connection of the proxy.
    pub connection: u64,
    /// The nth request of that connection, from 0.
    pub number: u64,
    /// The client.
    pub client: Option<SocketAddr>,
    /// What was asked.
    pub asked: Asked,
    /// When its head was there, monotonic ns.
    pub started: Time,
    /// When the head of the answer that the client got was there, monotonic ns; none: it got none.
    pub answered: Option<Time>,
    /// When it was over, monotonic ns.
    pub ended: Time,
    /// The status that the client got.
    pub status: Option<u16>,
    /// How long that answer asked to wait, ns (`retry-after` in seconds, `retry-after-ms`).
    pub retry_after: Option<Time>,
    /// The faults that acted on it, and what they did, each once.
    pub faults: Vec<(Arc<FaultRef>, What)>,
    /// How it ended for the client.
    pub outcome: Outcome,
}

/// What a client asked for. No query and no field of the request is kept: they may hold secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: Box<str>,
    /// The host, with its port if it named one.
    pub authority: Box<str>,
    /// The path without its query; what is too long is cut.
    pub path: Box<str>,
    /// The same for the same request asked again: a hash of method, host, target, idempotency key and length.
    pub same: u64,
}

/// How an exchange ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// With an answer that looks whole.
    Whole,
    /// Without a whole answer, and it can tell.
    Cut,
    /// The client left first.
    Left,
    /// squall could not or would not carry it, and said so.
    Failed,
}

impl Asked {
    /// What a request asks.
    pub fn of(request: &Request) -> Asked {
        let [key, length] = ["idempotency-key", "content-length"].map(|it| request.fields.text(it).unwrap_or_default());
        let line = format!("{} {} {} {key} {length}", request.method, request.authority, request.target);
        let path = request.target.split('?').next().unwrap_or_default();
        Asked {
            method: request.method.as_str().into(),
            authority: cut(&request.authority).into(),
            path: cut(path).into(),
            same: draw::hash(line.as_bytes()),
        }
    }
}

impl Call {
    /// Whether the client was told, or could tell, that it failed: no whole answer, 429 or 5xx, or a status that a fault put
    /// there.
    pub fn has_failed(&self) -> bool {
        let injected = |status: u16| status >= 400 && !self.faults.is_empty();
        let bad = self.status.is_some_and(|status| status == 429 || status >= 500 || injected(status));
        self.outcome != Outcome::Whole || bad
    }

    /// Whether a fault changed what an answer says that looks whole: an error within a 200, another body, another event.
    pub fn is_spoiled(&self) -> bool {
        let spoils = |(fault, what): &(Arc<FaultRef>, What)| match what {
            What::Replied | What::Corrupted | What::Inserted => true,
            What::Patched => matches!(fault.kind, "replace" | "sse" | "grpc" | "websocket"),
            _ => false,
        };
        self.outcome == Outcome::Whole && self.faults.iter().any(spoils)
    }

    /// Whether a fault left out the end of an answer that looks whole.
    pub fn is_short(&self) -> bool {
        self.outcome == Outcome::Whole && self.faults.iter().any(|(_, what)| *what == What::Truncated)
    }
}

/// How long an answer asks to wait, ns: RFC 9110, 10.2.3 in its form in seconds, and `retry-after-ms` of some services.
pub fn retry_after(response: &Response) -> Option<Time> {
    let number =
        |name: &str| response.fields.text(name)?.trim().parse::<f64>().ok().filter(|it| it.is_finite() && *it >= 0.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // saturates
    let ns = |amount: f64, unit: Time| (amount * unit as f64) as Time;
    number("retry-after-ms").map(|ms| ns(ms, SECOND / 1000)).or_else(|| number("retry-after").map(|s| ns(s, SECOND)))
}

fn cut(text: &str) -> &str {
    let end = (0..=KEPT.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The way from the workers to whoever looks: bounded, never blocking.
#[derive(Clone, Debug)]
pub struct Calls {
    to: SyncSender<Call>,
    lost: Arc<AtomicU64>,
}

impl Calls {
    /// With room for so many that nobody has looked at yet.
    pub fn new(room: usize) -> (Calls, Receiver<Call>) {
        let (to, from) = sync_channel(room);
        (Calls { to, lost: Arc::default() }, from)
    }

    /// Hands one over, or counts it as lost.
    pub fn send(&self, call: Call) {
        if self.to.try_send(call).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were lost because nobody looked in time.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::StatusCode;

    #[test]
    fn the_same_request_is_known_again_and_its_query_is_not_kept() {
        let mut request = Request { target: "/v1/charges?key=secret".into(), ..Request::default() };
        let asked = Asked::of(&request);
        assert_eq!(&*asked.path, "/v1/charges");
        assert!(!format!("{asked:?}").contains("secret"));
        assert_eq!(Asked::of(&request).same, asked.same);
        request.fields.push("idempotency-key", "another");
        assert_ne!(Asked::of(&request).same, asked.same);
        request.target = format!("/{}", "ä".repeat(KEPT));
        assert!(Asked::of(&request).path.len() <= KEPT);
    }

    #[test]
    fn retry_after_is_read_in_both_spellings() {
        let mut answer = Response { status: StatusCode::TOO_MANY_REQUESTS, ..Response::default() };
        assert_eq!(retry_after(&answer), None);
        answer.fields.push("retry-after", "2");
        assert_eq!(retry_after(&answer), Some(2 * SECOND));
        answer.fields.push("retry-after-ms", "250");
        assert_eq!(retry_after(&answer), Some(SECOND / 4));
        answer.fields.set("retry-after-ms", "-1");
        answer.fields.set("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT");
        assert_eq!(retry_after(&answer), None);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (calls, from) = Calls::new(1);
        let call = Call {
            proxy: "p".into(),
            connection: 0,
            number: 0,
            client: None,
            asked: Asked::default(),
            started: 0,
            answered: None,
            ended: 1,
            status: None,
            retry_after: None,
            faults: Vec::new(),
            outcome: Outcome::Cut,
        };
        calls.send(call.clone());
        calls.send(call);
        assert_eq!((calls.lost(), from.try_iter().count()), (1, 1));
    }
}
