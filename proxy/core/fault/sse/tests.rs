#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::fault::driver::Driver;
use crate::fault::registry::Kind;
use crate::fault::{Flow, Phase};
use crate::http::Request;
use crate::time::MILLI;

const STREAM: &str = "data: {\"a\":1}\n\n: ping\n\ndata: {\"b\":2}\n\ndata: [DONE]\n\n";

fn answer(content_type: &str) -> Response {
    Response { fields: [("Content-Type", content_type)].into_iter().collect(), ..Response::default() }
}

fn driver(text: &str) -> Driver<Sse> {
    let fault = Sse::build(toml::from_str(text).unwrap()).unwrap();
    Driver::new(fault, Flow::Downstream).of(Request::default(), Some(answer("text/event-stream; charset=utf-8")))
}

/// What comes of the stream in reads of so many bytes, a millisecond apart.
fn driven(text: &str, read: usize) -> Driver<Sse> {
    let mut driver = driver(text);
    for (i, part) in STREAM.as_bytes().chunks(read).enumerate() {
        driver.at(i as Time * MILLI).push(part);
    }
    driver.at(SECOND).fin();
    driver.run_until(20 * SECOND);
    driver
}

fn out(driver: &Driver<Sse>) -> String {
    String::from_utf8(driver.out.iter().map(|(_, byte)| *byte).collect()).unwrap()
}

/// What comes of it is the same whatever the reads.
fn result(text: &str) -> (String, Option<End>, Vec<What>) {
    let of = |read| {
        let driver = driven(text, read);
        let what = driver.injected.iter().map(|i| i.what).collect();
        (out(&driver), driver.ended.map(|(_, end)| end), what)
    };
    let whole = of(1000);
    for read in [1, 2, 3, 7, 16, 17] {
        assert_eq!(of(read), whole, "{text} in reads of {read}");
    }
    whole
}

#[test]
fn a_stream_is_truncated_between_events_and_cut_inside_one() {
    let first = "data: {\"a\":1}\n\n";
    assert_eq!(result("how = 'truncate'\nafter = 1"), (first.into(), Some(End::Complete), vec![What::Truncated]));
    assert_eq!(result("how = 'truncate'"), (String::new(), Some(End::Complete), vec![What::Truncated]));
    let cut = "how = 'cut'\nafter = 1\nbytes = '9B'";
    assert_eq!(result(cut).1, Some(End::Fin));
    assert_eq!(result(cut).0, format!("{first}: ping\n\ndata: {{\"b"));
    let late = result("how = 'cut'\nafter = 1\nbytes = '1kB'\nend = 'complete'");
    assert_eq!(late, (format!("{first}: ping\n\ndata: {{\"b\":2}}\n"), Some(End::Complete), vec![What::Truncated]));
    assert_eq!(result("how = 'truncate'\nafter = 9").1, None, "it was shorter");
}

#[test]
fn the_nth_event_is_enough_nobody_has_to_send_more() {
    let mut driver = driver("how = 'truncate'\nafter = 1");
    driver.at(5).push(b"data: x\n\n");
    driver.run_until(SECOND);
    assert_eq!((out(&driver), driver.ended), ("data: x\n\n".into(), Some((5, End::Complete))));
}

#[test]
fn a_stalled_stream_is_kept_alive_by_comments() {
    let driver = driven("how = 'stall'\nafter = 1\nkeepalive = '5s'", 1000);
    assert_eq!((driver.ended.clone(), driver.closed_at), (None, None));
    let sent = out(&driver);
    assert_eq!(sent, format!("data: {{\"a\":1}}\n\n{}", ": keepalive\n\n".repeat(4)));
    let at: Vec<_> = driver.arrivals().into_iter().map(|(at, _)| at / SECOND).collect();
    assert_eq!(at, [0, 5, 10, 15, 20]);
    assert_eq!(driver.injected.iter().filter(|i| i.what == What::Stalled).count(), 1);
    let silent = result("how = 'stall'\nafter = 2");
    assert_eq!((silent.0.ends_with("{\"b\":2}\n\n"), silent.1, silent.2), (true, None, vec![What::Stalled]));
}

#[test]
fn an_error_event_stands_between_two_and_the_stream_ends_or_goes_on() {
    let (sent, end, what) = result("how = 'error'\nafter = 1\ntext = 'data: oops'");
    assert_eq!((sent.as_str(), end), ("data: {\"a\":1}\n\ndata: oops\n\n", Some(End::Complete)));
    assert_eq!(what, [What::Inserted]);
    let (sent, end, _) = result("how = 'error'\nafter = 2\ntext = \"data: oops\\n\\n\"\nend = 'never'");
    assert_eq!((sent, end), (STREAM.replace("data: [DONE]", "data: oops\n\ndata: [DONE]"), None));
}

#[test]
fn malformed_data_miss_their_last_byte_and_nothing_else() {
    let (sent, end, what) = result("how = 'malformed'\nafter = 1");
    assert_eq!((sent, end), (STREAM.replace("{\"b\":2}", "{\"b\":2"), None));
    assert_eq!(what, [What::Corrupted]);
}

#[test]
fn the_first_text_of_a_member_is_missing_and_every_event_can_be_read() {
    let text = r#"data: {"a":""}|data: {"a":"{\"x"}|data: {"a":"\":1}"}|data: [DONE]|"#.replace('|', "\n\n");
    let of = |words: &str, read: usize| {
        let mut driver = driver(words);
        for (i, part) in text.as_bytes().chunks(read).enumerate() {
            driver.at(i as Time * MILLI).push(part);
        }
        driver.at(SECOND).fin();
        driver.run_until(2 * SECOND);
        (out(&driver), driver.ended.clone(), driver.injected.iter().map(|i| (i.what, i.achieved)).collect::<Vec<_>>())
    };
    for read in [1, 2, 3, 7, 20, 1000] {
        let missing = text.replace(r#"{\"x"#, "");
        assert_eq!(of("how = 'omit'\nmember = 'a'", read), (missing, None, vec![(What::Corrupted, 28)]));
        let later = text.replace(r#"\":1}"#, "");
        assert_eq!(of("how = 'omit'\nmember = 'a'\nafter = 2", read).0, later);
        assert_eq!(of("how = 'omit'\nmember = 'b'", read), (text.clone(), None, vec![]));
    }
}

#[test]
fn a_stalled_stream_is_kept_alive_by_events_of_the_services_own() {
    let driver = driven("how = 'stall'\nafter = 1\nkeepalive = '5s'\ntext = 'event: ping'", 1000);
    assert_eq!(out(&driver), format!("data: {{\"a\":1}}\n\n{}", "event: ping\n\n".repeat(4)));
}

#[test]
fn events_come_no_faster_than_the_rate() {
    let driver = driven("how = 'pace'\nrate = 2.0", 1000);
    assert_eq!(out(&driver), STREAM);
    let at: Vec<_> = driver.arrivals().into_iter().map(|(at, _)| at / MILLI).collect();
    assert_eq!(at, [0, 500, 1000]);
    let waited: Time = driver.injected.iter().map(|i| i.achieved).sum();
    assert_eq!(waited, SECOND);
}

#[test]
fn only_streams_of_events_are_touched() {
    for (content_type, ruled) in [("text/event-stream", true), ("TEXT/Event-Stream", true), ("application/json", false)]
    {
        let fault = Sse::build(toml::from_str("how = 'content_type'").unwrap()).unwrap();
        let mut driver = Driver::new(fault, Flow::Downstream).of(Request::default(), Some(answer(content_type)));
        let (_, ruling) = driver.rule(Phase::MidBody);
        let Some(Ruling::Patch(patch)) = ruling else {
            assert!(!ruled, "{content_type}");
            continue;
        };
        assert!(ruled && patch.set == [("content-type".to_owned(), "text/html".to_owned())]);
    }
    let fault = Sse::build(toml::from_str("how = 'truncate'").unwrap()).unwrap();
    let mut other = Driver::new(fault, Flow::Downstream).of(Request::default(), Some(answer("text/plain")));
    other.at(0).push(STREAM.as_bytes());
    other.at(1).fin();
    other.run_until(SECOND);
    assert_eq!((out(&other), other.closed_at, other.injected.len()), (STREAM.into(), Some(1), 0));
}

#[test]
fn words_that_say_nothing_are_named() {
    let build = |text: &str| Sse::build(toml::from_str(text).unwrap());
    for (text, field) in [
        ("how = 'truncate'\nbytes = '1B'", "bytes"),
        ("how = 'pace'", "rate"),
        ("how = 'pace'\nrate = 0.0", "rate"),
        ("how = 'stall'\nend = 'fin'", "end"),
        ("how = 'stall'\nkeepalive = '0s'", "keepalive"),
        ("how = 'cut'\nend = 'never'", "end"),
        ("how = 'error'\ntext = ' '", "text"),
        ("how = 'content_type'\ncontent_type = \"a\\nb\"", "content_type"),
        ("how = 'content_type'\nafter = 3", "after"),
        ("how = 'omit'", "member"),
        ("how = 'omit'\nmember = 'a\"b'", "member"),
        ("how = 'stall'\ntext = 'x'", "text"),
        ("how = 'cut'\nmember = 'x'", "member"),
    ] {
        assert_eq!(build(text).unwrap_err().field, Some(field), "{text}");
    }
}
