//! The head of a request to the front: whom it is for, and how it goes on.

/// Fields at most.
const FIELDS: usize = 128;
/// The longest head.
pub const LONGEST: usize = 64 * 1024;

/// A head, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: String,
    /// Whom it is for.
    pub to: To,
    minor: u8,
    fields: Vec<(String, Vec<u8>)>,
    /// How many bytes it took.
    pub used: usize,
}

/// Whom a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A tunnel to this host and port.
    Tunnel(String, u16),
    /// A URL.
    Url(Url),
    /// A path of the front itself.
    Path(String),
}

/// A URL of http or https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// It is one of https.
    pub tls: bool,
    /// In lower case.
    pub host: String,
    /// The scheme's unless written.
    pub port: u16,
    /// With the query.
    pub path: String,
}

/// Takes a head apart. None: more bytes are needed.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let used = match request.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) if bytes.len() >= LONGEST => return Err("the head is too large"),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("this is no request of HTTP/1.1"),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err("this is no request of HTTP/1.1");
    };
    let fields = request.headers.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
    Ok(Some(Head { method: method.to_owned(), to: target_of(method, target)?, minor, fields, used }))
}

fn target_of(method: &str, target: &str) -> Result<To, &'static str> {
    if method == "CONNECT" {
        let (host, port) = place(target, None).ok_or("the target of CONNECT is no host with a port")?;
        return Ok(To::Tunnel(host, port));
    }
    if target.starts_with('/') {
        return Ok(To::Path(target.to_owned()));
    }
    let (scheme, rest) = target.split_once("://").ok_or("the target is neither a path nor a URL")?;
    let tls = match scheme {
        scheme if scheme.eq_ignore_ascii_case("http") => false,
        scheme if scheme.eq_ignore_ascii_case("https") => true,
        _ => return Err("the scheme of the target is neither http nor https"),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = place(authority, Some(if tls { 443 } else { 80 })).ok_or("the host of the target is none")?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(To::Url(Url { tls, host, port, path }))
}

fn place(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, default?),
        Some((host, port)) => (host, port.strip_prefix(':')?.parse().ok()?),
        None => match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, default?),
        },
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    let good = host.len() <= 253 && host.bytes().all(fits);
    let host = host.trim_end_matches('.');
    (good && !host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

impl Head {
    /// The head as it goes on to a server: of one request, behind which the connection closes. `host`: for whom, if not for
    /// whom its `Host` says.
    pub fn for_server(&self, path: &str, host: Option<&str>) -> Vec<u8> {
        let mut out = format!("{} {path} HTTP/1.{}\r\n", self.method, self.minor).into_bytes();
        // to HTTP/2 nothing goes over: the server would be asked for other hosts on this connection as well
        let upgrades = self.fields.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("upgrade") && value.trim_ascii().eq_ignore_ascii_case(b"websocket")
        });
        for (name, value) in &self.fields {
            let name_is = |other: &str| name.eq_ignore_ascii_case(other);
            let of_this_hop = name_is("proxy-connection") || name_is("proxy-authorization") || name_is("keep-alive");
            let replaced = host.is_some() && name_is("host")
                || !upgrades && (name_is("connection") || name_is("upgrade") || name_is("http2-settings"));
            if of_this_hop || replaced {
                continue;
            }
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(host) = host {
            out.extend_from_slice(format!("host: {host}\r\n").as_bytes());
        }
        if !upgrades {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> Result<To, &'static str> {
        parse(text.as_bytes()).map(|head| head.unwrap().to)
    }

    #[test]
    fn targets_are_told_apart() {
        let end = "HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(of(&format!("CONNECT API.test:443 {end}")), Ok(To::Tunnel("api.test".into(), 443)));
        assert_eq!(of(&format!("CONNECT [2001:db8::1]:443 {end}")), Ok(To::Tunnel("2001:db8::1".into(), 443)));
        let url = To::Url(Url { tls: false, host: "a.test".into(), port: 80, path: "/x?y=1".into() });
        assert_eq!(of(&format!("GET http://a.test/x?y=1 {end}")), Ok(url));
        let url = To::Url(Url { tls: true, host: "a.test".into(), port: 8443, path: "/?y".into() });
        assert_eq!(of(&format!("GET HTTPS://a.test:8443?y {end}")), Ok(url));
        assert_eq!(of(&format!("GET /a.test/x {end}")), Ok(To::Path("/a.test/x".into())));
        for wrong in [
            "CONNECT a.test",
            "CONNECT a b:1",
            "GET ftp://a/",
            "GET a.test",
            "GET http:///x",
            "CONNECT :443",
            "CONNECT .:443",
        ] {
            assert!(of(&format!("{wrong} {end}")).is_err(), "{wrong}");
        }
        assert_eq!(parse(b"GET /x HTTP/1.1\r\nHo"), Ok(None));
        assert!(parse(&[b'a'; LONGEST]).is_err() && parse(b"\x16\x03\x01").is_err());
    }

    #[test]
    fn what_goes_on_is_one_request_without_what_was_for_the_proxy() {
        let text = b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nProxy-Connection: keep-alive\r\n\
                     Proxy-Authorization: Basic c2VjcmV0\r\nConnection: keep-alive\r\nX-A: b\r\n\r\nbody";
        let head = parse(text).unwrap().unwrap();
        assert_eq!(&text[head.used..], b"body");
        let sent = |host| String::from_utf8(head.for_server("/x", host)).unwrap();
        assert_eq!(sent(None), "GET /x HTTP/1.1\r\nHost: a.test\r\nX-A: b\r\nconnection: close\r\n\r\n");
        assert_eq!(sent(Some("b")), "GET /x HTTP/1.1\r\nX-A: b\r\nhost: b\r\nconnection: close\r\n\r\n");
        let upgrade = |to: &str| {
            let text = format!("GET http://a.test/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n");
            String::from_utf8(parse(text.as_bytes()).unwrap().unwrap().for_server("/x", None)).unwrap()
        };
        assert_eq!(upgrade("h2c"), "GET /x HTTP/1.1\r\nconnection: close\r\n\r\n");
        assert!(upgrade("websocket").ends_with("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    }
}
