//! Who may come in. Who asks is found out for every request before any handler is chosen, and what their role lets them do
//! is asked of the route that was found: see `permit`.

mod flood;
mod users;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONNECTION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use squall_core::time::Clock;
use squall_core::who::{Identity, Proof, Role};

use self::flood::Flood;
use self::users::Users;
use crate::connections::{Link, Peer};
use crate::problem::Failure;
use crate::server::{nap, stopped};
use crate::tls::{self, Tls};
use crate::tokens::TokenFile;

/// How often the token file is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Who is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The token file. None: whoever reaches the port is the local operator; on a unix socket, the user that the kernel
    /// names.
    pub tokens: Option<PathBuf>,
    /// TLS, and who is who by certificate; none: the port speaks without.
    pub tls: Option<tls::Settings>,
}

impl Settings {
    /// Whether other machines may reach the port: it is known who asks, and nobody in between reads along.
    pub(crate) fn is_safe_anywhere(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| self.tokens.is_some() || tls.client_ca.is_some())
    }
}

/// Who is let in, at work.
pub(crate) struct Access {
    tokens: Option<TokenFile>,
    tls: Option<Arc<Tls>>,
    /// It is by certificates that one is known.
    certified: bool,
    users: Users,
    flood: Mutex<Flood>,
    clock: Arc<dyn Clock>,
}

impl Access {
    /// Errors: the token file can't be taken, in words.
    pub(crate) fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Access, String> {
        let tokens = settings.tokens.as_deref().map(TokenFile::open).transpose()?;
        let certified = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let tls = settings.tls.as_ref().map(|tls| Tls::open(tls, certified && tokens.is_none())).transpose()?;
        Ok(Access { tokens, tls: tls.map(Arc::new), certified, users: Users::read(), flood: Mutex::default(), clock })
    }

    /// Who asks. Errors: 401; 429 for those who have failed too often. A right token is never kept waiting, so that nobody
    /// can keep others from an abort.
    fn identify(&self, link: &Link, headers: &HeaderMap) -> Result<Identity, Failure> {
        let peer = &link.peer;
        let Some(file) = &self.tokens else {
            return match self.known(link) {
                Some(who) => Ok(who),
                None if self.certified => Err(self.failed(peer, "no name in this certificate has a role here")),
                None => Ok(local(peer)),
            };
        };
        let shown = match bearer(headers) {
            Ok(Some(shown)) => file
                .tokens()
                .verify(shown, self.clock.wall())
                .map(|token| token.identity(&peer.to_string()))
                .map_err(|refused| refused.told()),
            Ok(None) => self.known(link).ok_or("a token is needed: `Authorization: Bearer sqt_…`"),
            Err(why) => Err(why),
        };
        shown.map_err(|why| self.failed(peer, why))
    }

    /// Whom the connection itself tells.
    fn known(&self, link: &Link) -> Option<Identity> {
        let peer = &link.peer;
        match peer {
            Peer::Tcp(_) => self.tls.as_ref()?.identity(link.names(), &peer.to_string()),
            Peer::Unix(user) => {
                let role = if self.users.is_own(*user) { Role::Admin } else { Role::Operator };
                Some(Identity::new(&self.users.name(*user), role, Proof::User(*user), &peer.to_string()))
            }
        }
    }

    fn failed(&self, peer: &Peer, why: &str) -> Failure {
        let now = self.clock.now().mono;
        let too_often = self.flood.lock().unwrap_or_else(PoisonError::into_inner).fails(&peer.host(), now);
        match too_often {
            false => Failure::new(StatusCode::UNAUTHORIZED, why),
            true => Failure::new(StatusCode::TOO_MANY_REQUESTS, "too many failed logins from there: try again later"),
        }
    }

    fn refresh(&self) {
        let tokens = self.tokens.as_ref().map(|file| ("tokens", file.refresh()));
        let tls = self.tls.as_ref().map(|tls| ("certificates", tls.refresh()));
        for (what, read) in tokens.into_iter().chain(tls) {
            match read {
                Err(why) => tracing::error!("the {what} stay as they were: {why}"),
                Ok(true) => tracing::info!("the {what} were read anew"),
                Ok(false) => {}
            }
        }
    }

    /// What the port speaks.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Looks at its files again and again.
    pub(crate) async fn keep_up(self: Arc<Access>, mut stop: tokio::sync::watch::Receiver<bool>) {
        while self.tokens.is_some() || self.tls.is_some() {
            let access = self.clone();
            let _ = tokio::task::spawn_blocking(move || access.refresh()).await;
            tokio::select! {
                () = stopped(&mut stop) => return,
                () = nap(LOOK) => {}
            }
        }
    }
}

/// Whoever reaches a port that asks for nothing.
fn local(peer: &Peer) -> Identity {
    Identity { peer: peer.to_string().into(), ..Identity::local() }
}

/// The token that is shown; none: none is.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = given.next() else { return Ok(None) };
    let text = first.to_str().ok().filter(|_| given.next().is_none());
    let (scheme, token) = text.and_then(|text| text.split_once(' ')).ok_or(EXPECTED)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(EXPECTED) }
}

const EXPECTED: &str = "expected one header `Authorization: Bearer sqt_…`";

/// Finds out who asks, and leaves word in the request for the handlers and in the answer for the record.
pub(crate) async fn identify(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let link = request.extensions().get::<Arc<Link>>().cloned();
    let Some(link) = link else { return Failure::new(StatusCode::UNAUTHORIZED, "nobody asks").into_response() };
    match access.identify(&link, request.headers()) {
        Ok(who) => {
            request.extensions_mut().insert(who.clone());
            let mut response = next.run(request).await;
            response.extensions_mut().insert(who);
            response
        }
        Err(failure) => {
            let mut response = failure.into_response();
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"squall\""));
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// What a route asks of those who use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The least role.
    pub(crate) role: Role,
    /// What it is about, for those whose word is about some experiments only.
    pub(crate) about: About,
}

/// What a route is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Something that everybody who is known may do.
    All,
    /// The experiment in the path.
    Experiment,
    /// An experiment that the handler looks at.
    Handed,
    /// The whole program.
    Program,
}

impl Needs {
    fn check(self, who: &Identity, id: Option<&str>) -> Result<(), Failure> {
        if who.role < self.role {
            let why = format!("this takes the role {}; `{}` is {}", self.role, who.name, who.role);
            return Err(Failure::new(StatusCode::FORBIDDEN, why));
        }
        match self.about {
            About::Experiment => id.map_or(Ok(()), |id| covers(who, experiment(id))),
            About::Program if !who.scope.is_empty() => Err(out_of_scope(who)),
            About::All | About::Handed | About::Program => Ok(()),
        }
    }
}

/// Errors: somebody has no say about this experiment.
pub(crate) fn covers(who: &Identity, experiment: &str) -> Result<(), Failure> {
    if who.covers(experiment) { Ok(()) } else { Err(out_of_scope(who)) }
}

fn out_of_scope(who: &Identity) -> Failure {
    let why = format!("`{}` has a say about {} only", who.name, who.scope.join(", "));
    Failure::new(StatusCode::FORBIDDEN, why)
}

/// The name of the experiment that has this id.
fn experiment(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(name, _)| name)
}

/// Holds the route that was found against the role of who asks.
pub(crate) async fn permit(
    State(needs): State<Needs>,
    path: Option<Path<Vec<(String, String)>>>,
    request: Request,
    next: Next,
) -> Response {
    let id = path.and_then(|Path(parts)| parts.into_iter().find(|(name, _)| name == "id")).map(|(_, id)| id);
    let allowed = match request.extensions().get::<Identity>() {
        Some(who) => needs.check(who, id.as_deref()),
        None => Err(Failure::new(StatusCode::UNAUTHORIZED, "nobody asks")),
    };
    match allowed {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}
