//! Clients of the usual kind before services that fail: what they notice, what they do not, and how often they try.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use super::stand_ins::models;
use super::{Library, any_service};
use crate::support::api::header;
use crate::support::python;
use crate::support::wait::PATIENCE;

/// A Python with the clients; what it has imported it keeps.
pub(super) struct Clients {
    child: Child,
    to: ChildStdin,
    said: Receiver<Value>,
}

impl Clients {
    pub(super) fn start() -> Clients {
        let mut command = python::script_in("library", "sdk.py");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env_remove("HTTP_PROXY").env_remove("http_proxy");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (say, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _gone = say.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Clients { child, to, said }
    }

    /// Has one do something with whoever listens there.
    #[track_caller]
    fn have(&mut self, client: &str, library: &Library, what: Value) -> Value {
        let mut what = what;
        what["client"] = client.into();
        what["base"] = format!("http://{}", library.address()).into();
        writeln!(self.to, "{what}").unwrap();
        self.said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{client} says nothing to {what}"))
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _code = self.child.wait();
    }
}

/// Whether an error is of this class, or of one derived from it.
pub(super) fn is(result: &Value, class: &str) -> bool {
    result["error"].as_array().is_some_and(|names| names.iter().any(|name| name == class))
}

impl Clients {
    /// Plays a scenario on every call while a client does something; what it told, and how many calls it made.
    #[track_caller]
    pub(super) fn under(
        &mut self,
        library: &Library,
        scenario: &str,
        set: &[(&str, &str)],
        what: Value,
    ) -> (Value, u64) {
        let played = library.play(scenario, &[set, &[("rate", "100%")]].concat());
        let client = what["client"].as_str().unwrap().to_owned();
        let seen = self.have(&client, library, what);
        let calls = played.hits();
        played.stop();
        (seen, calls)
    }
}

fn model(client: &str, how: &Value) -> Value {
    let mut what = json!({ "client": client, "do": "stream", "retries": 0, "timeout": 20 });
    how.as_object().unwrap().iter().for_each(|(name, value)| what[name] = value.clone());
    what
}

/// The rows of what openai-python was measured to do with a stream, through squall.
#[test]
fn openai_takes_a_stream_that_ends_early_for_a_whole_one() {
    let (library, mut clients) = (Library::before(models()), Clients::start());
    let mut stream = |scenario: &str, set: &[(&str, &str)], how: Value| {
        let (seen, calls) = clients.under(&library, scenario, set, model("openai", &how));
        assert_eq!(calls, 1, "{scenario}");
        seen
    };
    let (none, nothing) = (json!({}), &Value::Null);
    for scenario in ["openai/stream-ends-early", "openai/stream-cut-in-frame"] {
        let half = stream(scenario, &[], none.clone());
        assert!(half["text"] == "The answer " && half["finish"].is_null() && half["error"].is_null(), "{half}");
    }
    let html = stream("openai/html-in-a-200", &[], none.clone());
    assert_eq!((&html["events"], &html["error"]), (&json!(0), nothing), "{html}");
    let loud = stream("openai/no-terminator", &[], none.clone());
    assert!(is(&loud, "APIConnectionError") && loud["text"] == "The answer ", "{loud}");
    let error = stream("openai/error-in-stream", &[], none);
    assert!(is(&error, "APIError") && error["text"] == "The answer ", "{error}");
    let silent = stream("openai/stall", &[], json!({ "timeout": 1 }));
    assert!(is(&silent, "APITimeoutError"), "{silent}");
    let alive = stream("openai/stall-with-keepalives", &[("every", "100ms")], json!({ "timeout": 1, "deadline": 2.5 }));
    assert_eq!(alive, json!({ "waits": true }), "a limit on silence never fires");
    let call = stream("openai/malformed-tool-call", &[], json!({ "tool": true }));
    assert_eq!((&call["finish"], &call["error"]), (&json!("tool_calls"), nothing), "{call}");
    assert_eq!(call["arguments"], r#"ount": 100, "to": "bob"}"#);
    let patience = clients.have("openai_patience", &library, json!({}));
    assert_eq!(patience["seconds"], 600.0, "what a silent stream costs by default");
}

#[test]
fn anthropic_takes_a_message_without_its_end_for_one() {
    let (library, mut clients) = (Library::before(models()), Clients::start());
    let mut stream = |scenario: &str, set: &[(&str, &str)], how: Value| {
        let (seen, calls) = clients.under(&library, scenario, set, model("anthropic", &how));
        assert_eq!(calls, 1, "{scenario}");
        seen
    };
    let early = stream("anthropic/stream-ends-early", &[], json!({}));
    assert!(early["text"] == "The " && early["finish"].is_null() && early["error"].is_null(), "{early}");
    let loud = stream("openai/no-terminator", &[("after", "4")], json!({}));
    assert!(is(&loud, "RemoteProtocolError") && !is(&loud, "AnthropicError"), "a raw error of the transport: {loud}");
    let error = stream("anthropic/error-in-stream", &[], json!({}));
    assert!(is(&error, "APIStatusError") && error["status"] == 200 && error["text"] == "The ", "{error}");
    let alive = stream("anthropic/ping-only", &[("every", "100ms")], json!({ "timeout": 1, "deadline": 2.5 }));
    assert_eq!(alive, json!({ "waits": true }), "a limit on silence never fires");
    let call = stream("anthropic/malformed-tool-call", &[], json!({ "tool": true }));
    assert!(is(&call, "ValueError") && call["input"].is_null(), "{call}");
}

#[test]
fn models_that_refuse_are_asked_again_as_often_as_their_sdks_see_fit() {
    let (library, mut clients) = (Library::before(models()), Clients::start());
    let mut call = |client: &str, scenario: &str, set: &[(&str, &str)], how: Value| {
        let mut what = json!({ "client": client, "do": "call" });
        how.as_object().unwrap().iter().for_each(|(name, value)| what[name] = value.clone());
        let (seen, calls) = clients.under(&library, scenario, set, what);
        (seen["status"].clone(), calls, seen)
    };
    let (status, calls, seen) = call("openai", "openai/retry-after", &[], json!({ "retries": 1 }));
    assert_eq!((status, calls), (json!(429), 2), "{seen}");
    assert!(seen["took"].as_f64().unwrap() >= 1.0, "it waits as it was told: {seen}");
    let (.., seen) = call("openai", "openai/retry-after", &[("retry_after", "120")], json!({ "deadline": 1 }));
    assert_eq!(seen, json!({ "waits": true }), "for two minutes");
    let (status, calls, seen) = call("openai", "openai/retry-after", &[("retry_after", "121")], json!({}));
    assert_eq!((status, calls), (json!(429), 1), "a second more, and it gives up at once: {seen}");
    let (status, calls, seen) = call("openai", "openai/insufficient-quota", &[], json!({}));
    assert_eq!((status, calls), (json!(429), 3), "twice in vain: {seen}");
    let (status, calls, seen) = call("openai", "openai/tokens-per-minute", &[], json!({ "retries": 1 }));
    assert!(status == 429 && calls == 2 && is(&seen, "RateLimitError"), "{seen}");
    let (status, calls, seen) = call("openai", "openai/overloaded", &[], json!({ "retries": 1 }));
    assert!(status == 503 && calls == 2 && is(&seen, "InternalServerError"), "{seen}");

    let (status, calls, seen) = call("anthropic", "anthropic/overloaded", &[], json!({ "retries": 1 }));
    assert_eq!((status, calls), (json!(529), 2), "{seen}");
    let (status, calls, seen) = call("anthropic", "anthropic/rate-limit", &[], json!({ "retries": 1 }));
    assert!(status == 429 && calls == 2 && seen["took"].as_f64().unwrap() >= 1.0, "{seen}");
    let (status, calls, seen) = call("anthropic", "anthropic/request-too-large", &[], json!({}));
    assert_eq!((status, calls), (json!(413), 1), "{seen}");
}

#[test]
fn stripe_is_asked_again_when_it_says_so_and_with_the_same_key() {
    let (library, mut clients) = (Library::before(any_service()), Clients::start());
    let mut charge = |scenario: &str, set: &[(&str, &str)]| {
        let (seen, calls) = clients.under(&library, scenario, set, json!({ "client": "stripe", "retries": 1 }));
        (seen, calls, library.api.news())
    };
    for (scenario, set, class, expected) in [
        ("stripe/rate-limit", &[][..], "RateLimitError", 1), // never, unless it is told to
        ("stripe/should-retry", &[], "RateLimitError", 2),
        ("stripe/should-retry", &[("status", "500"), ("should_retry", "false")], "APIError", 1),
        ("stripe/lock-timeout", &[], "RateLimitError", 2),
        ("stripe/card-declined", &[], "CardError", 1),
        ("stripe/idempotency-conflict", &[], "StripeError", 2),
    ] {
        let (seen, calls, heard) = charge(scenario, set);
        assert!(is(&seen, class) && calls == expected && heard.is_empty(), "{scenario} {set:?}: {calls} {seen}");
    }
    for (scenario, class) in [("stripe/error-after-charging", "APIError"), ("stripe/answer-lost", "APIConnectionError")]
    {
        let (seen, calls, heard) = charge(scenario, &[]);
        assert!(is(&seen, class) && calls == 2, "{scenario}: {calls} {seen}");
        let keys: Vec<_> = heard.iter().map(|asked| header(&asked.headers, "idempotency-key")).collect();
        assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{scenario} charged under {keys:?}");
    }
}

#[test]
fn boto3_knows_a_throttle_by_its_body() {
    let (library, mut clients) = (Library::before(any_service()), Clients::start());
    let mut call = |scenario: &str, service: &str, call: &str, with: Value, attempts: Option<u32>| {
        let retries = attempts.map(|most| json!({ "total_max_attempts": most }));
        let what =
            json!({ "client": "aws", "service": service, "call": call, "with": with, "retries_config": retries });
        let (seen, calls) = clients.under(&library, scenario, &[], what);
        (seen["message"].as_str().unwrap_or_default().to_owned(), calls, seen["took"].as_f64().unwrap_or(0.0))
    };
    let item = json!({ "TableName": "t", "Key": { "k": { "S": "1" } } });
    let (why, calls, throttled) = call("aws/dynamodb-throughput-exceeded", "dynamodb", "get_item", item.clone(), None);
    assert!(why.contains("(ProvisionedThroughputExceededException)") && calls == 4, "{calls} {why}");
    let (why, calls, generic) = call("http/reduced-capacity", "dynamodb", "get_item", item.clone(), None);
    assert!(why.contains("(503)") && calls == 4, "{calls} {why}");
    // its pauses are random: up to 7 s for the one, up to 0.35 s for the other
    assert!(throttled > generic, "{throttled} s against a throttle, {generic} s against a 503");

    let get = json!({ "Bucket": "b", "Key": "k" });
    let put = json!({ "Bucket": "b", "Key": "k", "Body": "x" });
    let copy = json!({ "Bucket": "b", "Key": "k", "CopySource": "b/a" });
    let queue = json!({ "QueueUrl": "http://queue/1/q", "MessageBody": "x" });
    for (scenario, service, name, with, code) in [
        ("aws/dynamodb-throttling", "dynamodb", "get_item", item.clone(), "ThrottlingException"),
        ("aws/dynamodb-request-limit", "dynamodb", "get_item", item.clone(), "RequestLimitExceeded"),
        ("aws/s3-slow-down", "s3", "get_object", get, "SlowDown"),
        ("aws/s3-copy-error-in-a-200", "s3", "copy_object", copy, "SlowDown"),
        ("aws/s3-request-timeout", "s3", "put_object", put, "RequestTimeout"),
        ("aws/sqs-throttled", "sqs", "send_message", queue, "RequestThrottled"),
        ("aws/route53-throttling", "route53", "list_hosted_zones", json!({}), "Throttling"),
        ("aws/ec2-request-limit", "ec2", "describe_instances", json!({}), "RequestLimitExceeded"),
    ] {
        let (why, calls, _) = call(scenario, service, name, with, Some(2));
        assert!(why.contains(&format!("({code})")) && calls == 2, "{scenario}: {calls} {why}");
    }
    assert_eq!(library.api.news().len(), 0);
}
