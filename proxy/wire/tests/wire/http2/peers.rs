//! Upstreams and clients of both versions that say what they saw.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use squall_core::scenario::{Protocol, ProxySpec};
use squall_core::way::{HttpVersion, HttpWay, Way};
use squall_wire::Plane;

use crate::support::*;

/// A proxy `p` that speaks this version with its upstream.
pub(crate) fn http(upstream: SocketAddr, version: HttpVersion) -> ProxySpec {
    let way = Way { http: Some(HttpWay { upstream: version, ..HttpWay::default() }), ..Way::default() };
    ProxySpec { protocol: Protocol::Http, way, ..spec("p", upstream) }
}

pub(crate) fn open_http(plane: &Plane, upstream: SocketAddr, version: HttpVersion) -> SocketAddr {
    use squall_core::plane::DataPlane;
    address(&plane.open(&http(upstream, version)).unwrap())
}

/// What came of a request.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) interim: Vec<u16>,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HashMap<String, String>,
}

/// A request; its body goes in one piece, or with `chunks` in several and without a length.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    pub(crate) chunks: bool,
    pub(crate) trailers: Vec<(&'static str, &'static str)>,
}

impl Ask {
    pub(crate) fn get(path: &'static str) -> Ask {
        Ask { method: "GET", path, fields: vec![], body: vec![], chunks: false, trailers: vec![] }
    }

    pub(crate) fn post(path: &'static str, body: Vec<u8>) -> Ask {
        Ask { method: "POST", body, ..Ask::get(path) }
    }
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, work).await.expect("nothing takes this long") })
}

// ---- an upstream of HTTP/2 ----

/// What an upstream of HTTP/2 tells of: an exchange that was given up, with the code.
pub(crate) struct Upstream2 {
    pub(crate) address: SocketAddr,
    pub(crate) given_up: mpsc::Receiver<u32>,
    /// Connections that came.
    pub(crate) connections: Arc<AtomicUsize>,
}

/// Answers by the path, see [`serve2`].
pub(crate) fn upstream2(configure: fn(&mut h2::server::Builder)) -> Upstream2 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let (tell, given_up) = mpsc::channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let set = tokio::task::LocalSet::new();
        set.block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let tell = tell.clone();
                tokio::task::spawn_local(async move {
                    socket.set_nodelay(true).unwrap();
                    let mut builder = h2::server::Builder::new();
                    builder.enable_connect_protocol();
                    configure(&mut builder);
                    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        if request.uri().path() == "/go-away" {
                            connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                            continue;
                        }
                        tokio::task::spawn_local(serve2(request, respond, tell.clone()));
                    }
                });
            }
        });
    });
    Upstream2 { address, given_up, connections }
}

pub(crate) async fn serve2(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    tell: mpsc::Sender<u32>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let connect = head.method == http::Method::CONNECT;
    let mut answer = Response::builder()
        .status(200)
        .header("x-method", head.method.as_str())
        .header("x-authority", head.uri.authority().map_or("", |authority| authority.as_str()))
        .header("x-scheme", head.uri.scheme_str().unwrap_or(""))
        .header("x-path", head.uri.path_and_query().map_or("", |path| path.as_str()));
    for (name, value) in &head.headers {
        answer = answer.header(format!("x-got-{name}"), value);
    }
    match &*path {
        "/reset" => {
            respond.send_reset(h2::Reason::from(0x1234));
            return None;
        }
        "/refuse" => {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return None;
        }
        "/trailers-only" => {
            let answer = answer.header("grpc-status", "5").body(()).unwrap();
            respond.send_response(answer, true).ok()?;
            return None;
        }
        "/empty" => {
            respond.send_response(answer.body(()).unwrap(), true).ok()?;
            return None;
        }
        "/hints" => {
            let hints = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap();
            respond.send_informational(hints).ok()?;
        }
        "/never" => {
            let code = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.map_or(0, u32::from);
            tell.send(code).ok()?;
            return None;
        }
        "/cut" => {
            let answer = answer.header("content-length", "100").body(()).unwrap();
            let mut send = respond.send_response(answer, false).ok()?;
            send.send_data(Bytes::from(vec![b'x'; 40]), false).ok()?;
            for _ in 0..10 {
                tokio::task::yield_now().await; // the connection's turn: the crate takes back what it has not written
            }
            send.send_reset(h2::Reason::from(0x1234));
            return None;
        }
        _ => {}
    }
    let mut send = respond.send_response(answer.body(()).unwrap(), false).ok()?;
    let mut seen = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        seen += piece.len();
        send_all(&mut send, piece).await?;
    }
    if connect {
        send.send_data(Bytes::new(), true).ok()?;
        return None;
    }
    let mut trailers = body.trailers().await.ok()?.unwrap_or_default();
    trailers.insert("x-seen", seen.into());
    send.send_trailers(trailers).ok()
}

pub(crate) async fn send_all(send: &mut SendStream<Bytes>, mut piece: Bytes) -> Option<()> {
    while !piece.is_empty() {
        send.reserve_capacity(piece.len());
        let mut room = send.capacity();
        if room == 0 {
            room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await?.ok()?;
        }
        send.send_data(piece.split_to(room.min(piece.len())), false).ok()?;
    }
    Some(())
}

// ---- a client of HTTP/2 ----

pub(crate) async fn connect2(address: SocketAddr) -> h2::client::SendRequest<Bytes> {
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

fn pairs(map: &HeaderMap) -> HashMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Asks on a connection. An error has the code with which the stream ended.
pub(crate) async fn ask2_on(
    sender: &mut h2::client::SendRequest<Bytes>,
    ask: &Ask,
) -> Result<Answer, Box<(Answer, h2::Error)>> {
    let mut request = Request::builder().method(ask.method).uri(format!("http://a.test:81{}", ask.path));
    for (name, value) in &ask.fields {
        request = request.header(*name, *value);
    }
    let mut got = Answer::default();
    let bodiless = ask.body.is_empty() && ask.trailers.is_empty();
    if !bodiless && !ask.chunks {
        request = request.header("content-length", ask.body.len());
    }
    let sent = sender.send_request(request.body(()).unwrap(), bodiless);
    let (mut response, mut send) = match sent {
        Ok(sent) => sent,
        Err(error) => return Err(Box::new((got, error))),
    };
    let upload = async {
        if bodiless {
            return;
        }
        let pieces = if ask.chunks { ask.body.len().div_ceil(7).max(1) } else { ask.body.len().max(1) };
        for piece in ask.body.chunks(pieces) {
            if send_all(&mut send, Bytes::copy_from_slice(piece)).await.is_none() {
                return;
            }
        }
        let trailers: HeaderMap =
            ask.trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let _given_up = match trailers.is_empty() {
            true => send.send_data(Bytes::new(), true),
            false => send.send_trailers(trailers),
        };
    };
    let download = async {
        while let Some(Ok(interim)) = std::future::poll_fn(|cx| response.poll_informational(cx)).await {
            got.interim.push(interim.status().as_u16());
        }
        let (head, mut body) = response.await?.into_parts();
        got.status = head.status.as_u16();
        got.fields = pairs(&head.headers);
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            got.body.extend_from_slice(&piece);
        }
        got.trailers = body.trailers().await?.as_ref().map(pairs).unwrap_or_default();
        Ok(())
    };
    let (_, ended) = tokio::join!(upload, download);
    match ended {
        Ok(()) => Ok(got),
        Err(error) => Err(Box::new((got, error))),
    }
}

pub(crate) fn ask2(address: SocketAddr, ask: &Ask) -> Result<Answer, Box<(Answer, h2::Error)>> {
    block_on(async { ask2_on(&mut connect2(address).await, ask).await })
}

// ---- HTTP/1, both sides ----

type Pairs = Vec<(String, String)>;

struct Head {
    first: String,
    fields: Pairs,
}

impl Head {
    fn read(from: &mut impl BufRead) -> Option<Head> {
        let mut line = || {
            let mut line = String::new();
            from.read_line(&mut line).ok().filter(|n| *n > 0)?;
            Some(line.trim_end().to_owned())
        };
        let first = line()?;
        let mut fields = Vec::new();
        loop {
            let line = line()?;
            match line.split_once(": ") {
                Some((name, value)) => fields.push((name.to_ascii_lowercase(), value.to_owned())),
                None => return Some(Head { first, fields }),
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// The body that follows, and its trailers. `to_eof`: without a length there is one.
    fn body(&self, from: &mut impl BufRead, to_eof: bool) -> Option<(Vec<u8>, Pairs)> {
        let mut body = Vec::new();
        if self.value("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                from.read_line(&mut size).ok()?;
                let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
                if size == 0 {
                    let first = String::new();
                    let mut fields = Vec::new();
                    loop {
                        let mut line = String::new();
                        from.read_line(&mut line).ok()?;
                        match line.trim_end().split_once(": ") {
                            Some((name, value)) => fields.push((name.to_owned(), value.to_owned())),
                            None => return Some((body, Head { first, fields }.fields)),
                        }
                    }
                }
                let start = body.len();
                body.resize(start + size, 0);
                from.read_exact(&mut body[start..]).ok()?;
                from.read_exact(&mut [0; 2]).ok()?;
            }
        }
        match self.value("content-length") {
            Some(length) => body.resize(length.parse().ok()?, 0),
            None if to_eof => return from.read_to_end(&mut body).ok().map(|_| (body, vec![])),
            None => {}
        }
        from.read_exact(&mut body).ok()?;
        Some((body, vec![]))
    }
}

/// Answers as [`serve2`] does, in HTTP/1.1.
pub(crate) fn upstream1() -> SocketAddr {
    server(|stream| {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        while serve1(&mut from, &stream).is_some() {}
    })
}

fn serve1(from: &mut BufReader<TcpStream>, mut to: &TcpStream) -> Option<()> {
    let head = Head::read(from)?;
    let mut words = head.first.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut fields = format!("X-Method: {method}\r\nX-Path: {path}\r\n");
    for (name, value) in &head.fields {
        let name = if name == "host" { "X-Authority".to_owned() } else { format!("X-Got-{name}") };
        fields += &format!("{name}: {value}\r\n");
    }
    if head.value("upgrade").is_some() || method == "CONNECT" {
        match method {
            "CONNECT" => write!(to, "HTTP/1.1 200 OK\r\n\r\n").ok()?,
            _ => write!(to, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n{fields}\r\n").ok()?,
        }
        echo_one(from, to, || drop(to.shutdown(std::net::Shutdown::Write)));
        return None;
    }
    if head.value("expect").is_some() {
        write!(to, "HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let (body, trailers) = head.body(from, false)?;
    match path {
        "/never" => {
            let _gone = from.read(&mut [0]);
            return None;
        }
        "/empty" => return write!(to, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n").ok(),
        "/cut" => {
            write!(to, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n{fields}\r\n{}", "x".repeat(40)).ok()?;
            return None;
        }
        "/hints" => write!(to, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").ok()?,
        _ => {}
    }
    if method == "HEAD" {
        return write!(to, "HTTP/1.1 200 OK\r\nContent-Length: 42\r\n{fields}\r\n").ok();
    }
    let mut answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{fields}\r\n").into_bytes();
    for piece in body.chunks(50_000) {
        write!(answer, "{:x}\r\n", piece.len()).ok()?;
        answer.extend_from_slice(piece);
        answer.extend_from_slice(b"\r\n");
    }
    write!(answer, "0\r\nX-Seen: {}\r\n", body.len()).ok()?;
    for (name, value) in trailers {
        write!(answer, "{name}: {value}\r\n").ok()?;
    }
    answer.extend_from_slice(b"\r\n");
    to.write_all(&answer).ok()
}

/// None: the connection ended before the answer did.
pub(crate) fn ask1(address: SocketAddr, ask: &Ask) -> Option<Answer> {
    let stream = connect(address);
    let mut to = &stream;
    let mut text = format!("{} {} HTTP/1.1\r\nHost: a.test:81\r\n", ask.method, ask.path).into_bytes();
    for (name, value) in &ask.fields {
        write!(text, "{name}: {value}\r\n").ok()?;
    }
    if ask.chunks || !ask.trailers.is_empty() {
        write!(text, "Transfer-Encoding: chunked\r\n\r\n").ok()?;
        for piece in ask.body.chunks(10_000) {
            write!(text, "{:x}\r\n", piece.len()).ok()?;
            text.extend_from_slice(piece);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n");
        for (name, value) in &ask.trailers {
            write!(text, "{name}: {value}\r\n").ok()?;
        }
        text.extend_from_slice(b"\r\n");
    } else {
        if !ask.body.is_empty() {
            write!(text, "Content-Length: {}\r\n", ask.body.len()).ok()?;
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&ask.body);
    }
    let sent = stream.try_clone().unwrap();
    std::thread::spawn(move || (&sent).write_all(&text)); // a large body comes back while it goes
    let mut from = BufReader::new(&stream);
    let mut answer = Answer::default();
    loop {
        let head = Head::read(&mut from)?;
        let status = head.first.split(' ').nth(1)?.parse().ok()?;
        if status < 200 && status != 101 {
            answer.interim.push(status);
            continue;
        }
        answer.status = status;
        if ask.method != "HEAD" && status != 101 {
            let (body, trailers) = head.body(&mut from, true)?;
            answer.body = body;
            answer.trailers = trailers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        }
        answer.fields = head.fields.into_iter().collect();
        if status == 101 {
            write!(to, "ping").ok()?;
            let mut echo = [0; 4];
            from.read_exact(&mut echo).ok()?;
            answer.body = echo.to_vec();
        }
        return Some(answer);
    }
}
