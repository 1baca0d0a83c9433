#![allow(clippy::unwrap_used, clippy::panic)]

use super::cells::KEYS;
use super::*;
use crate::fault::driver::Driver;
use crate::fault::registry::Kind;
use crate::fault::{Flow, Upstream};
use crate::http::Request;
use crate::time::MILLI;

fn build(text: &str) -> RateLimit {
    RateLimit::build(toml::from_str(text).unwrap()).unwrap()
}

/// Exchanges at one fault.
struct Clients {
    fault: RateLimit,
    shared: std::sync::Arc<Cells>,
    at: Time,
}

impl Clients {
    fn new(text: &str) -> Clients {
        Clients { fault: build(text), shared: std::sync::Arc::default(), at: 1_000 * SECOND }
    }

    /// An exchange of this tenant, as it has been decided about, and how long it waited.
    fn ask(&self, tenant: &str) -> (Driver<RateLimit>, Option<Ruling>, Time) {
        let fields = [("x-tenant", tenant)].into_iter().filter(|(_, tenant)| !tenant.is_empty()).collect();
        let mut driver = Driver::new(self.fault.clone(), Flow::Downstream);
        driver.shared = self.shared.clone();
        driver = driver.attached(self.at, 0).of(Request { fields, ..Request::default() }, Some(Response::default()));
        let (_, ruling) = driver.rule(Phase::BeforeUpstream);
        let waited = driver.now - self.at;
        (driver, ruling, waited)
    }

    fn passes(&self, tenant: &str) -> bool {
        matches!(self.ask(tenant).1, Some(Ruling::Pass))
    }

    /// The fields of an answer over the limit.
    fn refused(&self, tenant: &str) -> (u16, Fields) {
        let (driver, Some(Ruling::Answer { reply, upstream }), _) = self.ask(tenant) else { panic!("it passes") };
        assert_eq!((upstream, driver.injected[0].what), (Upstream::Never, What::Limited));
        (reply.head.status.as_u16(), reply.head.fields)
    }

    /// What the answer of one that passes is to say.
    fn told(&self, tenant: &str) -> Vec<(String, String)> {
        let (mut driver, Some(Ruling::Pass), _) = self.ask(tenant) else { panic!("it does not pass") };
        assert_eq!(driver.fault.follows(Phase::BeforeUpstream), Some(Phase::AfterUpstreamHead));
        let (_, Some(Ruling::Patch(patch))) = driver.rule(Phase::AfterUpstreamHead) else { panic!("it says nothing") };
        assert!(driver.injected.is_empty(), "what passes is not affected");
        patch.set
    }
}

fn pairs(set: &[(&str, &str)]) -> Vec<(String, String)> {
    set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_window_lets_so_many_by_and_begins_with_the_next_request() {
    let mut clients = Clients::new("limit = 3\nwindow = '10s'\nstyle = 'x_ratelimit'");
    let told = |left: &str, reset: &str| {
        pairs(&[("x-ratelimit-limit", "3"), ("x-ratelimit-remaining", left), ("x-ratelimit-reset", reset)])
    };
    assert_eq!(clients.told(""), told("2", "10"));
    clients.at += 4 * SECOND + 1;
    assert_eq!(clients.told(""), told("1", "6"), "rounded up");
    assert_eq!(clients.told(""), told("0", "6"));
    let (status, fields) = clients.refused("");
    assert_eq!((status, fields.text("retry-after"), fields.text("x-ratelimit-remaining")), (429, Some("6"), Some("0")));
    clients.at += 6 * SECOND - 2;
    assert!(!clients.passes(""), "one nanosecond too soon");
    clients.at += 1;
    assert_eq!(clients.told(""), told("2", "10"));
}

#[test]
fn a_bucket_of_tokens_is_exact_over_any_time() {
    let mut clients = Clients::new("algorithm = 'token_bucket'\nlimit = 3\nwindow = '1s'\nburst = 5\nstyle = 'draft'");
    let passed = |clients: &Clients, n: usize| (0..n).filter(|_| clients.passes("")).count();
    assert_eq!(passed(&clients, 20), 5);
    assert_eq!(clients.refused("").1.text("retry-after"), Some("1"));
    clients.at += SECOND / 3; // rounded down: the token comes a third of a nanosecond later
    assert_eq!(passed(&clients, 20), 0);
    clients.at += 1;
    assert_eq!(passed(&clients, 20), 1);
    let began = clients.at;
    let total: usize = (0..3_000)
        .map(|_| {
            clients.at += 7 * MILLI;
            passed(&clients, 3)
        })
        .sum();
    let seconds = (clients.at - began) / SECOND;
    assert_eq!(total as u64, seconds * 3, "no fraction of a token is lost");
    clients.at += 3_600 * SECOND;
    assert_eq!(
        clients.told(""),
        pairs(&[("ratelimit-policy", "\"default\";q=3;w=1"), ("ratelimit", "\"default\";r=4;t=1")])
    );
}

#[test]
fn a_leaky_bucket_lets_them_by_evenly_and_some_wait() {
    let mut clients = Clients::new("algorithm = 'leaky_bucket'\nlimit = 10\nburst = 2");
    let waits: Vec<_> = (0..3).map(|_| clients.ask("").2 / MILLI).collect();
    assert_eq!(waits, [0, 100, 200]);
    assert!(!clients.passes(""), "two wait already");
    clients.at += 100 * MILLI;
    let (driver, ruling, waited) = clients.ask("");
    assert!(matches!(ruling, Some(Ruling::Pass)) && waited == 200 * MILLI);
    let queued: Vec<_> = driver.injected.iter().map(|i| (i.what, i.scheduled, i.achieved)).collect();
    assert_eq!(queued, [(What::Queued, 200 * MILLI, 200 * MILLI)]);
}

#[test]
fn only_so_many_at_one_moment_and_a_place_comes_back_with_its_exchange() {
    let clients = Clients::new("algorithm = 'concurrency'\nlimit = 2");
    let (first, second) = (clients.ask(""), clients.ask(""));
    assert!(matches!((&first.1, &second.1), (Some(Ruling::Pass), Some(Ruling::Pass))));
    assert_eq!(clients.refused("").0, 429);
    drop(first);
    assert!(clients.passes("") && clients.passes(""), "each is over at once");
    drop(second);
}

#[test]
fn every_key_has_its_limit_and_only_so_many_are_remembered() {
    let clients = Clients::new("limit = 1\nwindow = '1h'\nper = 'header:x-tenant'");
    for tenant in ["a", "b", ""] {
        assert!(clients.passes(tenant) && !clients.passes(tenant), "{tenant}");
    }
    for n in 0..KEYS + 5 {
        assert!(clients.passes(&n.to_string()));
    }
    assert_eq!(clients.shared.len(), KEYS);
    assert_eq!(RateLimit::forgotten(&clients.shared), 3 + 5, "the three before them too");
    assert!(clients.passes("a"), "it was forgotten");
    assert!(!clients.passes(&(KEYS + 4).to_string()), "the latest was not");
}

#[test]
fn the_answer_is_configurable_and_what_does_not_fit_is_named() {
    let text = "limit = 1\nhttp_status = 403\nstyle = 'none'\nbody = '{{path}}'\nheaders = { 'Retry-After' = '9' }";
    let clients = Clients::new(text);
    assert!(clients.passes(""));
    let (status, fields) = clients.refused("");
    assert_eq!((status, fields.text("retry-after"), fields.len()), (403, Some("9"), 1));
    assert_eq!(build(text).follows(Phase::BeforeUpstream), None);
    let refused = |text: &str| RateLimit::build(toml::from_str(text).unwrap()).unwrap_err().field;
    for (text, field) in [
        ("limit = 0", "limit"),
        ("limit = 1\nwindow = '0s'", "window"),
        ("limit = 1\nalgorithm = 'concurrency'\nwindow = '1s'", "window"),
        ("limit = 1\nburst = 3", "burst"),
        ("limit = 1\nalgorithm = 'token_bucket'\nburst = 0", "burst"),
        ("limit = 1\nper = 'ordinal'", "per"),
        ("limit = 1\nhttp_status = 101", "http_status"),
    ] {
        assert_eq!(refused(text), Some(field), "{text}");
    }
}
