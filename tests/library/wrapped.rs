//! The library where it is meant to be used: under `squall wrap`, which opens the hosts by their own names.

use super::stand_ins::{models, openai_words};
use crate::support::api::Api;
use crate::support::{Ended, Room};

/// What curl prints, head and body, with a scenario on all calls of a host that is a stand-in's.
fn curl(api: &Api, host: &str, scenario: &str, words: &[&str], path: &str) -> String {
    let room = Room::new();
    let mut command = room.command(&["wrap", "--with", scenario, "--set", "rate=100%"]);
    command.arg("--state").arg(room.path("project")).args(["--map", &format!("{host}={}", api.address), "--"]);
    command.args(["curl", "--silent", "--show-error", "--include", "--http1.1", "--max-time", "20"]);
    command.arg("--suppress-connect-headers").args(words);
    command.arg(format!("https://{host}{path}"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "CURL_CA_BUNDLE"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    Ended::of(&command.output().unwrap()).exits(0).out
}

#[test]
fn hosts_fail_under_their_own_names() {
    let api = models();
    let body: &[&str] = &["--data", "{}"];
    for (host, scenario, words, path, status, says) in [
        ("api.stripe.com", "stripe/lock-timeout", body, "/v1/charges", " 429 ", r#""code":"lock_timeout""#),
        ("api.anthropic.com", "anthropic/overloaded", body, "/v1/messages", " 529", r#""type":"overloaded_error""#),
        ("s3.us-east-1.amazonaws.com", "aws/s3-slow-down", &[], "/bucket/key", " 503 ", "<Code>SlowDown</Code>"),
        (
            "example.myshopify.com",
            "shopify/graphql-throttled",
            body,
            "/admin/api/2026-10/graphql.json",
            " 200 ",
            "THROTTLED",
        ),
    ] {
        let said = curl(&api, host, scenario, words, path);
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let first = head.lines().next().unwrap();
        assert!(first.contains(status) && body.contains(says), "{scenario}: {said}");
        let mark = format!("x-squall-fault: {}/", scenario.replace('/', "-"));
        assert!(head.to_lowercase().contains(&mark), "{scenario}: {head}");
    }
    assert!(api.news().is_empty(), "no service has heard of it");
    let said = curl(&api, "api.openai.com", "openai/stream-ends-early", body, "/v1/chat/completions");
    assert_eq!(said.split_once("\r\n\r\n").unwrap().1, openai_words()[..3].concat());
}
