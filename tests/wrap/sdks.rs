//! The SDKs of services under the scenarios that squall brings: what they make of a stream that ends too early, and how often
//! they try again. What is written here was measured on the SDKs, and holds for the versions in `tests/run`.

use serde_json::{Value, json};

use super::wrapped::Wrap;
use crate::support::api::{Api, Asked, Says};
use crate::support::python;

/// A stand-in for whichever service is asked: six words in a stream, or an empty list.
fn service() -> Api {
    Api::answering(|asked: &Asked| match asked.target.as_str() {
        target if target.ends_with("/chat/completions") => Says::Events(openai_events()),
        target if target.ends_with("/messages") => Says::Events(anthropic_events()),
        _ => Says::json(r#"{"object":"list","data":[],"TableNames":[]}"#),
    })
}

fn openai_events() -> Vec<String> {
    let chunk = |n: usize| {
        let choice = json!([{ "index": 0, "delta": { "content": format!("w{n}") }, "finish_reason": null }]);
        let chunk =
            json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choice });
        format!("data: {chunk}\n\n")
    };
    (0..6).map(chunk).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

fn anthropic_events() -> Vec<String> {
    let usage = json!({ "input_tokens": 1, "output_tokens": 1 });
    let message = json!({ "id": "m", "type": "message", "role": "assistant", "content": [], "model": "x",
                          "stop_reason": null, "stop_sequence": null, "usage": usage });
    let mut events = vec![
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
    ];
    events.extend((0..6).map(|n| {
        let delta = json!({ "type": "text_delta", "text": format!("w{n}") });
        json!({ "type": "content_block_delta", "index": 0, "delta": delta })
    }));
    events.extend([
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 6 } }),
        json!({ "type": "message_stop" }),
    ]);
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

/// What an SDK made of a call, and what squall says of it.
struct Made {
    by_sdk: Value,
    host: Value,
}

fn made(host: &str, options: &[&str], call: &str) -> Made {
    let api = service();
    let wrap = Wrap::of(host, &api);
    let report = wrap.room.path("report");
    let wrap = wrap.with(&["--report", report.to_str().unwrap()]).with(options);
    let python = python::script("client.py").get_program().to_owned();
    let script = format!("{}/tests/wrap/sdks.py", env!("CARGO_MANIFEST_DIR"));
    let ended = wrap.run(&[python.to_str().unwrap(), &script, call]);
    let line = ended.out.lines().find(|line| line.starts_with('{'));
    let by_sdk = serde_json::from_str(line.unwrap_or_else(|| panic!("{ended:#?}"))).unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(report.join("wrap.json")).unwrap()).unwrap();
    Made { by_sdk, host: report["hosts"][0].clone() }
}

fn under(scenario: &str, host: &str, call: &str) -> Made {
    made(host, &["--with", scenario, "--set", "rate=100%"], call)
}

const OPENAI: &str = "api.openai.com";

#[test]
fn openai_takes_a_stream_without_its_end_for_whole() {
    let plain = made(OPENAI, &[], "openai_stream");
    assert_eq!(plain.by_sdk["chunks"], 6, "{}", plain.by_sdk);
    for scenario in ["openai/stream-ends-early", "openai/stream-cut-in-frame"] {
        let Made { by_sdk, host } = under(scenario, OPENAI, "openai_stream");
        assert_eq!((&by_sdk["chunks"], &by_sdk["error"]), (&3.into(), &Value::Null), "{scenario}: {by_sdk}");
        assert_eq!((&host["truncated"], &host["swallowed"]), (&1.into(), &1.into()), "{scenario}: {host}");
    }
}

#[test]
fn openai_takes_a_page_in_a_200_for_an_empty_stream() {
    let Made { by_sdk, host } = under("openai/html-in-a-200", OPENAI, "openai_stream");
    assert_eq!((&by_sdk["chunks"], &by_sdk["error"]), (&0.into(), &Value::Null), "{by_sdk}");
    assert_eq!(host["unknown"], 1, "{host}");
}

#[test]
fn openai_tells_an_error_in_a_stream() {
    let Made { by_sdk, host } = under("openai/error-in-stream", OPENAI, "openai_stream");
    assert_eq!(by_sdk["error"], "APIError", "{by_sdk}");
    assert_eq!(host["surfaced"], 1, "{host}");
}

#[test]
fn openai_s_time_out_is_kept_from_firing_by_comments() {
    let silent = under("openai/stall", OPENAI, "openai_waits").by_sdk;
    assert_eq!(
        (&silent["waits"], &silent["ended"][0]["error"]),
        (&false.into(), &"APITimeoutError".into()),
        "{silent}"
    );
    let kept = under("openai/stall-with-keepalives", OPENAI, "openai_waits").by_sdk;
    assert_eq!(kept["waits"], true, "{kept}");
}

#[test]
fn openai_waits_as_it_is_asked_up_to_a_limit() {
    let asked = |seconds: &str| {
        let set = format!("retry_after={seconds}");
        made(OPENAI, &["--with", "openai/retry-after", "--set", "rate=100%", "--set", &set], "openai_call")
    };
    let short = asked("1");
    assert_eq!((&short.by_sdk["status"], &short.host["calls"]), (&429.into(), &3.into()), "{}", short.host);
    assert_eq!(short.host["retry_after"], json!({ "honoured": 2, "of": 2 }));
    let long = asked("130");
    assert_eq!((&long.by_sdk["status"], &long.host["calls"]), (&429.into(), &1.into()), "{}", long.host);
}

#[test]
fn openai_retries_where_no_money_is_left() {
    let Made { by_sdk, host } = under("openai/insufficient-quota", OPENAI, "openai_call");
    assert_eq!((&by_sdk["error"], &host["calls"]), (&"RateLimitError".into(), &3.into()), "{by_sdk} {host}");
}

#[test]
fn anthropic_returns_half_an_answer_without_a_stop_reason() {
    let host = "api.anthropic.com";
    let plain = made(host, &[], "anthropic_stream").by_sdk;
    assert_eq!((&plain["text"], &plain["stop_reason"]), (&"w0w1w2w3w4w5".into(), &"end_turn".into()));
    let Made { by_sdk, host } = under("anthropic/stream-ends-early", host, "anthropic_stream");
    assert_eq!((&by_sdk["text"], &by_sdk["stop_reason"]), (&"w0w1".into(), &Value::Null), "{by_sdk}");
    assert_eq!(host["swallowed"], 1, "{host}");
}

#[test]
fn anthropic_tells_an_error_in_a_stream_with_status_200() {
    let Made { by_sdk, .. } = under("anthropic/error-in-stream", "api.anthropic.com", "anthropic_stream");
    assert_eq!((&by_sdk["error"], &by_sdk["status"]), (&"APIStatusError".into(), &200.into()), "{by_sdk}");
}

#[test]
fn boto3_waits_longer_for_a_throttle_than_for_any_other_error() {
    let host = "dynamodb.us-east-1.amazonaws.com";
    let throttled = under("aws/dynamodb-throttling", host, "dynamodb");
    let other = made(host, &["--error", "503"], "dynamodb");
    assert_eq!((&throttled.by_sdk["error"], &throttled.host["calls"]), (&"ThrottlingException".into(), &4.into()));
    assert_eq!(other.host["calls"], 4, "{}", other.host);
    let longest = |made: &Made| made.host["back_off"]["max_ms"].as_f64().unwrap();
    assert!(longest(&throttled) > longest(&other), "{} {}", throttled.host, other.host);
}

#[test]
fn stripe_retries_a_rate_limit_only_where_it_is_told_to_and_is_reached_by_a_base_url() {
    let calls = |scenario: &str| {
        made("api.stripe.com", &["--reverse", "--with", scenario, "--set", "rate=100%"], "stripe").host["calls"].clone()
    };
    assert_eq!(calls("stripe/rate-limit"), 1);
    assert_eq!(calls("stripe/should-retry"), 3);
}
