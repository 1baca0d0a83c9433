#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::fault::driver::Driver;
use crate::http::{Request, Response};
use crate::time::{MILLI, SECOND};

fn message(n: u8) -> Vec<u8> {
    [&[0, 0, 0, 0, n][..], &vec![n; n.into()]].concat()
}

fn driver(text: &str, content_type: &str) -> Driver<Grpc> {
    let fault = Grpc::build(toml::from_str(text).unwrap()).unwrap();
    let fields = [("content-type", content_type)].into_iter().collect();
    Driver::new(fault, Flow::Downstream).of(Request::default(), Some(Response { fields, ..Response::default() }))
}

/// Messages of 10, 0 and 20 bytes, in reads of so many bytes.
fn driven(text: &str, read: usize) -> Driver<Grpc> {
    let mut driver = driver(text, "application/grpc+proto");
    for part in [message(10), message(0), message(20)].concat().chunks(read) {
        driver.at(0).push(part);
    }
    driver.at(SECOND).fin();
    driver.run_until(10 * SECOND);
    driver
}

fn trailers(fields: &[(&str, &str)]) -> End {
    End::Trailers(Arc::new(fields.iter().copied().collect()))
}

#[test]
fn an_answer_ends_behind_its_nth_message_whatever_the_reads() {
    let unavailable = trailers(&[("grpc-status", "14")]);
    let aborted = trailers(&[("grpc-status", "10"), ("grpc-message", "50%25")]);
    for (text, out, end, what) in [
        ("how = 'status'\nafter = 1", 15, Some(unavailable.clone()), What::Truncated),
        ("how = 'status'\nafter = 2\nstatus = 10\nmessage = '50%'", 20, Some(aborted), What::Truncated),
        ("how = 'status'", 45, Some(unavailable), What::Truncated),
        ("how = 'no_trailers'", 45, Some(End::Complete), What::Truncated),
        ("how = 'no_trailers'\nafter = 0", 0, Some(End::Complete), What::Truncated),
        ("how = 'reset'\nafter = 2", 20, Some(End::Code(2)), What::Reset),
        ("how = 'stall'\nafter = 1", 15, None, What::Stalled),
    ] {
        for read in [1, 3, 5, 15, 16, 100] {
            let driver = driven(text, read);
            assert_eq!((driver.out.len(), driver.ended.map(|(_, end)| end)), (out, end.clone()), "{text} {read}");
            let injected: Vec<_> = driver.injected.iter().map(|i| (i.what, i.achieved)).collect();
            assert_eq!(injected, [(what, out as u64)], "{text} {read}");
            assert_eq!(driver.closed_at, None, "{text} {read}");
        }
    }
}

#[test]
fn each_message_is_late_by_its_own_delay() {
    let mut driver = driver("how = 'delay'\nafter = 1\ndelay = '100ms'", "application/grpc");
    for (ms, n) in [(0, 10), (10, 20), (500, 30)] {
        driver.at(ms * MILLI).push(&message(n));
    }
    driver.run_until(SECOND);
    assert_eq!(driver.arrivals(), [(0, 15), (110 * MILLI, 25), (600 * MILLI, 35)]);
    let injected: Vec<_> = driver.injected.iter().map(|i| (i.what, i.step, i.achieved)).collect();
    assert_eq!(injected, [(What::Delayed, 1, 100 * MILLI), (What::Delayed, 2, 100 * MILLI)]);
}

#[test]
fn other_answers_and_bodies_that_have_begun_are_let_by() {
    let mut other = driver("how = 'status'\nafter = 0", "application/json");
    other.at(0).push(&message(9));
    other.at(1).fin();
    other.run_until(SECOND);
    assert_eq!((other.out.len(), other.closed_at, other.injected.len()), (14, Some(1), 0));
    let mut late = driver("how = 'stall'\nafter = 1", "application/grpc").attached(SECOND, 7);
    late.at(SECOND).push(&message(9));
    late.run_until(2 * SECOND);
    assert_eq!((late.out.len(), late.injected.len()), (14, 0));
}

#[test]
fn words_that_say_nothing_are_named() {
    let build = |text: &str| Grpc::build(toml::from_str(text).unwrap());
    for (text, field) in [
        ("how = 'stall'\nstatus = 3", "status"),
        ("how = 'status'\ncode = 3", "code"),
        ("how = 'reset'\ndelay = '1s'", "delay"),
    ] {
        assert_eq!(build(text).unwrap_err().field, Some(field), "{text}");
    }
    assert!(build("how = 'delay'").is_err());
}
