//! Messages: heads, lengths and trailers (RFC 9113, 8; h2spec `generic` 4).

use super::*;

const MALFORMED: Then = Then::Error(&[PROTOCOL_ERROR]);

#[test]
fn those_that_are_right() {
    hold(&[
        Situation("generic 4/1: GET", |raw| raw.get(1), Then::Answer(200)),
        Situation(
            "generic 4/2: HEAD",
            |raw| {
                let head = [&[(":method", "HEAD")], &without(":method")[..]].concat();
                raw.head(1, END_STREAM, &head);
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 4/3: POST",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, END_STREAM, 1, b"test");
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 4/4: POST with trailers",
            |raw| {
                raw.head(1, 0, &[POST, &[("trailer", "x-test")]].concat());
                raw.frame(DATA, 0, 1, b"test");
                raw.head(1, END_STREAM, &[("x-test", "ok")]);
            },
            Then::Answer(200),
        ),
        Situation(
            "a length that is kept",
            |raw| {
                raw.head(1, 0, &[POST, &[("content-length", "4")]].concat());
                raw.frame(DATA, 0, 1, b"te");
                raw.frame(DATA, END_STREAM, 1, b"st");
            },
            Then::Answer(200),
        ),
        Situation("TE: trailers", |raw| raw.head(1, END_STREAM, &with(&[("te", "trailers")])), Then::Answer(200)),
        Situation(
            "Host as :authority has it",
            |raw| raw.head(1, END_STREAM, &with(&[("host", "A.test")])),
            Then::Answer(200),
        ),
        Situation(
            "Host without :authority",
            |raw| {
                let host = [&without(":authority")[..], &[("host", "a.test")]].concat();
                raw.head(1, END_STREAM, &host);
            },
            Then::Answer(200),
        ),
        Situation("neither", |raw| raw.head(1, END_STREAM, &without(":authority")), Then::Answer(400)),
    ]);
}

/// 8.1.2.1/3 wants an error; the crate drops pseudo-headers behind a body without a word.
#[test]
fn a_pseudo_header_behind_the_body_does_not_get_further() {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::One);
    let mut client = Raw::open(proxy, &[]);
    client.head(1, 0, POST);
    client.frame(DATA, 0, 1, b"test");
    client.head(1, END_STREAM, &[(":method", "PUT"), (":path", "/b"), ("x-end", "yes")]);
    client.until(HEADERS);
    let trailers = String::from_utf8_lossy(&client.until(HEADERS).payload).into_owned();
    assert!(!trailers.contains("PUT") && !trailers.contains("/b"), "{trailers}");
}

#[test]
fn those_that_are_malformed() {
    hold(&[
        Situation(
            "8.1/1: a second head that does not end the stream",
            |raw| {
                raw.head(1, 0, POST);
                raw.frame(DATA, 0, 1, b"test");
                raw.head(1, 0, &[("x-test", "ok")]);
            },
            MALFORMED,
        ),
        Situation(
            "8.1.2/1: a name in upper case",
            |raw| raw.head(1, END_STREAM, &with(&[("X-TEST", "ok")])),
            MALFORMED,
        ),
        Situation(
            "8.1.2.1/1: an unknown pseudo-header",
            |raw| raw.head(1, END_STREAM, &with(&[(":test", "ok")])),
            MALFORMED,
        ),
        Situation("8.1.2.1/2: one of answers", |raw| raw.head(1, END_STREAM, &with(&[(":status", "200")])), MALFORMED),
        Situation(
            "8.1.2.1/4: one behind a field",
            |raw| {
                raw.head(1, END_STREAM, &[&without(":path")[..], &[("x-test", "ok"), (":path", "/")]].concat());
            },
            MALFORMED,
        ),
        Situation(
            "8.1.2.2/1: a field of the connection",
            |raw| {
                raw.head(1, END_STREAM, &with(&[("connection", "keep-alive")]));
            },
            MALFORMED,
        ),
        Situation(
            "8.1.2.2/2: TE with more than trailers",
            |raw| {
                raw.head(1, END_STREAM, &with(&[("te", "trailers, deflate")]));
            },
            MALFORMED,
        ),
        Situation(
            "Transfer-Encoding",
            |raw| {
                raw.head(1, END_STREAM, &with(&[("transfer-encoding", "chunked")]));
            },
            MALFORMED,
        ),
        Situation(
            "8.1.2.3/1: an empty path",
            |raw| {
                raw.head(1, END_STREAM, &[&without(":path")[..], &[(":path", "")]].concat());
            },
            MALFORMED,
        ),
        Situation("8.1.2.3/2: no method", |raw| raw.head(1, END_STREAM, &without(":method")), MALFORMED),
        Situation("8.1.2.3/3: no scheme", |raw| raw.head(1, END_STREAM, &without(":scheme")), MALFORMED),
        Situation("8.1.2.3/4: no path", |raw| raw.head(1, END_STREAM, &without(":path")), MALFORMED),
        Situation(
            "8.1.2.3/5: two methods",
            |raw| {
                raw.head(1, END_STREAM, &[&[(":method", "GET")], GET].concat());
            },
            MALFORMED,
        ),
        Situation(
            "8.1.2.3/6: two schemes",
            |raw| {
                raw.head(1, END_STREAM, &[&[(":scheme", "http")], GET].concat());
            },
            MALFORMED,
        ),
        Situation("8.1.2.3/7: two paths", |raw| raw.head(1, END_STREAM, &[&[(":path", "/")], GET].concat()), MALFORMED),
        Situation(
            "8.1.2.6/1: more bytes than announced",
            |raw| {
                raw.head(1, 0, &[POST, &[("content-length", "1")]].concat());
                raw.frame(DATA, END_STREAM, 1, b"test");
            },
            MALFORMED,
        ),
        Situation(
            "8.1.2.6/2: more in several frames",
            |raw| {
                raw.head(1, 0, &[POST, &[("content-length", "1")]].concat());
                raw.frame(DATA, 0, 1, b"test");
                raw.frame(DATA, END_STREAM, 1, b"test");
            },
            MALFORMED,
        ),
        Situation(
            "fewer bytes than announced",
            |raw| {
                raw.head(1, 0, &[POST, &[("content-length", "9")]].concat());
                raw.frame(DATA, END_STREAM, 1, b"test");
            },
            MALFORMED,
        ),
        Situation(
            "none where some are announced",
            |raw| {
                raw.head(1, END_STREAM, &[POST, &[("content-length", "9")]].concat());
            },
            MALFORMED,
        ),
        Situation(
            "two lengths",
            |raw| {
                raw.head(1, 0, &[POST, &[("content-length", "4"), ("content-length", "4")]].concat());
                raw.frame(DATA, END_STREAM, 1, b"test");
            },
            MALFORMED,
        ),
    ]);
}

#[test]
fn what_another_server_could_read_in_another_way_does_not_reach_it() {
    hold(&[
        Situation("a line break in a value", |raw| raw.head(1, END_STREAM, &with(&[("x", "a\r\nb: c")])), MALFORMED),
        Situation("NUL in a value", |raw| raw.head(1, END_STREAM, &with(&[("x", "a\0")])), MALFORMED),
        Situation("white space around a value", |raw| raw.head(1, END_STREAM, &with(&[("x", " a")])), MALFORMED),
        Situation("a space in a name", |raw| raw.head(1, END_STREAM, &with(&[("x y", "a")])), MALFORMED),
        Situation("a colon in a name", |raw| raw.head(1, END_STREAM, &with(&[("x:y", "a")])), MALFORMED),
        Situation(
            "a space in the path",
            |raw| {
                raw.head(1, END_STREAM, &[&without(":path")[..], &[(":path", "/ HTTP/1.1")]].concat());
            },
            MALFORMED,
        ),
        Situation(
            "a line break in the path",
            |raw| {
                raw.head(1, END_STREAM, &[&without(":path")[..], &[(":path", "/\r\nx: y")]].concat());
            },
            MALFORMED,
        ),
        Situation(
            "a path that is none",
            |raw| {
                raw.head(1, END_STREAM, &[&without(":path")[..], &[(":path", "http://b/")]].concat());
            },
            MALFORMED,
        ),
        Situation(
            "a line break in the method",
            |raw| {
                raw.head(1, END_STREAM, &[&without(":method")[..], &[(":method", "GET / HTTP/1.1\r\nx")]].concat());
            },
            MALFORMED,
        ),
        Situation(
            "a user in the authority",
            |raw| {
                raw.head(1, END_STREAM, &[&without(":authority")[..], &[(":authority", "u@a.test")]].concat());
            },
            MALFORMED,
        ),
        Situation(
            "another Host than :authority",
            |raw| {
                raw.head(1, END_STREAM, &with(&[("host", "b.test")]));
            },
            MALFORMED,
        ),
        Situation(
            "two of Host",
            |raw| {
                raw.head(1, END_STREAM, &with(&[("host", "a.test"), ("host", "a.test")]));
            },
            MALFORMED,
        ),
        Situation(
            "a disguised Transfer-Encoding",
            |raw| {
                raw.head(1, END_STREAM, &with(&[("transfer_encoding", "chunked")]));
            },
            MALFORMED,
        ),
        Situation(
            "an expectation that nobody knows",
            |raw| raw.head(1, END_STREAM, &with(&[("expect", "tea")])),
            Then::Answer(417),
        ),
    ]);
}
