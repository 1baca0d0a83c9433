#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::fault::driver::Driver;
use crate::fault::registry::Kind;
use crate::http::{Request, Response, StatusCode};
use crate::time::{MILLI, SECOND};

const TEXT: &[u8] = b"\x81\x05Hello";
const PING: &[u8] = b"\x89\x02hi";
const PONG: &[u8] = b"\x8a\x02hi";
const FIRST: &[u8] = b"\x01\x03Hel";
const LAST: &[u8] = b"\x80\x02lo";

fn driver(text: &str, flow: Flow) -> Driver<WebSocket> {
    let fault = WebSocket::build(toml::from_str(text).unwrap()).unwrap();
    let fields = [("Sec-WebSocket-Accept", "x")].into_iter().collect();
    let response = Response { status: StatusCode::SWITCHING_PROTOCOLS, fields, ..Response::default() };
    Driver::new(fault, flow).of(Request::default(), Some(response))
}

/// What comes of these frames, the same whatever the reads.
fn result(text: &str, frames: &[&[u8]]) -> (Vec<u8>, Option<End>, Vec<What>, u64) {
    let of = |read| {
        let mut driver = driver(text, Flow::Downstream);
        frames.concat().chunks(read).for_each(|part| driver.at(0).push(part));
        driver.at(SECOND).fin();
        driver.run_until(10 * SECOND);
        let out = driver.out.iter().map(|(_, byte)| *byte).collect();
        let what = driver.injected.iter().map(|i| i.what).collect();
        (out, driver.ended.map(|(_, end)| end), what, WebSocket::unread(&driver.shared))
    };
    let whole = of(1 << 20);
    for read in [1, 2, 3, 8] {
        assert_eq!(of(read), whole, "{text} in reads of {read}");
    }
    whole
}

#[test]
fn frames_are_dropped_by_what_they_are() {
    let all = [TEXT, PING, PONG, TEXT];
    assert_eq!(result("how = 'drop'", &all).0, [PING, PONG].concat());
    assert_eq!(result("how = 'drop'\nframes = 'pong'", &all).0, [TEXT, PING, TEXT].concat());
    assert_eq!(result("how = 'drop'\nafter = 1", &all).0, [TEXT, PING, PONG].concat());
    assert_eq!(result("how = 'drop'\nframes = 'all'", &all).2, [What::Dropped; 4]);
}

#[test]
fn frames_are_doubled_and_cut_short_as_frames() {
    assert_eq!(result("how = 'duplicate'", &[TEXT, PING]).0, [TEXT, TEXT, PING].concat());
    assert_eq!(
        result("how = 'truncate'\nto = '2B'", &[TEXT, PING, TEXT]).0,
        [b"\x81\x02He", PING, b"\x81\x02He"].concat()
    );
    assert!(result("how = 'truncate'\nto = '5B'", &[TEXT]).2.is_empty(), "it is no longer");
}

#[test]
fn a_fragmented_or_long_message_and_what_is_no_frame_are_let_by_and_counted() {
    let (out, _, what, unread) = result("how = 'drop'", &[FIRST, PING, LAST]);
    assert_eq!((out, what.len(), unread), ([FIRST, PING, LAST].concat(), 0, 2));
    let long = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &vec![1; 65_536]].concat();
    assert_eq!(result("how = 'duplicate'", &[&long, TEXT]).0, [&long[..], TEXT, TEXT].concat());
    let garbage = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".as_slice();
    assert_eq!(result("how = 'drop'", &[garbage, TEXT]).0, [garbage, TEXT].concat());
    assert_eq!(result("how = 'drop'", &[&TEXT[..4]]).0, &TEXT[..4], "the rest never comes");
}

#[test]
fn it_is_closed_with_a_code_behind_the_nth_message() {
    let close = b"\x88\x05\x0f\xa0bye".as_slice();
    let text = "how = 'close'\nafter = 1\ncode = 4000\nreason = 'bye'";
    let closed = (Some(End::Fin), vec![What::Closed], 0);
    let (out, end, what, unread) = result(text, &[FIRST, PING, LAST, TEXT]);
    assert_eq!((out, (end, what, unread)), ([FIRST, PING, LAST, close].concat(), closed));
    let mut upstream = driver("how = 'close'", Flow::Upstream);
    upstream.run_until(SECOND);
    let out: Vec<u8> = upstream.out.iter().map(|(_, byte)| *byte).collect();
    assert_eq!((out.len(), out[1]), (8, 0x82), "a client's frame is masked");
    assert_eq!([out[6] ^ out[2], out[7] ^ out[3]], 1011_u16.to_be_bytes());
    assert_eq!(upstream.ended.unwrap().1, End::Fin);
}

#[test]
fn frames_come_late_in_order() {
    let mut driver = driver("how = 'delay'\ndelay = '100ms'", Flow::Downstream);
    driver.at(0).push(TEXT);
    driver.at(10 * MILLI).push(&[PING, TEXT].concat());
    driver.run_until(SECOND);
    assert_eq!(driver.arrivals(), [(100 * MILLI, 11), (110 * MILLI, 7)], "a ping is not held");
    let late: Vec<_> = driver.injected.iter().map(|i| (i.what, i.achieved)).collect();
    assert_eq!(late, [(What::Delayed, 100 * MILLI); 2]);
}

#[test]
fn other_exchanges_are_let_by_and_words_that_say_nothing_are_named() {
    let fault = WebSocket::build(toml::from_str("how = 'drop'").unwrap()).unwrap();
    let mut other = Driver::new(fault, Flow::Downstream).of(Request::default(), Some(Response::default()));
    other.at(0).push(TEXT);
    other.run_until(SECOND);
    assert_eq!(other.out.len(), TEXT.len());
    let build = |text: &str| WebSocket::build(toml::from_str(text).unwrap());
    for (text, field) in [
        ("how = 'close'\nframes = 'ping'", "frames"),
        ("how = 'close'\ncode = 999", "code"),
        ("how = 'drop'\ncode = 1000", "code"),
        ("how = 'drop'\nto = '1B'", "to"),
        ("how = 'drop'\nshare = 0", "share"),
    ] {
        assert_eq!(build(text).unwrap_err().field, Some(field), "{text}");
    }
    assert_eq!(build(&format!("how = 'close'\nreason = '{}'", "x".repeat(124))).unwrap_err().field, Some("reason"));
}
