//! `protocol = "auto"`: whether a client speaks HTTP, told by what it says first. Its bytes stay where they are.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::net::RecvFlags;
use squall_core::fault::Flow;
use squall_core::time::{MILLI, Time};

use super::{Conn, Stage};
use crate::socket::has_hung_up;

/// How long a client may say nothing before it counts as one that lets the server speak first.
pub(crate) const SILENCE: Time = 200 * MILLI;
/// Bytes of a first line that are looked at.
pub(crate) const LINE: usize = 4096;

/// What the first bytes tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Http,
    Bytes,
    /// Too few of them.
    Nothing,
}

impl Conn {
    pub(super) fn poll_sniff(&mut self, cx: &mut Context<'_>) -> Poll<Stage> {
        let Stage::Sniff(until) = self.stage else { return Poll::Ready(Stage::Done) };
        match self.poll_first_bytes(cx) {
            Poll::Ready(Ok(Told::Http)) => return Poll::Ready(self.hand_over(true)),
            Poll::Ready(_) => return Poll::Ready(self.carry_bytes()),
            Poll::Pending => {}
        }
        if self.worker.now().mono >= until {
            return Poll::Ready(self.carry_bytes());
        }
        self.wake_at(Some(until));
        Poll::Pending
    }

    /// It carries bytes: faults that act on HTTP exchanges, or else on bytes, act on these.
    fn carry_bytes(&mut self) -> Stage {
        self.lanes[Flow::Upstream as usize].stale = true; // what waits there has been told
        self.talk.turned_out_bytes();
        self.join_either(self.worker.now());
        if self.local.proxy.target.load().spec.way.ends_tls() {
            return self.hand_over(false); // TLS with the upstream
        }
        self.begin()
    }

    /// What the bytes that wait in the socket tell.
    fn poll_first_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Told>> {
        let Conn { worker, client, lanes, .. } = self;
        let buffer = &mut worker.buffer.borrow_mut()[..LINE];
        let stale = &mut lanes[Flow::Upstream as usize].stale;
        let mut told = Told::Nothing;
        ready!(client.poll_read_with(cx, stale, |fd| {
            let (_, n) = rustix::net::recv(fd, &mut *buffer, RecvFlags::PEEK)?;
            told = tell(&buffer[..n]);
            if told == Told::Nothing && n > 0 && !has_hung_up(fd) {
                return Err(rustix::io::Errno::AGAIN); // the runtime is to wait for more
            }
            Ok((n, true))
        }))?;
        Poll::Ready(Ok(told))
    }
}

/// A request line of HTTP/1 (RFC 9112, 3), or the preface of HTTP/2 (RFC 9113, 3.4).
pub(crate) fn tell(bytes: &[u8]) -> Told {
    let is_method = |word: &[u8]| (1..=32).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
    let line = bytes.iter().position(|byte| *byte == b'\n');
    let mut words = bytes[..line.unwrap_or(bytes.len())].split(|byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let partial = words.clone().next().is_none() && line.is_none();
    if !is_method(method) {
        return if bytes.is_empty() { Told::Nothing } else { Told::Bytes };
    }
    if partial {
        return Told::Nothing;
    }
    if line.is_none() && bytes.len() < LINE {
        return Told::Nothing;
    }
    let (target, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let long = line.is_none() && target.starts_with(b"/");
    let whole = version.trim_ascii_end().starts_with(b"HTTP/") && words.next().is_none();
    if long || whole { Told::Http } else { Told::Bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_by_its_first_line_alone() {
        for http in ["GET / HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PROPFIND /a HTTP/1.0\r\nHost: x"] {
            assert_eq!(tell(http.as_bytes()), Told::Http, "{http}");
        }
        for bytes in ["SET cart:1 1\r\n", "PING\r\n", "*1\r\n$4\r\nPING\r\n", "\x16\x03\x01", "get /\r\n", "EHLO a b\n"]
        {
            assert_eq!(tell(bytes.as_bytes()), Told::Bytes, "{bytes:?}");
        }
        for part in ["", "G", "GET", "GET /", "GET / HTTP/1.1"] {
            assert_eq!(tell(part.as_bytes()), Told::Nothing, "{part}");
        }
        let long = format!("GET /{}", "a".repeat(LINE));
        assert_eq!(tell(&long.as_bytes()[..LINE]), Told::Http);
        assert_eq!(tell("A".repeat(40).as_bytes()), Told::Bytes);
    }
}
