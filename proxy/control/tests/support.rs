//! A program to stand behind the port, and bare sockets to talk to it.

mod program;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub(super) use self::program::Program;
use crate::place::Place;
use crate::server::{Limits, Server, Settings};

/// A port on loopback with short times, and the program behind it.
pub(super) struct Port {
    pub(super) server: Server,
    pub(super) program: Arc<Program>,
}

pub(super) fn limits() -> Limits {
    Limits {
        scenario: 64 << 10,
        body: 4 << 10,
        head: Duration::from_millis(400),
        read: Duration::from_millis(300),
        pulse: Duration::from_millis(50),
        ..Limits::default()
    }
}

pub(super) fn port() -> Port {
    port_with(Settings { publish: None, limits: limits(), ..Settings::new("127.0.0.1:0") })
}

pub(super) fn port_with(settings: Settings) -> Port {
    let program = Arc::new(Program::default());
    let server = Server::start(settings, program.clone()).unwrap();
    Port { server, program }
}

/// A name in the directory for temporary files that no other test uses.
pub(super) fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("squall-control-{}-{name}", std::process::id()))
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    /// The answer at the beginning of `text`.
    pub(super) fn parse(text: &str) -> Reply {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// An error, in the form of all errors.
    #[track_caller]
    pub(super) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        problem
    }
}

impl Port {
    pub(super) fn address(&self) -> String {
        match self.server.place() {
            Place::Tcp(address) | Place::Tls(address) => address.clone(),
            Place::Unix(_) => panic!("not on TCP"),
        }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Sends bytes as they are, gives everything that comes until the port closes.
    pub(super) fn raw(&self, request: impl AsRef<[u8]>) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        Reply::parse(&rest(stream))
    }

    /// A request with these lines of head (besides Host) and this body.
    pub(super) fn ask(&self, request: &str, headers: &[&str], body: &str) -> Reply {
        let head: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        self.raw(format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{head}{length}\r\n{body}"))
    }

    pub(super) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path}"), &[], "")
    }

    pub(super) fn post(&self, path: &str, body: &str) -> Reply {
        self.ask(&format!("POST {path}"), &["content-type: application/json"], body)
    }
}

/// Everything until the other side closes.
pub(super) fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    assert!(ended.is_ok(), "{ended:?} after {:?}", String::from_utf8_lossy(&bytes));
    String::from_utf8(bytes).unwrap()
}
