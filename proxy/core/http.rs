//! HTTP messages as squall keeps them, whatever version they travel in: what a rule looks at, what a fault changes, and what
//! is passed on. No I/O and no parsing: see `squall-wire`'s `http`.

mod fields;
mod key;
mod path;

pub use fields::{Fields, is_field_name, is_field_value};
pub use http::{Method, StatusCode, Version};
pub use key::HttpKey;
pub(crate) use key::{host, plain_host};
pub use path::normal_path;
pub(crate) use path::{parameters, segments, spell};

/// Which way a request asks for its resource to be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// The head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// How the client reached squall, unless the target itself names a scheme.
    pub scheme: Scheme,
    /// The host that is asked for, with its port if one was written: from the target in absolute form, else `Host` or
    /// `:authority`; empty: HTTP/1.0 without either.
    pub authority: String,
    /// Path and query as sent, not normalised: `/a/b?c=d`; `*` for OPTIONS of a whole server; empty for CONNECT.
    pub target: String,
    /// The protocol of an extended CONNECT (RFC 8441), such as `websocket`; none: any other request.
    pub protocol: Option<String>,
    /// The version in which it came.
    pub version: Version,
    /// Its fields in order, without `Host` and pseudo-headers: `authority` stands for them.
    pub fields: Fields,
}

impl Request {
    /// Makes it ready for the next one: everything but the scheme is as in a new one, and the memory is kept.
    pub fn clear(&mut self) {
        let Request { method, scheme: _, authority, target, protocol, version, fields } = self;
        (*method, *version, *protocol) = (Method::default(), Version::default(), None);
        authority.clear();
        target.clear();
        fields.clear();
    }

    /// Bytes of memory that its parts take up.
    pub fn room(&self) -> usize {
        self.authority.capacity() + self.target.capacity() + self.fields.room()
    }

    /// The path as sent, without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// The query as sent, without the question mark; none: there is none.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The host that is asked for without its port, and without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        if let Some(rest) = self.authority.strip_prefix('[') {
            return rest.split_once(']').map_or(rest, |(host, _)| host);
        }
        self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host)
    }
}

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// The reason phrase of HTTP/1 as sent; empty: none, or the status's own.
    pub reason: String,
    /// The version in which it came.
    pub version: Version,
    /// Its fields in order, without pseudo-headers.
    pub fields: Fields,
}

impl Response {
    /// Makes it ready for the next one: everything is as in a new one, and the memory is kept.
    pub fn clear(&mut self) {
        let Response { status, reason, version, fields } = self;
        (*status, *version) = (StatusCode::default(), Version::default());
        reason.clear();
        fields.clear();
    }

    /// Bytes of memory that its parts take up.
    pub fn room(&self) -> usize {
        self.reason.capacity() + self.fields.room()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_an_authority_are_taken_apart() {
        let request = |authority: &str, target: &str| Request {
            authority: authority.into(),
            target: target.into(),
            ..Request::default()
        };
        let one = request("api.example.com:8080", "/v1/a?b=c?d");
        assert_eq!((one.host(), one.path(), one.query()), ("api.example.com", "/v1/a", Some("b=c?d")));
        let v6 = request("[::1]:80", "*");
        assert_eq!((v6.host(), v6.path(), v6.query()), ("::1", "*", None));
        assert_eq!((request("a", "/").host(), request("", "").host()), ("a", ""));
    }
}
