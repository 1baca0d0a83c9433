//! A client of the control port. Blocking: every call has a runtime and a connection of its own, so it must not be used
//! inside a tokio runtime (but well on a thread beside one).

mod events;
mod tls;
mod wire;

use std::fmt;
use std::time::Duration;

use http::Method;
use serde::de::DeserializeOwned;

pub use self::events::Events;
pub use self::tls::Files;
use crate::api::{
    AbortReport, AbortedExperiment, ApproveRequest, Empty, EngageRequest, Engaged, ExperimentView, LeverView, Mark,
    Marked, Problem, ProxyRequest, ProxyView, RejectRequest, Reloaded, StartRequest, Status,
};
use crate::app::Format;
use crate::place::{self, Place};

/// Talks to one control port. Cheap to clone, may be used from several threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    place: Place,
    patience: Duration,
    token: Option<Bearer>,
    tls: Files,
}

/// A token; not shown by accident.
#[derive(Clone, PartialEq, Eq)]
struct Bearer(String);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Why a call failed.
#[derive(Debug)]
pub enum ClientError {
    /// No control port is known: neither given, nor in SQUALL_CONTROL, nor published.
    NotFound,
    /// What was given is not the place of a control port.
    BadPlace(String),
    /// Nobody answers there: where, and why.
    Unreachable(Place, String),
    /// It answered with an error.
    Refused(Box<Problem>),
    /// It answered something that is no answer of squall's.
    Strange(String),
}

impl ClientError {
    /// Whether the control port is out of reach (exit code 4), rather than having refused.
    pub fn is_out_of_reach(&self) -> bool {
        !matches!(self, ClientError::Refused(_) | ClientError::BadPlace(_))
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NotFound => f.write_str(
                "no running squall found: start `squall serve`, or say where it is with --control or SQUALL_CONTROL",
            ),
            ClientError::BadPlace(why) => f.write_str(why),
            ClientError::Unreachable(place, why) => write!(f, "no answer from the control port at {place}: {why}"),
            ClientError::Refused(problem) => f.write_str(&problem.detail),
            ClientError::Strange(why) => write!(f, "this is not an answer of squall's control port: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// A client of the control port at this place; waits at most 30 s for an answer.
    pub fn new(place: Place) -> Client {
        Client { place, patience: Duration::from_secs(30), token: None, tls: Files::named() }
    }

    /// The first of: what was given (`--control`), `SQUALL_CONTROL`, what a squall of this user has published; with the
    /// token in `SQUALL_TOKEN`, if any.
    pub fn find(given: Option<&str>) -> Result<Client, ClientError> {
        let variable = std::env::var("SQUALL_CONTROL").ok().filter(|text| !text.is_empty());
        let said = given.or(variable.as_deref()).map(str::parse).transpose().map_err(ClientError::BadPlace)?;
        let place = match said {
            Some(place) => Some(place),
            None => place::published(&place::file()).map_err(ClientError::BadPlace)?,
        };
        let client = place.map(Client::new).ok_or(ClientError::NotFound)?;
        let token = std::env::var("SQUALL_TOKEN").ok().filter(|token| !token.trim().is_empty());
        Ok(match token {
            Some(token) => client.token(token.trim()),
            None => client,
        })
    }

    /// Shows this token with each request.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Client {
        Client { token: Some(Bearer(token.into())), ..self }
    }

    /// Trusts and shows what is in these files, where the port speaks TLS.
    #[must_use]
    pub fn tls(self, tls: Files) -> Client {
        Client { tls, ..self }
    }

    /// Waits at most this long for each answer.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Client {
        Client { patience, ..self }
    }

    /// Where it connects.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// `GET /v1/status`
    pub fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status")
    }

    /// Whether the program is ready: `GET /readyz`
    pub fn is_ready(&self) -> Result<bool, ClientError> {
        Ok(self.call(Method::GET, "/readyz", None)?.status.is_success())
    }

    /// What is in force, as a `squall.toml`: `GET /v1/config`
    pub fn config(&self) -> Result<String, ClientError> {
        self.call(Method::GET, "/v1/config", None)?.text()
    }

    /// Reads the configuration anew: `POST /v1/reload`
    pub fn reload(&self) -> Result<Reloaded, ClientError> {
        self.post("/v1/reload", &Empty {})
    }

    /// Takes what runs as it is: `POST /v1/accept`
    pub fn accept(&self) -> Result<Reloaded, ClientError> {
        self.post("/v1/accept", &Empty {})
    }

    /// `GET /v1/proxies`
    pub fn proxies(&self) -> Result<Vec<ProxyView>, ClientError> {
        self.get("/v1/proxies")
    }

    /// Adds a proxy or changes it: `PUT /v1/proxies/{name}`
    pub fn put_proxy(&self, name: &str, request: &ProxyRequest) -> Result<ProxyView, ClientError> {
        self.call(Method::PUT, &format!("/v1/proxies/{}", segment(name)?), json(request)?)?.json()
    }

    /// `DELETE /v1/proxies/{name}`
    pub fn delete_proxy(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &format!("/v1/proxies/{}", segment(name)?), None)?.text().map(drop)
    }

    /// Hands in a scenario, with parameters set to other values: `POST /v1/experiments`
    pub fn submit(&self, text: &str, format: Format, set: &[(String, String)]) -> Result<ExperimentView, ClientError> {
        let content_type = match format {
            Format::Toml => "application/toml",
            Format::Json => "application/json",
        };
        let mut path = "/v1/experiments".to_owned();
        for (n, (name, value)) in set.iter().enumerate() {
            path.push_str(if n == 0 { "?set=" } else { "&set=" });
            wire::escape(&format!("{name}={value}"), &mut path);
        }
        self.call(Method::POST, &path, Some((content_type, text.to_owned())))?.json()
    }

    /// Starts it; detached, it lives for at most `detached` (as in "5m"), else as long as its lease is renewed.
    pub fn start(&self, id: &str, detached: Option<&str>) -> Result<ExperimentView, ClientError> {
        self.begin(id, detached, false)
    }

    /// The same, but nothing is injected: it says what would have been.
    pub fn observe(&self, id: &str, detached: Option<&str>) -> Result<ExperimentView, ClientError> {
        self.begin(id, detached, true)
    }

    fn begin(&self, id: &str, detached: Option<&str>, observe: bool) -> Result<ExperimentView, ClientError> {
        let (detach, max) = (detached.is_some(), detached.map(str::to_owned));
        let request = StartRequest { detach, max, observe, ..StartRequest::default() };
        self.post(&experiment(id, "/start")?, &request)
    }

    /// Whether it may be started, now, by whoever asks; nothing is.
    pub fn may_start(&self, id: &str, detached: Option<&str>, observe: bool) -> Result<ExperimentView, ClientError> {
        let (detach, max) = (detached.is_some(), detached.map(str::to_owned));
        let request = StartRequest { detach, max, observe, check: true, ..StartRequest::default() };
        self.post(&experiment(id, "/start")?, &request)
    }

    /// Agrees to it: `POST /v1/experiments/{id}/approve`
    pub fn approve(&self, id: &str, request: &ApproveRequest) -> Result<ExperimentView, ClientError> {
        self.post(&experiment(id, "/approve")?, request)
    }

    /// Objects to it: `POST /v1/experiments/{id}/reject`
    pub fn reject(&self, id: &str, reason: &str) -> Result<ExperimentView, ClientError> {
        self.post(&experiment(id, "/reject")?, &RejectRequest { reason: reason.to_owned() })
    }

    /// What it says: `GET /v1/experiments/{id}/scenario`
    pub fn scenario(&self, id: &str) -> Result<String, ClientError> {
        self.call(Method::GET, &experiment(id, "/scenario")?, None)?.text()
    }

    /// Says what happened: `POST /v1/experiments/{id}/marks`
    pub fn mark(&self, id: &str, mark: &Mark) -> Result<Marked, ClientError> {
        self.post(&experiment(id, "/marks")?, mark)
    }

    /// Holds it; its faults are off meanwhile.
    pub fn pause(&self, id: &str) -> Result<ExperimentView, ClientError> {
        self.post(&experiment(id, "/pause")?, &Empty {})
    }

    /// Goes on after a pause.
    pub fn resume(&self, id: &str) -> Result<ExperimentView, ClientError> {
        self.post(&experiment(id, "/resume")?, &Empty {})
    }

    /// Renews its lease.
    pub fn renew(&self, id: &str) -> Result<ExperimentView, ClientError> {
        self.post(&experiment(id, "/renew")?, &Empty {})
    }

    /// Ends one experiment.
    pub fn abort(&self, id: &str) -> Result<AbortedExperiment, ClientError> {
        self.post(&experiment(id, "/abort")?, &Empty {})
    }

    /// Ends everything: `POST /v1/abort`
    pub fn abort_all(&self) -> Result<AbortReport, ClientError> {
        self.post("/v1/abort", &Empty {})
    }

    /// How the safety lever stands: `GET /v1/lever`
    pub fn lever(&self) -> Result<LeverView, ClientError> {
        self.get("/v1/lever")
    }

    /// Engages it: `POST /v1/lever/engage`
    pub fn engage(&self, reason: &str) -> Result<Engaged, ClientError> {
        self.post("/v1/lever/engage", &EngageRequest { reason: reason.into() })
    }

    /// Releases it: `POST /v1/lever/release`
    pub fn release(&self) -> Result<LeverView, ClientError> {
        self.post("/v1/lever/release", &Empty {})
    }

    /// `GET /v1/experiments`
    pub fn list(&self) -> Result<Vec<ExperimentView>, ClientError> {
        self.get("/v1/experiments")
    }

    /// `GET /v1/experiments/{id}`
    pub fn view(&self, id: &str) -> Result<ExperimentView, ClientError> {
        self.get(&experiment(id, "")?)
    }

    /// Changes fields of a fault of an experiment that runs; null takes one out.
    pub fn change(
        &self,
        id: &str,
        fault: &str,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<ExperimentView, ClientError> {
        let path = experiment(id, &format!("/faults/{}", segment(fault)?))?;
        self.call(Method::PATCH, &path, json(fields)?)?.json()
    }

    /// The report of a run that is over.
    pub fn report(&self, id: &str) -> Result<serde_json::Value, ClientError> {
        self.get(&experiment(id, "/report")?)
    }

    /// The same in Markdown.
    pub fn report_markdown(&self, id: &str) -> Result<String, ClientError> {
        let call =
            wire::Call { accept: "text/markdown", ..self.prepare(Method::GET, &experiment(id, "/report")?, None) };
        call.run()?.text()
    }

    /// Everything that happens from now on: `GET /v1/events`. Blocks until it is connected.
    pub fn events(&self) -> Result<Events, ClientError> {
        Events::open(self.prepare(Method::GET, "/v1/events", None))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None)?.json()
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T, ClientError> {
        self.call(Method::POST, path, json(body)?)?.json()
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, String)>,
    ) -> Result<wire::Answer, ClientError> {
        self.prepare(method, path, body).run()
    }

    fn prepare(&self, method: Method, path: &str, body: Option<(&'static str, String)>) -> wire::Call {
        let (place, patience, token) = (self.place.clone(), self.patience, self.token.clone());
        wire::Call {
            place,
            patience,
            token,
            tls: self.tls.clone(),
            method,
            path: path.to_owned(),
            accept: "application/json",
            body,
        }
    }
}

fn json(body: &impl serde::Serialize) -> Result<Option<(&'static str, String)>, ClientError> {
    let text = serde_json::to_string(body).map_err(|e| ClientError::Strange(e.to_string()))?;
    Ok(Some(("application/json", text)))
}

fn experiment(id: &str, rest: &str) -> Result<String, ClientError> {
    Ok(format!("/v1/experiments/{}{rest}", segment(id)?))
}

/// Names and ids are plain words: anything else can't name something that exists, and must not change the path.
fn segment(word: &str) -> Result<&str, ClientError> {
    let plain = !word.is_empty()
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !word.starts_with('.');
    match plain {
        true => Ok(word),
        false => Err(ClientError::Refused(Box::new(Problem {
            kind: "about:blank".into(),
            title: "Not Found".into(),
            status: 404,
            detail: format!("`{}` is not a name: names are made of a-z, 0-9 and -", word.escape_debug()),
            errors: Vec::new(),
        }))),
    }
}
