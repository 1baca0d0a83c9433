//! Who may ask, and in what form: checked before any handler runs.
//!
//! Browsers are the danger on loopback: a page can send simple requests anywhere, and with DNS rebinding its own host
//! name may lead here. Hence the names in Host, the Origin and the content types are checked.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use percent_encoding::percent_decode_str;

use crate::problem::Failure;
use crate::tokens::PREFIX;

/// Which names lead here.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    hosts: Vec<String>,
    any_address: bool,
    scheme: &'static str,
}

impl Guard {
    /// Localhost and the names given. With `any_address` every bare address too: rebinding needs a name, so an address
    /// is no danger, but only the read-only listener has to be reached from elsewhere.
    pub(crate) fn new(hosts: impl IntoIterator<Item = String>, any_address: bool) -> Guard {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let hosts = own.into_iter().chain(hosts).map(|host| host.to_ascii_lowercase()).collect();
        Guard { hosts, any_address, scheme: "http://" }
    }

    /// The same where TLS is spoken.
    pub(crate) fn secure(self) -> Guard {
        Guard { scheme: "https://", ..self }
    }

    fn check(&self, request: &Request) -> Result<(), Failure> {
        without_token(request.uri())?;
        canonical(request.uri())?;
        let host = self.host(request)?;
        origin(request.headers(), &host, self.scheme)
    }

    fn host(&self, request: &Request) -> Result<Authority, Failure> {
        let mut given = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return Err(bad("expected exactly one Host header"));
        };
        let host: Authority = host
            .to_str()
            .ok()
            .and_then(|host| host.parse().ok())
            .ok_or_else(|| bad("the Host header can't be read"))?;
        for name in [Some(&host), request.uri().authority()].into_iter().flatten() {
            if !self.knows(name) {
                let why = format!("`{}` is not a name of this control port ([control] hosts adds names)", name.host());
                return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, why));
            }
        }
        Ok(host)
    }

    fn knows(&self, name: &Authority) -> bool {
        let host = name.host().to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        !name.as_str().contains('@') && (self.hosts.contains(&host) || self.any_address && is_address)
    }
}

/// Runs the checks before the router; answers must not be guessed at or kept by a browser.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Names and ids need no escapes, so every path has one spelling; anything else is refused before it is matched.
fn canonical(uri: &Uri) -> Result<(), Failure> {
    let path = uri.path();
    let plain = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b));
    let inner = path.strip_suffix('/').unwrap_or(path);
    let has_gap = inner.split('/').skip(1).any(|part| matches!(part, "" | "." | ".."));
    match plain && !(has_gap && path != "/") {
        true => Ok(()),
        false => Err(bad("the path is not in its one canonical form: no `//`, no escapes, no parameters")),
    }
}

/// A token in an address ends up in histories and logs: it is refused before anything else looks at the address.
fn without_token(uri: &Uri) -> Result<(), Failure> {
    let text = uri.path_and_query().map_or("", |text| text.as_str());
    let plain = percent_decode_str(text).decode_utf8_lossy().to_ascii_lowercase();
    let is_named = |part: &str| {
        let name = part.split('=').next().unwrap_or_default();
        ["token", "access_token", "bearer", "authorization"].contains(&name)
    };
    let names = plain.split_once('?').map_or("", |(_, query)| query);
    match plain.contains(PREFIX) || names.split('&').any(is_named) {
        false => Ok(()),
        true => {
            Err(bad("a token has no place in an address, where others may read it: send `Authorization: Bearer`, \
                         and have this one revoked"))
        }
    }
}

/// Requests of pages come from the page of this very port, or not at all.
fn origin(headers: &HeaderMap, host: &Authority, scheme: &str) -> Result<(), Failure> {
    let mut given = headers.get_all(ORIGIN).iter();
    let Some(origin) = given.next() else { return Ok(()) };
    let same = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix(scheme))
        .is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()));
    match same && given.next().is_none() {
        true => Ok(()),
        false => Err(Failure::new(StatusCode::FORBIDDEN, "requests from other pages (Origin) are refused")),
    }
}

fn bad(why: &str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (path, good) in [
            ("/v1/status", true),
            ("/", true),
            ("/v1/status/", true), // one form, which no route has
            ("//v1/status", false),
            ("/v1//status", false),
            ("/v1/status//", false),
            ("/v1/%2fstatus", false),
            ("/v1/proxies/a%00", false),
            ("/v1/proxies/a;b", false),
            ("/v1/../v1/status", false),
            ("/v1/./status", false),
            ("//", false),
        ] {
            let found = path.parse::<Uri>().map(|uri| canonical(&uri).is_ok());
            assert!(matches!(found, Ok(found) if found == good) || found.is_err() && !good, "{path}");
        }
    }
}
