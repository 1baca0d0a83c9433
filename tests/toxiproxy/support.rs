//! `squall toxiproxy` in a test, and bare requests to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Peer, Room, Running};

/// A running server.
pub struct Toxi {
    pub program: Running,
    pub address: SocketAddr,
    /// `http://address:port` of squall's own control port.
    pub control: String,
    pub room: Room,
    pub upstream: TcpListener,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The value of a header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }
}

impl Toxi {
    pub fn new() -> Toxi {
        Toxi::with(&[])
    }

    /// With these flags besides a free port.
    pub fn with(flags: &[&str]) -> Toxi {
        let room = Room::new();
        let program = room.start(&[&["toxiproxy", "-port=0"], flags].concat());
        let address = program.wait_for("toxiproxy http://").parse().unwrap();
        let control = program.control();
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        Toxi { program, address, control, room, upstream }
    }

    /// One request as it stands.
    #[track_caller]
    pub fn raw(&self, request: &[u8]) -> Reply {
        ask(self.address, request)
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        );
        self.raw(request.as_bytes())
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "").is(200).json()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Value {
        let reply = self.ask("POST", path, body);
        assert!(matches!(reply.status, 200 | 201), "{reply:#?}");
        reply.json()
    }

    /// A proxy of this name before the test's upstream; where it listens.
    #[track_caller]
    pub fn proxy(&self, name: &str) -> SocketAddr {
        let upstream = self.upstream.local_addr().unwrap();
        let made = self.post(
            "/proxies",
            &format!("{{\"name\":\"{name}\",\"listen\":\"127.0.0.1:0\",\"upstream\":\"{upstream}\"}}"),
        );
        made["listen"].as_str().unwrap().parse().unwrap()
    }

    /// Adds a toxic given as the inside of its JSON object.
    #[track_caller]
    pub fn toxic(&self, proxy: &str, fields: &str) -> Value {
        self.post(&format!("/proxies/{proxy}/toxics"), &format!("{{{fields}}}"))
    }

    /// Both ends of a new connection through a proxy.
    #[track_caller]
    pub fn line(&self, proxy: SocketAddr) -> (Peer, Peer) {
        let client = Peer::new(TcpStream::connect(proxy).unwrap());
        (client, Peer::new(self.upstream.accept().unwrap().0))
    }
}

/// One request as it stands, and what comes back until the other side closes.
#[track_caller]
pub fn ask(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}
