//! Probes: checks from outside, HTTP and TCP. When they run is decided here; the engine's thread runs them.

use std::time::Duration;

use squall_core::scenario::{ProbeCheck, ProbeMode, ProbeSpec};
use squall_core::time::Time;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of an answer that are looked at.
const LOOK: usize = 16 * 1024;

/// A probe at work. One check is under way at most.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) spec: ProbeSpec,
    due: Time,
    /// A check is under way.
    pub(crate) out: bool,
    /// Checks that came back.
    pub(crate) runs: u64,
    /// Those that did not pass.
    pub(crate) failed: u64,
    /// What the first failure said.
    pub(crate) first_failure: Option<String>,
    failing: bool,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Index of the probe.
    pub(crate) probe: usize,
    /// Whether it passed, or why not.
    pub(crate) passed: Result<(), String>,
}

impl Probe {
    /// A probe that has not run.
    pub(crate) fn new(spec: &ProbeSpec) -> Probe {
        Probe { spec: spec.clone(), due: 0, out: false, runs: 0, failed: 0, first_failure: None, failing: false }
    }

    /// Whether it has to pass before the timeline begins.
    pub(crate) fn is_before(&self) -> bool {
        matches!(self.spec.mode, ProbeMode::Start | ProbeMode::Edge)
    }

    /// Whether it runs after the planned end.
    pub(crate) fn is_after(&self) -> bool {
        matches!(self.spec.mode, ProbeMode::End | ProbeMode::Edge)
    }

    /// Whether a repeating probe is due at `elapsed`; if so, the next one is set.
    pub(crate) fn is_due(&mut self, elapsed: Time, any_open: bool) -> bool {
        let repeats = match self.spec.mode {
            ProbeMode::Continuous => true,
            ProbeMode::During => any_open,
            _ => false,
        };
        if !repeats || self.out || elapsed < self.due {
            return false;
        }
        self.due = elapsed.saturating_add(self.spec.every);
        true
    }

    /// Takes a result in. Gives what to tell: the first failure after a pass, and the first pass after a failure.
    pub(crate) fn take(&mut self, passed: &Result<(), String>) -> Option<String> {
        self.out = false;
        self.runs += 1;
        let changed = self.failing == passed.is_ok();
        self.failing = passed.is_err();
        let name = &self.spec.name;
        match passed {
            Ok(()) => changed.then(|| format!("probe `{name}` passes again")),
            Err(why) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| why.clone());
                changed.then(|| format!("probe `{name}` failed: {why}"))
            }
        }
    }
}

/// Runs one check. Ends within its time-out.
pub(crate) async fn check(check: ProbeCheck) -> Result<(), String> {
    match check {
        ProbeCheck::Http { url, status, within, timeout } => {
            let limit = within.unwrap_or(timeout).min(timeout);
            let seen = in_time(limit, http_status(&url)).await?;
            if seen == status { Ok(()) } else { Err(format!("answered {seen}, not {status}")) }
        }
        ProbeCheck::Tcp { address, send, expect, timeout } => in_time(timeout, tcp(&address, send, expect)).await,
    }
}

async fn in_time<T>(limit: Time, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let limit = Duration::from_nanos(limit);
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

async fn http_status(url: &str) -> Result<u16, String> {
    let rest = url.strip_prefix("http://").ok_or("only http:// can be probed")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let has_port = authority.rsplit(']').next().is_some_and(|tail| tail.contains(':'));
    let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let request =
        format!("GET {slash}{path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: squall\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(&address).await.map_err(|e| format!("{address}: {e}"))?;
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    let line = loop {
        if let Some(end) = answer.iter().position(|byte| *byte == b'\n') {
            break String::from_utf8_lossy(&answer[..end]).into_owned();
        }
        if answer.len() > LOOK {
            return Err("the answer is not HTTP".into());
        }
        if stream.read_buf(&mut answer).await.map_err(|e| e.to_string())? == 0 {
            return Err("the connection was closed before an answer".into());
        }
    };
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/"));
    let status = words.next().and_then(|word| word.parse().ok());
    status.filter(|_| is_http).ok_or_else(|| "the answer is not HTTP".into())
}

async fn tcp(address: &str, send: Option<String>, expect: Option<String>) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
    if let Some(send) = send {
        stream.write_all(send.as_bytes()).await.map_err(|e| e.to_string())?;
    }
    let Some(expect) = expect else { return Ok(()) };
    let mut answer = vec![0; expect.len().min(LOOK)];
    let mut got = 0;
    while got < answer.len() {
        let n = stream.read(&mut answer[got..]).await.map_err(|e| e.to_string())?;
        got += n;
        if n == 0 || !expect.as_bytes().starts_with(&answer[..got]) {
            return Err(format!("answered {:?}, not {expect:?}", String::from_utf8_lossy(&answer[..got])));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use squall_core::time::SECOND;
    use std::io::{Read, Write};

    /// A server that answers one connection with these bytes; the test waits on real sockets, so within bounds.
    fn answering(answer: &'static str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        });
        address
    }

    fn run(probe: ProbeCheck) -> Result<(), String> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(probe))
    }

    fn http(answer: &'static str) -> Result<(), String> {
        let url = format!("http://{}/cart", answering(answer));
        run(ProbeCheck::Http { url, status: 200, within: None, timeout: 5 * SECOND })
    }

    fn tcp(answer: &'static str) -> Result<(), String> {
        let (send, expect) = (Some("PING\r\n".into()), Some("+PONG".into()));
        run(ProbeCheck::Tcp { address: answering(answer), send, expect, timeout: 5 * SECOND })
    }

    #[test]
    fn http_is_held_against_the_status() {
        assert_eq!(http("HTTP/1.1 200 OK\r\n\r\n"), Ok(()));
        assert_eq!(http("HTTP/1.1 503 No\r\n\r\n"), Err("answered 503, not 200".into()));
        assert_eq!(http("SSH-2.0\r\n"), Err("the answer is not HTTP".into()));
        assert!(http("").unwrap_err().contains("closed"));
    }

    #[test]
    fn tcp_is_held_against_the_beginning_of_the_answer() {
        assert_eq!(tcp("+PONG\r\n"), Ok(()));
        assert!(tcp("-ERR\r\n").unwrap_err().contains("not \"+PONG\""));
        assert!(tcp("+PO").is_err());
    }
}
