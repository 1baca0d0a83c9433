//! Peers that send what costs and leads nowhere (RFC 9113, 10.5), or take nothing.

use squall_core::observe::Ledger;
use squall_core::time::SECOND;
use squall_core::way::HttpVersion;
use squall_wire::{Options, Plane};

use super::peers::*;
use super::raw::*;
use crate::support::*;

const CALM: u32 = 0xb;

/// Sends frames until the connection is given up; the code of its GOAWAY.
#[track_caller]
fn code_after(settings: &[(u16, u32)], before: impl Fn(&mut Raw), flood: impl Fn(&mut Raw, u32)) -> u32 {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::One);
    let mut client = Raw::open(proxy, settings);
    before(&mut client);
    for n in 0..20_000 {
        flood(&mut client, n);
    }
    let code = client.until(GOAWAY).code();
    while client.next().is_some() {}
    eventually("over", || plane.connections() == 0);
    assert_eq!(plane.panics(), 0);
    // the next client is none the worse
    assert_eq!(ask2(proxy, &Ask::get("/")).unwrap().status, 200);
    code
}

#[test]
fn floods_of_frames_that_lead_nowhere_are_told_to_calm_down() {
    let nothing = |_: &mut Raw| {};
    assert_eq!(code_after(&[], nothing, |raw, _| raw.frame(PING, 0, 0, &[0; 8])), CALM, "PING");
    assert_eq!(code_after(&[], nothing, |raw, _| raw.settings(&[(4, 70_000)])), CALM, "SETTINGS");
    assert_eq!(
        code_after(&[], nothing, |raw, n| raw.frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1])),
        CALM,
        "PRIORITY"
    );
    assert_eq!(code_after(&[], nothing, |raw, _| raw.frame(0x77, 0, 0, b"?")), CALM, "of an unknown kind");
}

#[test]
fn floods_inside_a_stream_are_told_to_calm_down() {
    let opened = |raw: &mut Raw| raw.head(1, 0, POST);
    assert_eq!(code_after(&[], opened, |raw, _| raw.frame(DATA, 0, 1, &[])), CALM, "empty DATA");
    let begun = |raw: &mut Raw| raw.frame(HEADERS, 0, 1, &block(GET));
    let code = code_after(&[], begun, |raw, n| raw.frame(CONTINUATION, 0, 1, &block(&[("x-a", &n.to_string())])));
    assert_eq!(code, CALM, "CONTINUATION");
}

#[test]
fn streams_that_are_reset_as_fast_as_they_are_opened_are_too_many() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream2(|_| {}).address, HttpVersion::Two);
    let mut client = Raw::open(proxy, &[]);
    let never = [(":method", "GET"), (":scheme", "http"), (":path", "/never"), (":authority", "a")];
    let mut both = Vec::new();
    for n in 0..2_000 {
        both.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block(&never)));
        both.extend(frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    client.bytes(&both);
    assert_eq!(client.until(GOAWAY).code(), CALM);
}

#[test]
fn streams_that_are_given_up_one_by_one_are_too_many_as_well() {
    let (plane, _records) = plane(1);
    let upstream = upstream2(|_| {});
    let proxy = open_http(&plane, upstream.address, HttpVersion::Two);
    let mut client = Raw::open(proxy, &[]);
    let never = [(":method", "GET"), (":scheme", "http"), (":path", "/never"), (":authority", "a")];
    for n in 0..200 {
        client.head(2 * n + 1, END_STREAM, &never);
        client.frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes());
        client.frame(PING, 0, 0, &[1; 8]);
        while let Some(frame) = client.next() {
            match frame.kind {
                GOAWAY => return assert_eq!((frame.code(), n >= 99), (CALM, true)),
                PING => break,
                _ => {}
            }
        }
    }
    panic!("200 streams given up");
}

#[test]
fn streams_that_make_us_reset_them_are_too_many() {
    // a window that overflows makes the receiver reset the stream (CVE-2025-8671)
    let flood = |raw: &mut Raw, n: u32| {
        let stream = 2 * n + 1;
        raw.head(stream, END_STREAM, GET);
        raw.window(stream, 0x7FFF_FFFF);
    };
    assert_eq!(code_after(&[], |_| {}, flood), CALM);
}

#[test]
fn a_head_that_is_too_large_is_answered_431_and_a_far_larger_one_ends_the_connection() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::One);
    let long = "x".repeat(10_000);
    let fields = |n: usize| [GET, &vec![("x-long", &*long); n]].concat();
    let send = |client: &mut Raw, stream: u32, n: usize| {
        let block = block(&fields(n));
        let mut pieces = block.chunks(16_000).peekable();
        client.frame(HEADERS, END_STREAM, stream, pieces.next().unwrap());
        while let Some(piece) = pieces.next() {
            client.frame(CONTINUATION, if pieces.peek().is_none() { END_HEADERS } else { 0 }, stream, piece);
        }
    };
    let mut client = Raw::open(proxy, &[]);
    send(&mut client, 1, 7);
    assert_eq!(client.answer(1).0, 431);
    client.get(3);
    assert_eq!(client.answer(3).0, 200);
    let many: Vec<_> = (0..300).map(|_| ("x-a", "b")).collect();
    client.head(5, END_STREAM, &[GET, &many].concat());
    assert_eq!(client.answer(5).0, 431);
    let mut client = Raw::open(proxy, &[]);
    send(&mut client, 1, 60);
    assert_eq!(client.until(GOAWAY).code(), CALM);
}

#[test]
fn a_client_that_opens_no_window_keeps_little_and_not_for_ever() {
    let (ledger, _records) = Ledger::new(1024);
    let plane = Plane::new(Options { workers: 1, http_stall: SECOND / 2, ..Options::new(ledger) }).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let upstream = server(move |mut stream| {
        use std::io::{Read, Write};
        let _head = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let mut sent = 0;
        while let Ok(n) = stream.write(&[7; 65536]) {
            sent += n;
        }
        tell.send(sent).unwrap();
    });
    let proxy = open_http(&plane, upstream, HttpVersion::One);
    let mut client = Raw::open(proxy, &[(4, 0)]);
    client.get(1);
    assert_eq!(client.until(RST_STREAM).stream, 1);
    let sent = told.recv_timeout(LONG).unwrap();
    assert!(sent < 32 << 20, "{sent} bytes taken for a client that takes none"); // the kernel's buffers included
    client.frame(PING, 0, 0, &[0; 8]);
    client.until(PING);
}

#[test]
fn no_more_streams_than_announced_are_carried() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream2(|_| {}).address, HttpVersion::Two);
    let mut client = Raw::silent(proxy);
    client.bytes(PREFACE);
    client.settings(&[]);
    let settings = client.until(SETTINGS).payload;
    let most = settings.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("MAX_CONCURRENT_STREAMS");
    assert_eq!(most[2..], 256_u32.to_be_bytes());
    client.frame(SETTINGS, ACK, 0, &[]);
    for n in 0..257 {
        client.head(2 * n + 1, 0, POST);
    }
    let refused = client.until(RST_STREAM);
    assert_eq!((refused.stream, refused.code()), (513, 7));
    assert_eq!(plane.panics(), 0);
}
