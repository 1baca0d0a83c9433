//! `[[probe]]`: what is read, and every mistake.

use super::*;
use crate::scenario::{ProbeCheck, ProbeSpec, Secret};

/// A scenario with one fault of a minute's second and this in its probe.
fn with(probe: &str) -> String {
    around(&format!(
        "[[fault]]\nkind = \"reset\"\nproxy = \"redis\"\nat = \"1s\"\nfor = \"1s\"\n[[probe]]\nname = \"p\"\n{probe}"
    ))
}

fn read(probe: &str) -> ProbeSpec {
    let mut outcome = check_all(&[source(&with(probe))], &Options::default());
    assert!(outcome.diagnostics.is_empty(), "{probe}\n{:?}", outcome.diagnostics);
    outcome.scenarios.remove(0).probes.remove(0)
}

/// What is in a probe, and what must be told about it.
const WRONG: &[(&str, &str)] = &[
    ("", "a probe needs one of `http`, `tcp`, `exec`, `redis`, `postgres`, `prometheus`, `alertmanager`"),
    ("tcp = { address = \"a:1\" }\nredis = { address = \"a:1\" }", "a probe needs one of"),
    ("tcp = { address = \"a:1\" }\nfailures = 0", "between 1 and 1000 failures"),
    ("tcp = { address = \"a:1\" }\ntolerance = \"5%\"\nmode = \"edge\"", "a share needs many checks"),
    ("tcp = { address = \"a:1\" }\ntolerance = 100", "tells nothing"),
    ("tcp = { address = \"a:1\" }\nmode = \"startt\"", "did you mean `start`?"),
    ("tcp = { address = \"a:1\", sent = \"x\" }", "did you mean `send`?"),
    ("http = { url = \"https://a\" }", "TLS is not available to probes"),
    ("http = { url = \"http://user:secret@a\" }", "no user or password"),
    ("http = { url = \"http://a\", method = \"GE T\" }", "not an HTTP method"),
    ("http = { url = \"http://a\", headers = { \"x y\" = \"1\" } }", "not an HTTP header"),
    ("http = { url = \"http://a\", headers = { host = \"b\" } }", "writes this header itself"),
    ("http = { url = \"http://a\", within = \"6s\" }", "no longer than `timeout`"),
    (
        "http = { url = \"http://a\", token_env = \"SQUALL_T\", headers = { authorization = \"b\" } }",
        "writes the header Authorization",
    ),
    ("http = { url = \"http://a\", token_env = \"AWS_SECRET\" }", "begins with `SQUALL_`"),
    ("exec = { command = [\"/bin/true\"] }", "write `allow_exec = [\"/bin/true\"]` under [safety]"),
    ("exec = { command = [\"true\"] }", "absolute path"),
    ("exec = { command = [] }", "absolute path"),
    ("exec = { command = \"/bin/true\" }", "expected a sequence"),
    ("redis = { address = \"a\" }", "is not an address"),
    ("redis = { address = \"a:1\", command = [] }", "at least one word"),
    ("redis = { address = \"a:1\", user = \"x\" }", "goes with `password_env`"),
    ("redis = { address = \"a:1\", password_env = \"SQUALL_\" }", "not an environment variable"),
    ("postgres = { query = \"select 1\" }", "either `address` or `url`"),
    ("postgres = { address = \"a:1\", url = \"postgres://a\" }", "either `address` or `url`"),
    ("postgres = { url = \"postgres://u:secret@a/b\" }", "use `password_env`"),
    ("postgres = { url = \"postgres://a/b?sslmode=require\" }", "TLS to a database is not available"),
    ("postgres = { url = \"mysql://a\" }", "a URL such as postgres://"),
    ("postgres = { url = \"postgres://u@a\", user = \"v\" }", "names the user already"),
    ("prometheus = { url = \"http://a\", query = \"up\" }", "needs `above` or `below`"),
    ("prometheus = { url = \"http://a\", query = \" \", above = 1 }", "a query is expected"),
    ("prometheus = { url = \"http://a\", query = \"up\", above = 2, below = 1 }", "nothing is both"),
    ("alertmanager = { url = \"http://a\", alert = \"\" }", "the name of an alert"),
    ("alertmanager = { url = \"http://a\", alert = \"A\", within = \"7s\" }", "can not be awaited so long"),
    ("alertmanager = { url = \"http://a\", alert = \"A\" }\nmode = \"start\"", "an alert has its own time"),
];

#[test]
fn a_wrong_probe_is_told() {
    for (probe, expected) in WRONG {
        let text = told(&with(probe));
        assert!(text.contains(expected), "{probe}\n-> {text}");
        assert_eq!(text.lines().count(), 1, "one mistake, one message: {probe}\n-> {text}");
    }
}

#[test]
fn a_program_is_allowed_by_the_configuration_among_the_files_or_of_the_host() {
    let scenario = with("exec = { command = [\"/bin/test\", \"-e\", \"/x\"], status = 1 }");
    let config =
        Arc::new(Source { name: "squall.toml".into(), text: "[safety]\nallow_exec = [\"/bin/test\"]\n".into() });
    assert!(!check_all(&[source(&scenario), config], &Options::default()).has_errors());
    let safety = Safety { allow_exec: vec!["/bin/test".into()], ..Safety::default() };
    let here = Options { safety: Some(safety), ..Options::default() };
    assert!(!check_all(&[source(&scenario)], &here).has_errors());
    let other = Safety { allow_exec: vec!["/bin/test2".into()], ..Safety::default() };
    assert!(check_all(&[source(&scenario)], &Options { safety: Some(other), ..Options::default() }).has_errors());
}

#[test]
fn what_is_left_out_has_its_default() {
    let redis =
        read("redis = { address = \"a:1\", password_env = \"SQUALL_REDIS\" }\nfailures = 3\ntolerance = \"5%\"");
    assert_eq!((redis.failures, redis.tolerance, redis.timeout), (3, 0.05, 5_000_000_000));
    let expected = ProbeCheck::Redis {
        address: "a:1".into(),
        command: vec!["PING".into()],
        expect: None,
        user: None,
        password: Some(Secret("SQUALL_REDIS".into())),
    };
    assert_eq!(*redis.check, expected);
    let fast = read("http = { url = \"http://a/b\", within = \"800ms\" }");
    assert_eq!(fast.timeout, 800_000_000, "`within` is the time that it may take");
}

#[test]
fn a_database_is_named_by_address_or_url() {
    let of = |probe: &str| match &*read(probe).check {
        ProbeCheck::Postgres { address, user, database, query, .. } => {
            [address, user, database, query].map(Clone::clone).join(" ")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(of("postgres = { address = \"db:1\" }"), "db:1 postgres postgres select 1");
    assert_eq!(of("postgres = { address = \"db:1\", user = \"u\" }"), "db:1 u u select 1");
    assert_eq!(of("postgres = { url = \"postgres://u@db/shop\" }"), "db:5432 u shop select 1");
    assert_eq!(of("postgres = { url = \"postgresql://[::1]:7\", database = \"d\" }"), "[::1]:7 postgres d select 1");
}
