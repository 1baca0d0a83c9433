//! A client and an upstream of HTTP/1 that send exactly what they are told, and keep every byte.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use squall_core::diagnostic::Source;
use squall_core::parse;
use squall_core::plan::Active;
use squall_core::plane::DataPlane;
use squall_core::scenario::ProxySpec;
use squall_core::way::HttpVersion;
use squall_wire::Plane;

use crate::http2::peers::http;
use crate::support::*;

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What an upstream does once a request is whole.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// This, and the connection stays.
    Keep(Vec<u8>),
    /// This, then FIN.
    Close(Vec<u8>),
    /// This, then RST.
    Reset(Vec<u8>),
    /// This, and then what comes is sent back.
    Echo(Vec<u8>),
}

/// An upstream that keeps what came, connection by connection.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    over: bool,
}

impl Upstream {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen().len()
    }

    /// Connections that have ended.
    pub(crate) fn over(&self) -> usize {
        self.seen().iter().filter(|seen| seen.over).count()
    }

    /// Everything that came on any connection.
    pub(crate) fn heard(&self) -> String {
        self.seen().iter().map(|seen| String::from_utf8_lossy(&seen.bytes).into_owned()).collect()
    }

    /// Requests that came, by their first lines.
    pub(crate) fn requests(&self) -> usize {
        self.heard().matches(" HTTP/1.1\r\n").count()
    }
}

/// The length of the first whole message, if it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding:") {
        return bytes[head..]
            .windows(5)
            .position(|five| five == b"0\r\n\r\n")
            .map(|at| head + at + 5)
            .or_else(|| bytes.ends_with(b"\r\n\r\n").then_some(bytes.len()).filter(|n| *n > head));
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let all = head + length.map_or(0, |length| length.parse::<usize>().unwrap());
    (bytes.len() >= all).then_some(all)
}

/// Answers the nth request of all, from 0, as `say` says; it is given the request too.
pub(crate) fn upstream(say: impl Fn(usize, &str) -> Say + Send + Sync + 'static) -> Upstream {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (keeps, number) = (seen.clone(), Mutex::new(0));
    let address = server(move |mut stream| {
        let own = {
            let mut seen = keeps.lock().unwrap();
            seen.push(Seen::default());
            seen.len() - 1
        };
        let mut waiting = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        'connection: while let Ok(n @ 1..) = stream.read(&mut buffer) {
            waiting.extend_from_slice(&buffer[..n]);
            keeps.lock().unwrap()[own].bytes.extend_from_slice(&buffer[..n]);
            while let Some(length) = whole(&waiting) {
                let request: Vec<u8> = waiting.drain(..length).collect();
                let nth = {
                    let mut number = number.lock().unwrap();
                    *number += 1;
                    *number - 1
                };
                let said = say(nth, &String::from_utf8_lossy(&request));
                let (Say::Keep(bytes) | Say::Close(bytes) | Say::Reset(bytes) | Say::Echo(bytes)) = &said;
                let _gone = stream.write_all(bytes);
                match said {
                    Say::Keep(_) => {}
                    Say::Close(_) => break 'connection,
                    Say::Reset(_) => {
                        reset(&stream);
                        break 'connection;
                    }
                    Say::Echo(_) => {
                        let _gone = stream.write_all(&waiting);
                        echo_one(&stream, &stream, || drop(stream.shutdown(Shutdown::Write)));
                        break 'connection;
                    }
                }
            }
        }
        drop(stream);
        keeps.lock().unwrap()[own].over = true;
    });
    Upstream { address, seen }
}

/// The next close is RST.
pub(crate) fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// One that answers everything with [`OK`].
pub(crate) fn fine() -> Upstream {
    upstream(|_, _| Say::Keep(OK.into()))
}

/// Proxy `p` before an upstream.
pub(crate) fn before(plane: &Plane, upstream: SocketAddr) -> SocketAddr {
    address(&plane.open(&http(upstream, HttpVersion::One)).unwrap())
}

/// A client that says what it is told.
pub(crate) struct Talker(BufReader<TcpStream>);

impl Talker {
    pub(crate) fn to(address: SocketAddr) -> Talker {
        Talker::on(connect(address))
    }

    pub(crate) fn on(stream: TcpStream) -> Talker {
        Talker(BufReader::new(stream))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The next head, with its empty line.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} behind {:?}", String::from_utf8_lossy(&head));
            });
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next answer, which has a length, with its body.
    pub(crate) fn answer(&mut self) -> (String, String) {
        let head = self.head();
        let length = value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.exactly(length);
        (head, String::from_utf8(body).unwrap())
    }

    /// Says this, and takes the answer.
    pub(crate) fn ask(&mut self, request: &str) -> (String, String) {
        self.say(request);
        self.answer()
    }

    /// Everything to the end, and whether that was RST.
    pub(crate) fn rest(&mut self) -> (String, bool) {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let ended = match self.0.read(&mut buffer) {
                Ok(0) => false,
                Ok(n) => {
                    all.extend_from_slice(&buffer[..n]);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => true,
                Err(error) => {
                    let tail = &all[all.len().saturating_sub(1000)..];
                    panic!("{error} behind {} bytes, last {:?}", all.len(), String::from_utf8_lossy(tail))
                }
            };
            return (String::from_utf8_lossy(&all).into_owned(), ended);
        }
    }
}

/// A field's value.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let field = |line: &'a str| line.split_once(": ").filter(|(other, _)| other.eq_ignore_ascii_case(name));
    head.lines().find_map(field).map(|(_, value)| value)
}

pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Faults as a scenario writes them, on proxy `p` and in force from now on.
pub(crate) fn faults(plane: &Plane, text: &str) -> Vec<Arc<Active>> {
    let mut proxy: ProxySpec = http("127.0.0.1:1".parse().unwrap(), HttpVersion::One);
    let trusted = "127.0.0.0/31".parse().unwrap(); // 127.0.0.1, and not 127.0.0.2
    proxy.way.http.as_mut().unwrap().envoy_headers_from = vec![trusted];
    let text = format!("name = 'test'\nmax_duration = '1h'\n{}", text.replace("[[fault]]", "[[fault]]\nproxy = 'p'"));
    let source = Arc::new(Source { name: "test.toml".to_owned(), text });
    let options = parse::Options { proxies: Some(vec![proxy.clone()]), ..parse::Options::default() };
    let (checked, _) = parse::scenario(&source, &options).unwrap_or_else(|told| panic!("{told:#?}"));
    let made = checked.faults.iter().map(|spec| {
        let switch = plane.cell().switch();
        switch.start(plane.clock().now().mono);
        let mut active = any_active(switch, spec.fault.clone().unwrap());
        let own = Arc::get_mut(&mut active).unwrap();
        own.flow = spec.flow;
        own.layer = spec.layer(proxy.protocol);
        own.bodies = spec.bodies;
        own.rule = spec.rule_on(&proxy.way).unwrap();
        own.stealth = spec.stealth;
        own.select.count = spec.count;
        active
    });
    made.collect()
}

/// Puts them in force.
pub(crate) fn inject(plane: &Plane, text: &str) -> Arc<Active> {
    let made = faults(plane, text);
    let first = made[0].clone();
    publish(plane, made);
    first
}
