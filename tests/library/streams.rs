//! Streams of language models that end, stall or lie, to the byte; and answers that end too early.

use std::time::{Duration, Instant};

use super::stand_ins::{anthropic_tool, anthropic_words, models, openai_tool, openai_words};
use super::{Library, SHORT, any_service};
use crate::support::api::{Answer, Api, Ended, Says, ask, ask_until, header};
use crate::support::wait::PATIENCE;

const OPENAI: &str = "POST /v1/chat/completions";
const ANTHROPIC: &str = "POST /v1/messages";

/// Plays a scenario on all streams and gives what one client saw.
#[track_caller]
fn seen(library: &Library, scenario: &str, set: &[(&str, &str)], asks: &str, patience: Duration) -> Answer {
    let played = library.play(scenario, &[set, &[("rate", "100%")]].concat());
    let answer = ask(library.address(), asks, &[], patience);
    assert_eq!((answer.status, played.hits()), (200, 1), "{scenario}");
    played.stop();
    answer
}

/// The stream that came, and how it ended.
#[track_caller]
fn stream(library: &Library, scenario: &str, set: &[(&str, &str)], asks: &str) -> (String, Ended) {
    let answer = seen(library, scenario, set, asks, PATIENCE);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{scenario}");
    (answer.text(), answer.ended)
}

#[test]
fn a_stream_without_faults_arrives_byte_for_byte() {
    let library = Library::before(models());
    for (asks, events) in [(OPENAI, openai_words()), (ANTHROPIC, anthropic_words())] {
        let answer = library.ask(asks);
        assert_eq!((answer.text(), answer.ended), (events.concat(), Ended::Whole));
    }
}

#[test]
fn streams_end_early_and_politely() {
    let library = Library::before(models());
    let (openai, anthropic) = (openai_words(), anthropic_words());
    let early = stream(&library, "openai/stream-ends-early", &[], OPENAI);
    assert_eq!(early, (openai[..3].concat(), Ended::Whole));
    let early = stream(&library, "openai/stream-ends-early", &[("after", "7")], OPENAI);
    assert_eq!(early, (openai[..7].concat(), Ended::Whole), "all but [DONE]");
    let early = stream(&library, "anthropic/stream-ends-early", &[], ANTHROPIC);
    assert_eq!(early, (anthropic[..4].concat(), Ended::Whole));
    let cut = stream(&library, "openai/stream-cut-in-frame", &[], OPENAI);
    assert_eq!(cut, (openai[..3].concat() + &openai[3][..40], Ended::Whole));
    let cut = stream(&library, "openai/no-terminator", &[], OPENAI);
    assert_eq!(cut, (openai[..3].concat(), Ended::Early));
}

#[test]
fn streams_break_off_with_an_error_of_the_service() {
    let library = Library::before(models());
    let broken = stream(&library, "openai/error-in-stream", &[], OPENAI);
    let error = "data: {\"error\":{\"message\":\"The server had an error while processing your request. Sorry about that!\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n";
    assert_eq!(broken, (openai_words()[..3].concat() + error, Ended::Whole));
    let broken = stream(&library, "anthropic/error-in-stream", &[], ANTHROPIC);
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    assert_eq!(broken, (anthropic_words()[..4].concat() + error, Ended::Whole));
}

#[test]
fn silent_streams_stay_silent() {
    let library = Library::before(models());
    let answer = seen(&library, "openai/stall", &[], OPENAI, SHORT);
    assert_eq!((answer.text(), answer.ended), (openai_words()[..3].concat(), Ended::Silent));
}

/// A client that waits for silence never finds any: each comment comes before its patience ends.
#[test]
fn streams_that_only_stay_alive_outlast_every_limit_on_silence() {
    let library = Library::before(models());
    for (scenario, asks, events, sent) in [
        ("openai/stall-with-keepalives", OPENAI, openai_words()[..3].concat(), ": keepalive\n\n"),
        (
            "anthropic/ping-only",
            ANTHROPIC,
            anthropic_words()[..4].concat(),
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        ),
    ] {
        let played = library.play(scenario, &[("rate", "100%"), ("every", "100ms")]);
        let expected = events + &sent.repeat(8);
        assert_eq!(ask_until(library.address(), asks, expected.len()), expected, "{scenario}");
        assert_eq!(played.hits(), 1);
        played.stop();
    }
}

#[test]
fn a_piece_of_a_tools_arguments_is_missing_and_each_event_is_well_formed() {
    let library = Library::before(Api::answering(|asked| match asked.target.as_str() {
        "/v1/messages" => Says::Events(anthropic_tool()),
        _ => Says::Events(openai_tool()),
    }));
    for (scenario, asks, events, member) in [
        ("openai/malformed-tool-call", OPENAI, openai_tool(), "arguments"),
        ("anthropic/malformed-tool-call", ANTHROPIC, anthropic_tool(), "partial_json"),
    ] {
        let piece = format!(r#""{member}":"{{\"am""#);
        let missing = events.concat().replacen(&piece, &format!(r#""{member}":"""#), 1);
        assert_ne!(missing, events.concat(), "{scenario}");
        let (sent, ended) = stream(&library, scenario, &[], asks);
        assert_eq!((sent.as_str(), ended), (missing.as_str(), Ended::Whole), "{scenario}");
        for data in sent.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]") {
            serde_json::from_str::<serde_json::Value>(data).unwrap_or_else(|error| panic!("{data}: {error}"));
        }
    }
}

#[test]
fn tokens_trickle() {
    let library = Library::before(models());
    let began = Instant::now();
    let (sent, ended) = stream(&library, "openai/slow-tokens", &[("tokens", "20")], OPENAI);
    let took = began.elapsed();
    assert_eq!((sent, ended), (openai_words().concat(), Ended::Whole));
    // eight events, 50 ms between them: never earlier
    assert!(took >= Duration::from_millis(350), "{took:?}");
}

#[test]
fn a_download_ends_in_the_middle() {
    let object = crate::support::pattern(200_000);
    let body = object.clone();
    let library =
        Library::before(Api::answering(move |_| Says::Whole(200, "binary/octet-stream".into(), body.clone())));
    let answer = seen(&library, "aws/s3-download-cut", &[], "GET /bucket/key", PATIENCE);
    assert_eq!((answer.body.len(), answer.ended), (64 << 10, Ended::Early));
    assert!(answer.body == object[..64 << 10] && answer.header("content-length") == Some("200000"));
    let pack = seen(&library, "github/git-cut", &[], "POST /a/b.git/git-upload-pack", PATIENCE);
    assert!(
        pack.body == object[..8 << 10] && pack.ended == Ended::Early,
        "{} bytes, {:?}",
        pack.body.len(),
        pack.ended
    );
}

#[test]
fn stripe_has_acted_and_nobody_hears_of_it() {
    let library = Library::before(any_service());
    let played = library.play("stripe/answer-lost", &[("rate", "100%")]);
    let answer = ask(library.address(), "POST /v1/charges", &[("idempotency-key", "key-7")], PATIENCE);
    assert_eq!((answer.status, answer.body.len()), (0, 0), "{answer:?}");
    assert_ne!(answer.ended, Ended::Silent);
    let made = library.api.news();
    assert_eq!((played.hits(), made.len()), (1, 1), "the charge was made");
    assert_eq!(header(&made[0].headers, "idempotency-key"), Some("key-7"));
    assert_eq!(library.ask("GET /v1/charges").status, 200, "what only reads is let by");
    played.stop();
}
