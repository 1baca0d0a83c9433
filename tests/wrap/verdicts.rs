//! What a run says at its end.

use serde_json::Value;

use super::wrapped::{Wrap, saying};
use crate::support::api::{Api, Says};

const HOST: &str = "api.stripe.com";

/// A client that tries again, as the scripts of this file call it.
const RETRYING: &str = "
import sys, time, urllib.request, urllib.error
def get(url, tries, pause):
    for n in range(tries):
        try:
            return urllib.request.urlopen(url).read()
        except urllib.error.HTTPError as error:
            wait = error.headers.get('retry-after')
            if n + 1 == tries: raise
            time.sleep(float(wait) if wait and pause is None else pause or 0)
";

fn script(call: &str) -> String {
    format!("{RETRYING}\n{call}")
}

fn report(wrap: &Wrap) -> Value {
    serde_json::from_slice(&std::fs::read(wrap.room.path("report/wrap.json")).unwrap()).unwrap()
}

fn reporting(api: &Api) -> Wrap {
    let wrap = Wrap::of(HOST, api);
    let directory = wrap.room.path("report").display().to_string();
    wrap.with(&["--report", &directory])
}

#[test]
fn the_first_run_says_what_was_called_and_what_comes_next() {
    let api = saying("{}");
    let wrap = Wrap::of(HOST, &api);
    let mut call = vec!["curl", "-s", "-H", "Authorization: Bearer canary-secret", "-o", "/dev/null"];
    call.extend(["https://api.stripe.com/v1/charges/ch_3MmlLrLkdIwHu7ix0snN0B15?key=canary-secret"]);
    let ended = wrap.run(&call).exits(0);
    ended_says(&ended.err, &["nothing is injected", HOST, "1 × 200", "GET /v1/charges/*"]);
    let next = ended.err.lines().find(|line| line.starts_with("next: ")).unwrap();
    assert!(next.contains(&format!("squall wrap --map {HOST}={} --with stripe/", api.address)), "{next}");
    assert!(next.contains("-- curl -s -H '…' -o /dev/null"), "{next}");
    assert!(!ended.err.contains("canary-secret"), "{}", ended.err);
}

fn ended_says(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "no {word:?} in {text}"));
}

#[test]
fn retries_are_counted_and_held_against_expectations() {
    let api = saying("{}");
    let wrap = reporting(&api).with(&["--error", "503", "--first", "2", "--expect", "amplification<=3"]);
    let call = script("get('https://api.stripe.com/v1/x', 4, 0.2)");
    let ended = wrap.run(&["python3", "-c", &call]).exits(0);
    ended_says(&ended.err, &["amplification<=3 met"]);
    let host = &report(&wrap)["hosts"][0];
    assert_eq!((&host["calls"], &host["faults"], &host["operations"]), (&3.into(), &2.into(), &1.into()));
    assert_eq!((&host["retried"], &host["recovered"], &host["unknown"]), (&1.into(), &1.into(), &0.into()));
    assert_eq!(host["amplification"], 3.0);
    assert!(host["back_off"]["min_ms"].as_f64().unwrap() >= 200.0, "{host}");
    let tight = reporting(&api).with(&["--error", "503", "--first", "2", "--expect", "amplification<=2"]);
    tight.run(&["python3", "-c", &call]).exits(70).says("amplification<=2 missed");
    let junit = std::fs::read_to_string(tight.room.path("report/junit.xml")).unwrap();
    assert!(junit.contains("failures=\"1\""), "{junit}");
    assert!(
        std::fs::read_to_string(tight.room.path("report/wrap.md"))
            .unwrap()
            .contains("| amplification&lt;=2 | missed |")
    );
}

#[test]
fn what_gives_up_surfaces_by_its_exit_code_or_is_unknown() {
    let api = saying("{}");
    let surfaced = reporting(&api).with(&["--error", "500"]);
    surfaced.run(&["python3", "-c", &script("get('https://api.stripe.com/v1/x', 2, 0)")]).exits(1);
    let host = &report(&surfaced)["hosts"][0];
    assert_eq!((&host["surfaced"], &host["unknown"], &host["attempts"]), (&1.into(), &0.into(), &2.into()));
    let unknown = reporting(&api).with(&["--error", "500"]);
    unknown.run(&["curl", "-s", "https://api.stripe.com/v1/x"]).exits(0);
    let host = &report(&unknown)["hosts"][0];
    assert_eq!((&host["surfaced"], &host["unknown"], &host["swallowed"]), (&0.into(), &1.into(), &0.into()));
}

#[test]
fn retry_after_is_honoured_or_not() {
    let api = saying("{}");
    let fault = "error http_status=429 headers.retry-after=\"1\"";
    let options = ["--fault", fault, "--first", "1", "--expect", "retry-after-honoured"];
    let patient = reporting(&api).with(&options);
    patient.run(&["python3", "-c", &script("get('https://api.stripe.com/v1/x', 2, None)")]).exits(0);
    assert_eq!(report(&patient)["hosts"][0]["retry_after"], serde_json::json!({ "honoured": 1, "of": 1 }));
    let hasty = reporting(&api).with(&options);
    hasty.run(&["python3", "-c", &script("get('https://api.stripe.com/v1/x', 2, 0.05)")]).exits(70);
    assert_eq!(report(&hasty)["hosts"][0]["retry_after"], serde_json::json!({ "honoured": 0, "of": 1 }));
}

#[test]
fn a_stream_that_ends_too_early_and_exit_code_0_is_swallowed() {
    let events: String = (0..5).map(|n| format!("data: {{\"n\":{n}}}\n\n")).collect();
    let events = format!("{events}data: [DONE]\n\n");
    let api = Api::answering(move |_| Says::Whole(200, "text/event-stream".into(), events.clone().into_bytes()));
    let options = ["--fault", "sse how=truncate after=2", "--expect", "no-silent-truncation"];
    let wrap = reporting(&api).with(&options);
    let ended = wrap.run(&["curl", "-sS", "https://api.stripe.com/v1/stream"]).exits(70);
    assert!(ended.out.contains("\"n\":1") && !ended.out.contains("[DONE]"), "{ended:?}");
    let host = &report(&wrap)["hosts"][0];
    assert_eq!((&host["truncated"], &host["swallowed"]), (&1.into(), &1.into()));
    // a client that looks for the end says so by its exit code
    let wary = reporting(&api).with(&options);
    let script = "curl -sS https://api.stripe.com/v1/stream | grep -q DONE";
    wary.run(&["sh", "-c", script]).exits(1);
    assert_eq!(report(&wary)["hosts"][0]["surfaced"], 1);
}

#[test]
fn an_expectation_about_nothing_is_undecided() {
    let api = saying("{}");
    let wrap = Wrap::of(HOST, &api).with(&["--expect", "no-silent-truncation"]);
    wrap.run(&["curl", "-s", "https://api.stripe.com/"]).exits(71).says("undecided");
}

#[test]
fn a_reset_is_a_cut_that_a_fault_made() {
    let api = saying("{}");
    let wrap = reporting(&api).with(&["--fault", "reset"]);
    wrap.run(&["curl", "-s", "https://api.stripe.com/v1/x"]);
    let verdict = report(&wrap);
    let host = &verdict["hosts"][0];
    assert_eq!((&host["faults"], &host["surfaced"]), (&1.into(), &1.into()), "{verdict}");
}

#[test]
fn no_secret_is_in_any_output() {
    let canary = "canary-4242-canary";
    let api = Api::answering(move |_| Says::Whole(500, "text/plain".into(), canary.into()));
    let wrap = reporting(&api).with(&["--error", "503", "--first", "1"]).set("SERVICE_TOKEN", canary);
    let url = format!("https://ann:{canary}@api.stripe.com/v1/{canary}?token={canary}");
    let header = format!("X-Api-Key: {canary}");
    let call = ["curl", "-s", "-o", "/dev/null", "-H", &header, "-b", canary, "--data", canary, &url];
    let ended = wrap.run(&call);
    assert!(!ended.err.contains(canary) && !ended.out.contains(canary), "{ended:?}");
    for file in ["wrap.json", "wrap.md", "junit.xml"] {
        let text = std::fs::read_to_string(wrap.room.path("report").join(file)).unwrap();
        assert!(!text.contains(canary), "{file}: {text}");
    }
    let looked = Wrap::of(HOST, &api).set("SERVICE_TOKEN", canary).run(&call);
    assert!(!looked.err.contains(canary), "{looked:?}");
}

#[test]
fn a_program_that_goes_past_it_is_seen() {
    let network = crate::support::namespace::Namespace::new();
    network.run("ip address add 203.0.113.5/32 dev lo");
    let wrap = Wrap::new();
    let script = "
import socket, threading, time
server = socket.create_server(('203.0.113.5', 443))
client = socket.create_connection(('203.0.113.5', 443))
time.sleep(2)
";
    let inner = wrap.command(&["python3", "-c", script]);
    let mut command = network.command(inner.get_program());
    command.args(inner.get_args()).current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ended = crate::support::Ended::of(&command.output().unwrap()).exits(0);
    assert!(ended.err.contains("went to 203.0.113.5:443 past squall"), "{ended:?}");
}
