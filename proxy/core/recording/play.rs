//! Which recorded answer a request gets, and when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::{Body, Exchange, Recording, template};
use crate::draw::Draw;
use crate::redact::Redaction;
use crate::time::Time;

/// When a recorded answer comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// As it was recorded.
    #[default]
    Recorded,
    /// Its head after a time drawn from what was fitted to its route; its pieces as they were recorded.
    Drawn,
    /// At once.
    None,
}

/// What somebody asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Host and port; empty: nobody said.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path as sent.
    pub path: &'a str,
    /// The query as sent, without the question mark.
    pub query: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// A recording that is played. Among the exchanges of the same method and path those win that were asked of the same host,
/// then those with the same query, then those with the same body; if there are several, they come in turn, over and over.
#[derive(Debug)]
pub struct Playing {
    recording: Arc<Recording>,
    /// Only what was asked with the same query and body is answered.
    strict: bool,
    redaction: Redaction,
    /// Exchanges by method and path.
    asked: HashMap<(String, String), Vec<usize>>,
    /// Exchanges' routes.
    routes: Vec<Option<usize>>,
    /// How often those were asked that win together, by how near they are and the first of them.
    turns: Mutex<HashMap<(u8, usize), usize>>,
}

impl Playing {
    /// `strict`: a request that differs in query or body from all that were recorded has no answer.
    ///
    /// # Errors
    /// Never, as long as squall's own patterns can be read.
    pub fn new(recording: Arc<Recording>, strict: bool) -> Result<Playing, String> {
        let mut asked: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, exchange) in recording.exchanges.iter().enumerate() {
            asked.entry((exchange.method.clone(), exchange.path.clone())).or_default().push(index);
        }
        let route = |exchange: &Exchange| {
            let path = template(&exchange.path);
            recording.routes.iter().position(|route| route.method == exchange.method && route.path == path)
        };
        let routes = recording.exchanges.iter().map(route).collect();
        let redaction = Redaction::new(&[], &[])?;
        Ok(Playing { recording, strict, redaction, asked, routes, turns: Mutex::default() })
    }

    /// The recording.
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// The exchange whose answer a request gets, by its place in the recording; none: nothing like it was recorded.
    pub fn answer(&self, asked: &Asked<'_>) -> Option<usize> {
        // what was written down has no secrets any more, and so is compared without them
        let (path, query) = (self.redaction.text(asked.path), asked.query.map(|query| self.redaction.text(query)));
        let mut body = asked.body.to_vec();
        self.redaction.bytes(&mut body);
        let places = self.asked.get(&(asked.method.to_owned(), path))?;
        let near = |index: &usize| {
            let exchange = &self.recording.exchanges[*index];
            let host = exchange.host.eq_ignore_ascii_case(asked.host);
            let query = exchange.query == query;
            let body = is_same(&exchange.body, &body);
            (!self.strict || query && body).then_some(u8::from(host) << 2 | u8::from(query) << 1 | u8::from(body))
        };
        let nearest = places.iter().filter_map(near).max()?;
        let winners: Vec<usize> = places.iter().copied().filter(|index| near(index) == Some(nearest)).collect();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry((nearest, *winners.first()?)).or_default();
        let winner = winners.get(*turn % winners.len()).copied();
        *turn = turn.wrapping_add(1);
        winner
    }

    /// How long after the request the head of this answer comes, ns.
    pub fn first(&self, exchange: usize, timing: Timing, draw: Draw) -> Time {
        let recorded = self.recording.exchanges.get(exchange).map_or(0, |exchange| exchange.first);
        match timing {
            Timing::None => 0,
            Timing::Recorded => recorded,
            Timing::Drawn => {
                let route = self.routes.get(exchange).copied().flatten();
                let route = route.and_then(|route| self.recording.routes.get(route));
                route.map_or(recorded, |route| route.latency.sample(draw.at(0), 0))
            }
        }
    }
}

/// What is not known of a body is taken for the same.
fn is_same(recorded: &Body, body: &[u8]) -> bool {
    match recorded {
        Body::None => body.is_empty(),
        Body::Kept(bytes) => bytes == body,
        Body::Digest(size, digest) => *size == body.len() as u64 && *digest == sha256(body),
        Body::Size(size) => *size == body.len() as u64,
    }
}

/// In hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
