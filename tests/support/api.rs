//! A stand-in for somebody's API over HTTP/1.1, which answers as the test says and keeps what it was asked; and a client
//! that sees every byte of an answer, and how it ends.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::wait::PATIENCE;

/// Name and value, as they came.
pub type Headers = Vec<(String, String)>;

/// The first value of this name, in whatever case.
pub fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// A request that came to the stand-in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

/// What the stand-in answers.
#[derive(Clone, Debug)]
pub enum Says {
    /// Status, content type, body.
    Whole(u16, String, Vec<u8>),
    /// 200 and a stream of server-sent events, each of them a chunk of its own.
    Events(Vec<String>),
}

impl Says {
    pub fn json(body: impl Into<String>) -> Says {
        Says::Whole(200, "application/json".into(), body.into().into_bytes())
    }
}

/// The stand-in. It lives as long as the test's process.
#[derive(Clone, Debug)]
pub struct Api {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Api {
    pub fn answering(answer: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Api { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, answer) = (api.asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, answer) = (asked.clone(), answer.clone());
                std::thread::spawn(move || drop(serve(stream, &asked, &*answer)));
            }
        });
        api
    }

    /// What came since this was asked last.
    pub fn news(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The requests of one connection, until it closes.
fn serve(stream: TcpStream, kept: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Says) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut stream) = (BufReader::new(stream.try_clone()?), stream);
    while let Some((first, headers)) = head(&mut reader)? {
        if header(&headers, "expect").is_some() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (body, _) = body(&mut reader, &headers, Some(0));
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let asked = Asked { method, target, headers, body };
        let says = answer(&asked);
        let is_head = asked.method == "HEAD";
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        match says {
            Says::Whole(status, kind, body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes())?;
                if !is_head {
                    stream.write_all(&body)?;
                }
            }
            Says::Events(events) => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes())?;
                for event in events {
                    stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
                }
                stream.write_all(b"0\r\n\r\n")?;
            }
        }
    }
    Ok(())
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As its head said it would.
    Whole,
    /// The connection closed before.
    Early,
    /// It was reset.
    Reset,
    /// Nothing came for as long as the client waits.
    Silent,
}

/// An answer, or as much as came of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 0: no head came.
    pub status: u16,
    pub headers: Headers,
    /// Without the framing of chunks.
    pub body: Vec<u8>,
    pub ended: Ended,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// One request (`POST /v1/charges`) on a connection of its own. The client waits for a silent server as long as `patience`.
#[track_caller]
pub fn ask(address: SocketAddr, request: &str, headers: &[(&str, &str)], patience: Duration) -> Answer {
    let mut reader = BufReader::new(send(address, request, headers, patience));
    let nothing = |ended| Answer { status: 0, headers: Vec::new(), body: Vec::new(), ended };
    let (first, headers) = match head(&mut reader) {
        Ok(Some(head)) => head,
        Ok(None) => return nothing(Ended::Early),
        Err(error) => return nothing(ended(&error)),
    };
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    let (body, ended) = body(&mut reader, &headers, None);
    Answer { status, headers, body, ended }
}

/// The same by a client that waits as long as any test does.
#[track_caller]
pub fn ask_patiently(address: SocketAddr, request: &str) -> Answer {
    ask(address, request, &[], PATIENCE)
}

/// A request, sent on a connection of its own.
#[track_caller]
fn send(address: SocketAddr, request: &str, headers: &[(&str, &str)], patience: Duration) -> TcpStream {
    let (method, target) = request.split_once(' ').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    let body = if method == "GET" { "" } else { "{}" };
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    if method != "GET" {
        text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).unwrap();
    stream
}

fn ended(error: &std::io::Error) -> Ended {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Ended::Silent,
        ErrorKind::UnexpectedEof => Ended::Early,
        _ => Ended::Reset,
    }
}

/// The first line and the fields; none: the connection closed before.
fn head(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Headers)>> {
    let Some(first) = line(reader)? else { return Ok(None) };
    let mut headers = Vec::new();
    while let Some(line) = line(reader)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Some((first, headers)))
}

fn line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

/// What comes of a body; `unsaid` is its length where the head names none (none: up to the end of the connection).
fn body(reader: &mut impl BufRead, headers: &Headers, unsaid: Option<u64>) -> (Vec<u8>, Ended) {
    let mut body = Vec::new();
    let read = if header(headers, "transfer-encoding").is_some() {
        chunks(reader, &mut body)
    } else if let Some(length) = header(headers, "content-length").and_then(|length| length.parse().ok()).or(unsaid) {
        exactly(reader, length, &mut body)
    } else {
        reader.read_to_end(&mut body).map(drop)
    };
    (body, read.map_or_else(|error| ended(&error), |()| Ended::Whole))
}

fn exactly(reader: &mut impl Read, length: u64, body: &mut Vec<u8>) -> std::io::Result<()> {
    let read = reader.take(length).read_to_end(body)?;
    if (read as u64) < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> std::io::Result<()> {
    loop {
        let size = line(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        let size = u64::from_str_radix(&size, 16).map_err(|_| ErrorKind::InvalidData)?;
        exactly(reader, size, body)?;
        line(reader)?.ok_or(ErrorKind::UnexpectedEof)?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// The first `length` bytes of an answer's body, by a client that then leaves.
#[track_caller]
pub fn ask_until(address: SocketAddr, request: &str, length: usize) -> String {
    let mut reader = BufReader::new(send(address, request, &[], PATIENCE));
    head(&mut reader).unwrap().expect("a head");
    let mut body = Vec::new();
    while body.len() < length {
        let size = line(&mut reader).unwrap().expect("a chunk");
        exactly(&mut reader, u64::from_str_radix(&size, 16).unwrap(), &mut body).unwrap();
        line(&mut reader).unwrap();
    }
    String::from_utf8(body[..length].to_vec()).unwrap()
}
