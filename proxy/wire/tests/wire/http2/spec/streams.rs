//! The states of streams and their numbers (RFC 9113, 5.1).

use super::*;

#[test]
fn states() {
    const WRONG: &[u32] = &[PROTOCOL_ERROR];
    const CLOSED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];
    hold(&[
        Situation("5.1/1: DATA on an idle stream", |raw| raw.frame(DATA, END_STREAM, 1, b"x"), Then::GoAway(WRONG)),
        Situation(
            "5.1/2: RST_STREAM on an idle stream",
            |raw| raw.frame(RST_STREAM, 0, 1, &[0; 4]),
            Then::GoAway(WRONG),
        ),
        Situation("5.1/3: WINDOW_UPDATE on an idle stream", |raw| raw.window(1, 100), Then::GoAway(WRONG)),
        Situation(
            "5.1/4: CONTINUATION on an idle stream",
            |raw| raw.frame(CONTINUATION, END_HEADERS, 1, &block(GET)),
            Then::GoAway(WRONG),
        ),
        Situation(
            "5.1/5: DATA on a half-closed stream",
            |raw| {
                raw.get(1);
                raw.frame(DATA, END_STREAM, 1, b"x");
            },
            Then::Error(CLOSED),
        ),
        Situation(
            "5.1/6: HEADERS on a half-closed stream",
            |raw| {
                raw.get(1);
                raw.get(1);
            },
            Then::Error(CLOSED),
        ),
        Situation(
            "5.1/7: CONTINUATION on a half-closed stream",
            |raw| {
                raw.get(1);
                raw.frame(CONTINUATION, END_HEADERS, 1, &block(GET));
            },
            Then::Error(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        Situation(
            "5.1/9: HEADERS behind RST_STREAM",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
                raw.get(1);
            },
            Then::Error(CLOSED),
        ),
        Situation(
            "5.1/10: CONTINUATION behind RST_STREAM",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
                raw.frame(CONTINUATION, END_HEADERS, 1, &block(&[("x", "y")]));
            },
            Then::Error(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        Situation(
            "5.1/11: DATA on a closed stream",
            |raw| {
                raw.get(1);
                raw.answer(1);
                raw.frame(DATA, END_STREAM, 1, b"x");
            },
            Then::Error(CLOSED),
        ),
        Situation(
            "5.1/12: HEADERS on a closed stream",
            |raw| {
                raw.get(1);
                raw.answer(1);
                raw.get(1);
            },
            Then::Error(CLOSED),
        ),
        Situation(
            "5.1/13: CONTINUATION on a closed stream",
            |raw| {
                raw.get(1);
                raw.answer(1);
                raw.frame(CONTINUATION, END_HEADERS, 1, &block(GET));
            },
            Then::Error(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        Situation(
            "6.1/2: DATA on a stream that is not open",
            |raw| {
                raw.get(1);
                raw.frame(DATA, END_STREAM, 1, b"x");
            },
            Then::Error(CLOSED),
        ),
        Situation("5.1.1/1: an even number", |raw| raw.get(2), Then::GoAway(WRONG)),
        Situation(
            "5.1.1/2: a smaller number",
            |raw| {
                raw.get(5);
                raw.answer(5);
                raw.get(3);
            },
            Then::GoAway(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        Situation(
            "5.1.2: more streams than announced",
            |raw| {
                for n in 0..257 {
                    raw.head(2 * n + 1, 0, POST);
                }
            },
            Then::Reset(513, &[PROTOCOL_ERROR, REFUSED_STREAM]),
        ),
        Situation(
            "5.3.1/1: a head that depends on itself",
            |raw| {
                let own = [&[0, 0, 0, 1, 255][..], &block(GET)].concat();
                raw.frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &own);
            },
            Then::Error(WRONG),
        ),
        Situation(
            "5.3.1/2: PRIORITY that depends on itself",
            |raw| raw.frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 1]),
            Then::Error(WRONG),
        ),
    ]);
}

#[test]
fn what_comes_for_a_stream_that_the_client_has_reset_does_no_harm() {
    // 5.1/8 wants STREAM_CLOSED; a receiver may as well ignore what was on its way (RFC 9113, 5.1)
    hold(&[Situation(
        "5.1/8: DATA behind RST_STREAM",
        |raw| {
            raw.head(1, 0, POST);
            raw.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
            raw.frame(DATA, END_STREAM, 1, b"x");
        },
        Then::Error(&[STREAM_CLOSED]),
    )]);
}
