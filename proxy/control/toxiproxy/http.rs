//! Requests in, answers out: routes, statuses and headers as the original has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, HOST, ORIGIN, USER_AGENT, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

use squall_drill::audit::Act;

use super::Port;
use super::failure::Failure;
use super::input::{self, Object};
use super::registry::{Registry, Wanted, checked_list};
use crate::audit::{Refused, attempted, outcome};
use crate::connections::Link;

/// The version that clients are told: what is implemented here.
const VERSION: &str = "{\"version\": \"2.12.0\"}\n";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// Bytes of a body; a populate of thousands of proxies fits.
const BODY: usize = 8 << 20;

/// What a path leads to. Names are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Proxies,
    Populate,
    Proxy(String),
    Toxics(String),
    Toxic(String, String),
    Reset,
    Version,
    Metrics,
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let name = |part: &str| Some(decoded(part)).filter(|name| !name.is_empty());
        Some(match parts.as_slice() {
            ["proxies"] => Route::Proxies,
            ["populate"] => Route::Populate,
            ["proxies", proxy] => Route::Proxy(name(proxy)?),
            ["proxies", proxy, "toxics"] => Route::Toxics(name(proxy)?),
            ["proxies", proxy, "toxics", toxic] => Route::Toxic(name(proxy)?, name(toxic)?),
            ["reset"] => Route::Reset,
            ["version"] => Route::Version,
            ["metrics"] => Route::Metrics,
            _ => return None,
        })
    }

    /// For the record: the form of the path, and the names in it.
    fn shown(&self) -> (&'static str, Option<String>) {
        match self {
            Route::Proxies => ("/proxies", None),
            Route::Populate => ("/populate", None),
            Route::Proxy(proxy) => ("/proxies/{proxy}", Some(proxy.clone())),
            Route::Toxics(proxy) => ("/proxies/{proxy}/toxics", Some(proxy.clone())),
            Route::Toxic(proxy, toxic) => ("/proxies/{proxy}/toxics/{toxic}", Some(format!("{proxy}/{toxic}"))),
            Route::Reset => ("/reset", None),
            Route::Version => ("/version", None),
            Route::Metrics => ("/metrics", None),
        }
    }

    fn methods(&self) -> &'static [Method] {
        match self {
            Route::Proxies | Route::Toxics(_) => &[Method::GET, Method::POST],
            Route::Populate | Route::Reset => &[Method::POST],
            Route::Proxy(_) | Route::Toxic(..) => &[Method::GET, Method::POST, Method::PATCH, Method::DELETE],
            Route::Version | Route::Metrics => &[Method::GET],
        }
    }
}

fn decoded(part: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut out, mut at) = (part.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A successful answer.
struct Done {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Done {
    fn json(status: StatusCode, value: &Value) -> Done {
        Done { status, kind: JSON, body: value.to_string() }
    }

    fn empty() -> Done {
        Done { status: StatusCode::NO_CONTENT, kind: "", body: String::new() }
    }
}

/// Answers every request of this port.
pub(super) async fn answer(State(port): State<Port>, request: Request) -> Response {
    let (method, link) = (request.method().clone(), request.extensions().get::<Arc<Link>>().cloned());
    let Some(route) = Route::of(request.uri().path()) else {
        let response = plain(StatusCode::NOT_FOUND, "404 page not found\n");
        record(&port, &method, None, link.as_deref(), &response);
        return response;
    };
    let mut response = matched(&port, route.clone(), request).await;
    record(&port, &method, Some(&route), link.as_deref(), &response);
    response.headers_mut().insert("x-toxiproxy-request-id", request_id());
    response
}

/// Puts what a request came to on record; there is nothing to tell callers apart by.
fn record(port: &Port, method: &Method, route: Option<&Route>, link: Option<&Link>, response: &Response) {
    let is_allowed = response.status().as_u16() < 400;
    if is_allowed && matches!(route, Some(Route::Metrics | Route::Version)) {
        return; // figures, asked for all the time
    }
    let (path, object) = route.map_or(("(no route)", None), Route::shown);
    let why = response.extensions().get::<Refused>().map(|refused| refused.0.clone());
    let (decision, reason) = outcome(response.status(), why);
    let action = format!("{method} toxiproxy:{path}");
    let act = Act { actor: "local".into(), action, object, decision, reason, ..Act::default() };
    attempted(act, link, method == Method::GET, |act, often| port.registry.attempted(act, often));
}

async fn matched(port: &Port, route: Route, request: Request) -> Response {
    if !route.methods().contains(request.method()) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let names: Vec<&str> = route.methods().iter().map(Method::as_str).collect();
        if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
            response.headers_mut().insert(ALLOW, names);
        }
        return response;
    }
    if let Err(refused) = is_welcome(request.headers(), port) {
        return *refused;
    }
    let method = request.method().clone();
    let body = axum::body::to_bytes(request.into_body(), BODY);
    let body = match tokio::time::timeout(port.patience, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return failed(&Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "the body can't be taken"), TEXT),
        Err(_) => return failed(&Failure::new(StatusCode::REQUEST_TIMEOUT, "the body took too long"), TEXT),
    };
    let is_populate = route == Route::Populate;
    let (registry, metrics) = (port.registry.clone(), port.metrics);
    // one at a time is enough: each takes moments, and the order of requests is that of their effects
    let Ok(turn) = port.turns.clone().acquire_owned().await else {
        return failed(&Failure::new(StatusCode::SERVICE_UNAVAILABLE, "squall is shutting down"), TEXT);
    };
    let work = move || {
        let done = carry_out(&registry, &route, &method, &body, metrics);
        drop(turn);
        done
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => with(done.status, done.kind, done.body),
        Ok(Err((failure, proxies))) if is_populate => populate_failed(&failure, &proxies),
        Ok(Err((failure, _))) => failed(&failure, TEXT),
        Err(_) => failed(&Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "squall has failed at this"), TEXT),
    }
}

/// What went wrong, and for a populate the proxies done before it (none: it was refused as a whole).
type Failed = (Failure, Option<Vec<Value>>);

fn carry_out(
    registry: &Registry,
    route: &Route,
    method: &Method,
    body: &[u8],
    metrics: super::Shown,
) -> Result<Done, Failed> {
    let ok = |value: Value| Done::json(StatusCode::OK, &value);
    let created = |value: Value| Done::json(StatusCode::CREATED, &value);
    let gone = |()| Done::empty();
    let read = || input::first(body).map_err(Failure::body);
    let wanted = |value: Value| Wanted::read(&Object::of(&value).map_err(Failure::body)?);
    let done = match (route, method) {
        (Route::Proxies, &Method::GET) => Ok(ok(registry.proxies())),
        (Route::Proxies, _) => read().and_then(wanted).and_then(|wanted| registry.create(&wanted)).map(created),
        (Route::Populate, _) => return populate(registry, body),
        (Route::Proxy(name), &Method::GET) => registry.proxy(name).map(ok),
        (Route::Proxy(name), &Method::DELETE) => registry.delete(name).map(gone),
        (Route::Proxy(name), _) => registry
            .proxy(name)
            .and_then(|_| read())
            .and_then(wanted)
            .and_then(|wanted| registry.update(name, &wanted))
            .map(ok),
        (Route::Toxics(proxy), &Method::GET) => registry.toxics(proxy).map(ok),
        (Route::Toxics(proxy), _) => {
            registry.proxy(proxy).and_then(|_| read()).and_then(|toxic| registry.add_toxic(proxy, &toxic)).map(ok)
        }
        (Route::Toxic(proxy, name), &Method::GET) => registry.toxic(proxy, name).map(ok),
        (Route::Toxic(proxy, name), &Method::DELETE) => registry.delete_toxic(proxy, name).map(gone),
        (Route::Toxic(proxy, name), _) => registry
            .toxic(proxy, name)
            .and_then(|_| read())
            .and_then(|toxic| registry.update_toxic(proxy, name, &toxic))
            .map(ok),
        (Route::Reset, _) => registry.reset().map(gone),
        (Route::Version, _) => {
            Ok(Done { status: StatusCode::OK, kind: "application/json;charset=utf-8", body: VERSION.into() })
        }
        (Route::Metrics, _) => Ok(Done {
            status: StatusCode::OK,
            kind: "text/plain; version=0.0.4; charset=utf-8",
            body: registry.metrics(metrics),
        }),
    };
    done.map_err(|failure| (failure, None))
}

/// Required fields of all come first; then one after the other.
fn populate(registry: &Registry, body: &[u8]) -> Result<Done, Failed> {
    let value = checked_list(body).map_err(|failure| (failure, None))?;
    let (done, failure) = registry.populate(input::list(&value).unwrap_or_default());
    match failure {
        Some(failure) => Err((failure, Some(done))),
        None => Ok(Done::json(StatusCode::CREATED, &serde_json::json!({ "proxies": done }))),
    }
}

/// Browsers are kept away, as by the original; so are pages of other origins and names that may have been rebound.
fn is_welcome(headers: &HeaderMap, port: &Port) -> Result<(), Box<Response>> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(USER_AGENT).is_some_and(|agent| agent.starts_with("Mozilla/")) {
        return Err(Box::new(plain(StatusCode::FORBIDDEN, "User agent not allowed\n")));
    }
    let host = text(HOST).and_then(|host| host.parse::<http::uri::Authority>().ok());
    let Some(host) = host.filter(|host| headers.get_all(HOST).iter().count() == 1 && port.knows(host.host())) else {
        let why = "the Host header is not a name of this port: localhost, an address, a name without dots, or --host\n";
        return Err(Box::new(plain(StatusCode::MISDIRECTED_REQUEST, why)));
    };
    let own =
        |origin: &str| origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()));
    match headers.contains_key(ORIGIN) && !text(ORIGIN).is_some_and(own) {
        true => Err(Box::new(plain(StatusCode::FORBIDDEN, "requests from other pages (Origin) are refused\n"))),
        false => Ok(()),
    }
}

fn populate_failed(failure: &Failure, proxies: &Option<Vec<Value>>) -> Response {
    let body = serde_json::json!({
        "error": failure.message, "status": failure.status.as_u16(), "proxies": proxies,
    });
    let mut response = with(failure.status, JSON, format!("{body}\n"));
    response.extensions_mut().insert(Refused(failure.message.clone()));
    response
}

fn failed(failure: &Failure, kind: &'static str) -> Response {
    let mut response = with(failure.status, kind, failure.json());
    response.extensions_mut().insert(Refused(failure.message.clone()));
    response
}

fn plain(status: StatusCode, body: &str) -> Response {
    with(status, TEXT, body.to_owned())
}

fn with(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if !kind.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn request_id() -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = format!("{:08x}{:012x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("0"))
}

/// So that the type is named where the port is put together.
pub(super) fn router(port: Port) -> axum::Router {
    axum::Router::new().fallback(answer).with_state(port)
}

impl Port {
    fn knows(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        !bare.contains('.') && !bare.contains(':')
            || bare.parse::<std::net::IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(Route::of("/proxies/a:80"), Some(Route::Proxy("a:80".into())));
        assert_eq!(Route::of("/proxies/a%2Fb/toxics/%20"), Some(Route::Toxic("a/b".into(), " ".into())));
        assert_eq!(Route::of("/proxies/a%"), Some(Route::Proxy("a%".into())));
        for path in ["/", "/proxies/", "/proxies/a/", "/proxies/a/toxics/", "/proxies/a/b", "/v1/status", "//proxies"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
