//! Every attempt on record: who, what, to what, and whether it was let. The record is made when the answer is known and
//! handed over without waiting, so an abort does not depend on it.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::LOCATION;
use http::{Method, StatusCode};
use squall_core::who::Identity;
use squall_drill::audit::{Act, Decision};

use crate::connections::Link;
use crate::routes::{self, Port};

/// Why a request was not carried out, for the record; in the extensions of the answer.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) String);

/// Puts what a request came to on record.
pub(crate) async fn audit(State(port): State<Port>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let object = route.as_deref().and_then(|route| named(route, request.uri().path()));
    let link = request.extensions().get::<Arc<Link>>().cloned();
    let mut response = next.run(request).await;
    let is_allowed = response.status().as_u16() < 400;
    if is_allowed && route.as_deref().is_some_and(routes::is_harmless) {
        return response; // figures and health, asked for all the time
    }
    let is_look = method == Method::GET || route.as_deref().is_some_and(|route| route.ends_with("/renew"));
    let (actor, role) = match response.extensions().get::<Identity>() {
        Some(who) => (who.name.to_string(), Some(who.role.to_string())),
        None => ("nobody".into(), None), // refused before it was known who asks
    };
    let refused = response.extensions_mut().remove::<Refused>();
    let (decision, reason) = outcome(response.status(), refused.map(|refused| refused.0));
    let object = object.or_else(|| made(&response));
    let action = format!("{method} {}", route.as_deref().unwrap_or("(no route)"));
    let act = Act { actor, role, peer: None, action, object, plan_hash: None, decision, reason };
    attempted(act, link.as_deref(), is_look, |act, often| port.app.attempted(act, often));
    response
}

/// Hands it over with where it came from. Looks, and what is refused, are counted by the host: a new port each time would make
/// each one a kind of its own.
pub(crate) fn attempted(act: Act, link: Option<&Link>, is_look: bool, record: impl FnOnce(Act, bool)) {
    let often = is_look || act.decision == Decision::Deny;
    let peer = link.map(|link| if often { link.peer.host() } else { link.peer.to_string() });
    record(Act { peer, ..act }, often);
}

/// Whether it was let, and with which answer.
pub(crate) fn outcome(status: StatusCode, why: Option<String>) -> (Decision, Option<String>) {
    let decision = if status.as_u16() < 400 { Decision::Allow } else { Decision::Deny };
    let told = why.map(|why| format!(": {why}")).unwrap_or_default();
    (decision, Some(format!("{}{told}", status.as_u16())))
}

/// What an answer says was made.
fn made(response: &Response) -> Option<String> {
    let place = response.headers().get(LOCATION)?.to_str().ok()?;
    place.rsplit('/').next().map(str::to_owned)
}

/// What stands in the path where the route has a name or an id, if it can be one: whatever else stands there, such as a
/// token, has no place in a log.
fn named(route: &str, path: &str) -> Option<String> {
    let place = route.split('/').position(|part| part.starts_with('{'))?;
    let is_name = |part: &&str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    path.split('/').nth(place).filter(is_name).map(str::to_owned)
}
