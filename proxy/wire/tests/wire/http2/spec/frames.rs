//! Frames that are right, and what is to be ignored in them (RFC 9113, 4 to 6; h2spec `generic` 1 to 3).

use super::*;

#[test]
fn what_is_right_is_taken() {
    hold(&[
        Situation("generic 1", |_| {}, Then::Alive),
        Situation(
            "generic 2.1: PRIORITY on an idle stream",
            |raw| {
                raw.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]);
                raw.get(1);
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 2.2: WINDOW_UPDATE on a half-closed stream",
            |raw| {
                raw.get(1);
                raw.window(1, 100);
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 2.3: PRIORITY on a half-closed stream",
            |raw| {
                raw.get(1);
                raw.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]);
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 2.4: RST_STREAM on a half-closed stream",
            |raw| {
                raw.get(1);
                raw.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
            },
            Then::Alive,
        ),
        Situation(
            "generic 2.5: PRIORITY on a closed stream",
            |raw| {
                raw.get(1);
                raw.answer(1);
                raw.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]);
            },
            Then::Alive,
        ),
        Situation(
            "generic 3.1/1: DATA",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, b"test");
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 3.1/2: DATA, more than one",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, 0, 1, b"test");
                raw.frame(DATA, END_STREAM, 1, b"test");
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 3.1/3: DATA, padded",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM | PADDED, 1, b"\x06test\0\0\0\0\0\0");
            },
            Then::Answer(200),
        ),
        Situation("generic 3.2/1: HEADERS", |raw| raw.get(1), Then::Answer(200)),
        Situation(
            "generic 3.2/2: HEADERS, padded",
            |raw| {
                let padded = [&[6][..], &block(GET), &[0; 6]].concat();
                raw.frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &padded);
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 3.2/3: HEADERS with a priority",
            |raw| {
                let weighed = [&[0, 0, 0, 0, 255][..], &block(GET)].concat();
                raw.frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &weighed);
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 3.3: PRIORITY of all kinds",
            |raw| {
                raw.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 0]);
                raw.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]);
                raw.frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 255]);
                raw.frame(PRIORITY, 0, 5, &[128, 0, 0, 1, 255]);
                raw.frame(PRIORITY, 0, 7, &[0, 0, 0, 9, 7]);
                raw.get(11);
                raw.answer(11);
            },
            Then::Alive,
        ),
        Situation(
            "generic 3.4: RST_STREAM",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
            },
            Then::Alive,
        ),
        Situation("generic 3.5: SETTINGS", |raw| raw.settings(&[(3, 100), (4, 70_000)]), Then::Alive),
        Situation(
            "generic 3.7: PING",
            |raw| {
                raw.frame(PING, 0, 0, b"h2spec!!");
                let pong = raw.until(PING);
                assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"h2spec!!"[..]));
            },
            Then::Alive,
        ),
        Situation(
            "generic 3.8: GOAWAY",
            |raw| {
                raw.frame(GOAWAY, 0, 0, &[0; 8]);
            },
            Then::Closed,
        ),
        Situation("generic 3.9/1: WINDOW_UPDATE of the connection", |raw| raw.window(0, 1), Then::Alive),
        Situation(
            "generic 3.9/2: WINDOW_UPDATE of a stream",
            |raw| {
                raw.head(1, 0, POST);
                raw.window(1, 1);
                raw.frame(DATA, END_STREAM, 1, b"x");
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 3.10: CONTINUATION, one and several",
            |raw| {
                let block = block(GET);
                raw.frame(HEADERS, END_STREAM, 1, &block[..20]);
                raw.frame(CONTINUATION, 0, 1, &block[20..25]);
                raw.frame(CONTINUATION, END_HEADERS, 1, &block[25..]);
            },
            Then::Answer(200),
        ),
        Situation("3.5/1: the preface", |raw| raw.get(1), Then::Answer(200)),
        Situation(
            "4.1/1: a frame of an unknown type",
            |raw| {
                raw.frame(0xff, 0, 0, b"test");
                raw.frame(0x16, 0xff, 1, b"");
            },
            Then::Alive,
        ),
        Situation(
            "4.1/2: flags that nobody knows",
            |raw| {
                raw.frame(PING, 0x16, 0, b"h2spec!!");
                assert_eq!(raw.until(PING).payload, b"h2spec!!");
            },
            Then::Alive,
        ),
        Situation(
            "4.1/3: the reserved bit",
            |raw| {
                raw.frame(PING, 0, 0x8000_0000, b"h2spec!!");
                assert_eq!(raw.until(PING).payload, b"h2spec!!");
            },
            Then::Alive,
        ),
        Situation(
            "4.2/1: DATA of 2^14 bytes",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, &[1; 1 << 14]);
            },
            Then::Answer(200),
        ),
        Situation("5.5/1: an extension", |raw| raw.frame(0x16, 0, 0, b"12345678"), Then::Alive),
        Situation("6.5.2/5: a setting that nobody knows", |raw| raw.settings(&[(0xff, 1)]), Then::Alive),
        Situation(
            "6.5.3/2: SETTINGS are acknowledged",
            |raw| {
                raw.settings(&[(3, 7)]);
                loop {
                    let frame = raw.next().unwrap();
                    if frame.kind == SETTINGS && frame.flags & ACK != 0 {
                        return;
                    }
                }
            },
            Then::Alive,
        ),
        Situation("6.7/2: an acknowledgement of no PING", |raw| raw.frame(PING, ACK, 0, b"invalid!"), Then::Alive),
        Situation(
            "6.9.1/1: a window of one byte",
            |raw| {
                raw.settings(&[(4, 1)]);
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, b"ab");
                let data = raw.until(DATA);
                assert_eq!(data.payload, b"a");
                raw.window(1, 1);
                assert_eq!(raw.until(DATA).payload, b"b");
            },
            Then::Alive,
        ),
        Situation(
            "6.5.3/1: a setting that is given twice counts as the last",
            |raw| {
                raw.settings(&[(4, 100), (4, 1)]);
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, b"ab");
                assert_eq!(raw.until(DATA).payload, b"a");
            },
            Then::Alive,
        ),
        Situation(
            "6.9.2/1: the window of open streams changes with the setting",
            |raw| {
                raw.settings(&[(4, 0)]);
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, b"ab");
                raw.until(HEADERS);
                raw.settings(&[(4, 1)]);
                assert_eq!(raw.until(DATA).payload, b"a");
            },
            Then::Alive,
        ),
        Situation(
            "6.9.2/2: a window below zero",
            |raw| {
                raw.settings(&[(4, 3)]);
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, b"abcdef");
                assert_eq!(raw.until(DATA).payload, b"abc");
                raw.settings(&[(4, 2)]);
                raw.window(1, 2);
                assert_eq!(raw.until(DATA).payload, b"d");
            },
            Then::Alive,
        ),
        Situation(
            "7/1: GOAWAY with an unknown code",
            |raw| {
                raw.frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]);
            },
            Then::Closed,
        ),
        Situation(
            "7/2: RST_STREAM with an unknown code",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(RST_STREAM, 0, 1, &0xff_u32.to_be_bytes());
            },
            Then::Alive,
        ),
    ]);
}

#[test]
fn a_preface_that_is_none_is_no_http() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::One);
    for wrong in
        [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n\r\n\r\n\r\n\r\n\r\n\r\n", b"INVALID\r\n\r\n"]
    {
        let mut client = Raw::silent(proxy);
        client.bytes(wrong);
        while client.next().is_some() {} // 3.5/2
    }
    assert_eq!(plane.panics(), 0);
}
