//! The shipped failures of services: each scenario is run before a stand-in of the service, and what clients get of it is
//! held against what is written here, byte by byte.

mod answers;
mod clients;
mod databases;
mod links;
mod quotas;
mod sdks;
mod shelf;
mod stand_ins;
mod streams;
mod wrapped;

use std::net::SocketAddr;
use std::time::Duration;

use squall::library;
use squall_control::app::Format;

use crate::support::api::{self, Answer, Api, Ended, Says};
use crate::support::wait::PATIENCE;
use crate::support::{Room, Serve};

/// A stand-in of a service, squall before it, and the shipped scenarios.
struct Library {
    api: Api,
    serve: Serve,
    _room: Room,
}

/// A scenario that runs.
struct Played<'a> {
    library: &'a Library,
    id: String,
}

impl Library {
    fn before(api: Api) -> Library {
        let room = Room::new();
        let proxy = format!("listen = \"127.0.0.1:0\"\nupstream = \"{}\"\nprotocol = \"http\"", api.address);
        let serve = Serve::with(room.command::<&str>(&[]), &room, "", &proxy);
        Library { api, serve, _room: room }
    }

    /// Where clients find what they take for the service.
    fn address(&self) -> SocketAddr {
        self.serve.address
    }

    /// Starts a shipped scenario with these parameters; it is on when this returns.
    #[track_caller]
    fn play(&self, path: &str, set: &[(&str, &str)]) -> Played<'_> {
        let shipped = library::find(path).unwrap_or_else(|| panic!("{path} is not shipped"));
        let set: Vec<(String, String)> = set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let text = on_a_proxy_of_ours(shipped.text);
        let client = &self.serve.client;
        let id = client.submit(&text, Format::Toml, &set).unwrap_or_else(|error| panic!("{path}: {error:?}")).id;
        client.start(&id, Some("60s")).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        Played { library: self, id }
    }

    /// One request, and what comes back.
    #[track_caller]
    fn ask(&self, request: &str) -> Answer {
        api::ask_patiently(self.address(), request)
    }
}

/// The faults of a scenario that are on some host act on the test's own proxy instead, which is as good as one that is
/// opened for that host.
fn on_a_proxy_of_ours(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once("\"host:") {
        Some((before, rest)) => format!("{before}\"default{}", rest.find('"').map_or("", |end| &rest[end..])),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Played<'_> {
    /// How many exchanges its faults have selected so far.
    fn hits(&self) -> u64 {
        let view = self.library.serve.client.view(&self.id).unwrap();
        view.faults.iter().map(|fault| fault.tally.selected).sum()
    }

    /// Ends it, and waits until it is over: so many may run at one moment, and one that is closing its books runs.
    fn stop(self) {
        self.library.serve.stop(&self.id);
        self.library.serve.over(&self.id);
    }
}

/// What becomes of an answer in a client of the usual kind: it looks at the status, tries again twice what may pass, and
/// knows Retry-After.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// It goes on as if all were well.
    Believed,
    /// It gives up at once.
    Final,
    /// It tries again, and fails after three attempts; it has been told to wait so many seconds between them.
    TriedAgain { after: Option<u64> },
}

const ATTEMPTS: u64 = 3;

/// One scenario that answers in the service's place, and all that there is to see of it.
struct Case {
    scenario: &'static str,
    asks: &'static str,
    sends: Vec<(&'static str, &'static str)>,
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    /// The service has acted before its answer was replaced.
    acted: bool,
    effect: Effect,
}

/// A case to be told further: `scenario` answers the request `asks` with `status`.
fn answer(scenario: &'static str, asks: &'static str, status: u16) -> Case {
    let (sends, headers) = (Vec::new(), Vec::new());
    Case { scenario, asks, sends, status, headers, body: "", acted: false, effect: Effect::Final }
}

impl Case {
    fn sending(mut self, name: &'static str, value: &'static str) -> Case {
        self.sends.push((name, value));
        self
    }

    /// The answer has this header, once.
    fn with(mut self, name: &'static str, value: &'static str) -> Case {
        self.headers.push((name, value));
        self
    }

    /// The answer's body, all of it.
    fn saying(mut self, body: &'static str) -> Case {
        self.body = body;
        self
    }

    fn once_it_has_acted(mut self) -> Case {
        self.acted = true;
        self
    }

    fn believed(mut self) -> Case {
        self.effect = Effect::Believed;
        self
    }

    fn tried_again(mut self) -> Case {
        self.effect = Effect::TriedAgain { after: None };
        self
    }

    fn tried_again_after(mut self, seconds: u64) -> Case {
        self.effect = Effect::TriedAgain { after: Some(seconds) };
        self
    }

    /// Plays it: the answer is exact, the service has heard of it or not, a client of the usual kind is moved as is
    /// written, and without it the same request gets the service's own answer.
    fn holds(&self, library: &Library) {
        let (name, address) = (self.scenario, library.address());
        let own = api::ask(library.api.address, self.asks, &self.sends, PATIENCE);
        library.api.news();
        let played = library.play(name, &[("rate", "100%")]);

        let answer = api::ask(address, self.asks, &self.sends, PATIENCE);
        assert_eq!((answer.status, answer.ended), (self.status, Ended::Whole), "{name}: {answer:#?}");
        assert_eq!(answer.text(), self.body, "{name}");
        for (header, value) in &self.headers {
            let found: Vec<_> = answer.headers.iter().filter(|(one, _)| one.eq_ignore_ascii_case(header)).collect();
            assert!(matches!(*found, [(_, said)] if said == value), "{name}: {header}: {found:?}");
        }
        let by = answer.header("x-squall-fault").unwrap_or_default();
        assert!(by.starts_with(&format!("{}/", name.replace('/', "-"))), "{name} is not told apart: {by}");
        let framing = ["content-length", "date", "x-squall-fault", "connection"];
        let told = self.headers.iter().map(|(header, _)| *header).chain(framing).collect::<Vec<_>>();
        let is_told = |header: &str| told.iter().any(|told| told.eq_ignore_ascii_case(header));
        let more: Vec<_> = answer.headers.iter().filter(|(header, _)| !is_told(header)).collect();
        assert!(more.is_empty(), "{name} says more: {more:?}");

        let (effect, attempts) = client_of_the_usual_kind(|| api::ask(address, self.asks, &self.sends, PATIENCE));
        assert_eq!(effect, self.effect, "{name}");
        assert_eq!(played.hits(), 1 + attempts, "{name}");
        let heard = library.api.news().len() as u64;
        assert_eq!(heard, if self.acted { 1 + attempts } else { 0 }, "{name}: what the service heard of it");

        played.stop();
        let after = api::ask(address, self.asks, &self.sends, PATIENCE);
        assert_eq!((after.status, after.body), (own.status, own.body), "{name}: when it is over");
    }
}

/// What it does with a service's answers, and in how many attempts.
fn client_of_the_usual_kind(mut ask: impl FnMut() -> Answer) -> (Effect, u64) {
    for attempt in 1.. {
        let answer = ask();
        let after = answer.header("retry-after").and_then(|seconds| seconds.parse::<f64>().ok());
        match answer.status {
            200..=299 => return (Effect::Believed, attempt),
            429 | 500..=599 if attempt < ATTEMPTS => {} // it would wait here
            429 | 500..=599 => return (Effect::TriedAgain { after: after.map(|seconds| seconds as u64) }, attempt),
            _ => return (Effect::Final, attempt),
        }
    }
    unreachable!("attempts have an end")
}

fn all_hold(api: Api, cases: &[Case]) {
    let library = Library::before(api);
    cases.iter().for_each(|case| case.holds(&library));
}

/// A service that answers everything with a JSON object.
fn any_service() -> Api {
    Api::answering(|asked| Says::json(format!(r#"{{"method":"{}","ok":true}}"#, asked.method)))
}

/// Longer than a scenario holds anything here, and shorter than anybody waits.
const SHORT: Duration = Duration::from_millis(700);
