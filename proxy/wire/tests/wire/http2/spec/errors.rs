//! Frames that are wrong in themselves or where they stand (RFC 9113, 4.2, 4.3 and 6).

use super::*;

const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];

#[test]
fn sizes() {
    hold(&[
        Situation(
            "4.2/2: DATA too large",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, &[1; (1 << 14) + 1]);
            },
            Then::Error(&[FRAME_SIZE_ERROR]),
        ),
        Situation(
            "4.2/3: HEADERS too large",
            |raw| {
                let long = "x".repeat(1 << 14);
                let fields = [GET, &[("x-a", &*long)]].concat();
                raw.head(1, END_STREAM, &fields);
            },
            Then::GoAway(&[FRAME_SIZE_ERROR]),
        ),
        Situation("6.3/2: PRIORITY of 4 bytes", |raw| raw.frame(PRIORITY, 0, 1, &[0; 4]), Then::Error(SIZE)),
        Situation(
            "6.4/3: RST_STREAM of 3 bytes",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(RST_STREAM, 0, 1, &[0; 3]);
            },
            Then::GoAway(SIZE),
        ),
        Situation(
            "6.5/1: an acknowledgement with settings",
            |raw| raw.frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1]),
            Then::GoAway(SIZE),
        ),
        Situation("6.5/3: SETTINGS of 3 bytes", |raw| raw.frame(SETTINGS, 0, 0, &[0; 3]), Then::GoAway(SIZE)),
        Situation("6.7/4: PING of 6 bytes", |raw| raw.frame(PING, 0, 0, &[0; 6]), Then::GoAway(SIZE)),
        Situation("5.4.1: GOAWAY, then closed", |raw| raw.frame(PING, 0, 0, &[0; 9]), Then::GoAway(SIZE)),
        Situation("6.8: GOAWAY of 7 bytes", |raw| raw.frame(GOAWAY, 0, 0, &[0; 7]), Then::GoAway(SIZE)),
        Situation("6.9/3: WINDOW_UPDATE of 3 bytes", |raw| raw.frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Then::GoAway(SIZE)),
    ]);
}

#[test]
fn places() {
    const WRONG: &[u32] = &[PROTOCOL_ERROR];
    hold(&[
        Situation("6.1/1: DATA on stream 0", |raw| raw.frame(DATA, END_STREAM, 0, b"x"), Then::GoAway(WRONG)),
        Situation(
            "6.1/3: DATA with more padding than bytes",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM | PADDED, 1, b"\x09x");
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "6.2/1: another frame inside a head",
            |raw| {
                raw.frame(HEADERS, END_STREAM, 1, &block(GET));
                raw.frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]);
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "6.2/2: another stream's head inside a head",
            |raw| {
                raw.frame(HEADERS, END_STREAM, 1, &block(GET));
                raw.get(3);
            },
            Then::GoAway(WRONG),
        ),
        Situation("6.2/3: HEADERS on stream 0", |raw| raw.get(0), Then::GoAway(WRONG)),
        Situation(
            "6.2/4: HEADERS with more padding than bytes",
            |raw| {
                let padded = [&[255][..], &block(GET)].concat();
                raw.frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &padded);
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "6.3/1: PRIORITY on stream 0",
            |raw| raw.frame(PRIORITY, 0, 0, &[0, 0, 0, 0, 1]),
            Then::GoAway(WRONG),
        ),
        Situation("6.4/1: RST_STREAM on stream 0", |raw| raw.frame(RST_STREAM, 0, 0, &[0; 4]), Then::GoAway(WRONG)),
        Situation(
            "6.4/2: RST_STREAM on an idle stream",
            |raw| raw.frame(RST_STREAM, 0, 1, &[0; 4]),
            Then::GoAway(WRONG),
        ),
        Situation("6.5/2: SETTINGS on a stream", |raw| raw.frame(SETTINGS, 0, 1, &[]), Then::GoAway(WRONG)),
        Situation("6.7/3: PING on a stream", |raw| raw.frame(PING, 0, 1, &[0; 8]), Then::GoAway(WRONG)),
        Situation("6.8/1: GOAWAY on a stream", |raw| raw.frame(GOAWAY, 0, 1, &[0; 8]), Then::GoAway(WRONG)),
        Situation(
            "6.10/2: another frame behind CONTINUATION",
            |raw| {
                raw.frame(HEADERS, END_STREAM, 1, &block(GET)[..10]);
                raw.frame(CONTINUATION, 0, 1, &block(GET)[10..]);
                raw.frame(DATA, END_STREAM, 1, b"x");
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "6.10/3: CONTINUATION on stream 0",
            |raw| {
                raw.frame(HEADERS, END_STREAM, 1, &block(GET));
                raw.frame(CONTINUATION, END_HEADERS, 0, &[]);
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "6.10/4: CONTINUATION behind a whole head",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "6.10/5: CONTINUATION behind a last CONTINUATION",
            |raw| {
                raw.frame(HEADERS, 0, 1, &block(POST)[..10]);
                raw.frame(CONTINUATION, END_HEADERS, 1, &block(POST)[10..]);
                raw.frame(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "6.10/6: CONTINUATION behind DATA",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, 0, 1, b"x");
                raw.frame(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "5.5/2: an extension inside a head",
            |raw| {
                raw.frame(HEADERS, END_STREAM, 1, &block(GET));
                raw.frame(0x16, 0, 0, b"12345678");
                raw.frame(CONTINUATION, END_HEADERS, 1, &[]);
            },
            Then::GoAway(WRONG),
        ),
        Situation(
            "8.2: PUSH_PROMISE of a client",
            |raw| {
                let promise = [&2_u32.to_be_bytes()[..], &block(GET)].concat();
                raw.head(1, 0, POST);
                raw.frame(PUSH_PROMISE, END_HEADERS, 1, &promise);
            },
            Then::GoAway(WRONG),
        ),
    ]);
}

#[test]
fn values() {
    const WRONG: &[u32] = &[PROTOCOL_ERROR];
    const FLOW: &[u32] = &[FLOW_CONTROL_ERROR];
    hold(&[
        Situation("6.5.2/1: ENABLE_PUSH of 2", |raw| raw.settings(&[(2, 2)]), Then::GoAway(WRONG)),
        Situation(
            "6.5.2/2: INITIAL_WINDOW_SIZE of 2^31",
            |raw| raw.settings(&[(4, 1 << 31)]),
            Then::GoAway(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR]),
        ),
        Situation("6.5.2/3: MAX_FRAME_SIZE below 2^14", |raw| raw.settings(&[(5, (1 << 14) - 1)]), Then::GoAway(WRONG)),
        Situation("6.5.2/4: MAX_FRAME_SIZE of 2^24", |raw| raw.settings(&[(5, 1 << 24)]), Then::GoAway(WRONG)),
        Situation("RFC 8441, 3: ENABLE_CONNECT_PROTOCOL of 2", |raw| raw.settings(&[(8, 2)]), Then::GoAway(WRONG)),
        Situation("6.9/1: WINDOW_UPDATE of 0", |raw| raw.window(0, 0), Then::GoAway(WRONG)),
        Situation(
            "6.9/2: WINDOW_UPDATE of 0 on a stream",
            |raw| {
                raw.head(1, 0, POST);
                raw.window(1, 0);
            },
            Then::Error(WRONG),
        ),
        Situation(
            "6.9.1/2: the connection's window overflows",
            |raw| {
                raw.window(0, (1 << 31) - 1);
                raw.window(0, (1 << 31) - 1);
            },
            Then::GoAway(FLOW),
        ),
        Situation(
            "6.9.1/3: a stream's window overflows",
            |raw| {
                raw.head(1, 0, POST);
                raw.window(1, (1 << 31) - 1);
                raw.window(1, (1 << 31) - 1);
            },
            Then::Reset(1, FLOW),
        ),
        Situation(
            "6.9.2/3: a window of open streams overflows with the setting",
            |raw| {
                raw.head(1, 0, POST);
                raw.window(1, (1 << 31) - 1 - 65_535);
                raw.settings(&[(4, 70_000)]);
            },
            Then::GoAway(FLOW),
        ),
    ]);
}
