//! Blocks of fields (RFC 7541; h2spec `generic` 5 and `hpack`).

use super::*;

const UNREADABLE: Then = Then::GoAway(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);

/// A request whose block ends with these bytes.
fn ending_with(raw: &mut Raw, bytes: &[u8]) {
    let block = [&block(GET)[..], bytes].concat();
    raw.frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
}

/// One that begins with them.
fn beginning_with(raw: &mut Raw, bytes: &[u8]) {
    let block = [bytes, &block(GET)].concat();
    raw.frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
}

#[test]
fn every_way_to_write_a_field_is_read() {
    hold(&[
        Situation(
            "generic 5/1: indexed",
            |raw| {
                let block = [&[0x82, 0x86, 0x84][..], &block(&[(":authority", "a.test")])].concat();
                raw.frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
            },
            Then::Answer(200),
        ),
        Situation("generic 5/2: kept, with a known name", |raw| ending_with(raw, b"\x7a\x04test"), Then::Answer(200)),
        Situation(
            "generic 5/3: kept, with a new name",
            |raw| ending_with(raw, b"\x40\x01x\x04test"),
            Then::Answer(200),
        ),
        Situation(
            "generic 5/4: not kept, with a known name",
            |raw| ending_with(raw, b"\x0f\x2b\x04test"),
            Then::Answer(200),
        ),
        Situation(
            "generic 5/5: not kept, with a new name",
            |raw| ending_with(raw, b"\x00\x01x\x04test"),
            Then::Answer(200),
        ),
        Situation(
            "generic 5/6: never kept, with a known name",
            |raw| ending_with(raw, b"\x1f\x2b\x04test"),
            Then::Answer(200),
        ),
        Situation(
            "generic 5/7: never kept, with a new name",
            |raw| ending_with(raw, b"\x10\x01x\x04test"),
            Then::Answer(200),
        ),
        Situation(
            "generic 5/8: coded by Huffman",
            |raw| {
                // "www.example.com" of RFC 7541, C.4.1
                ending_with(raw, b"\x00\x01x\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff");
            },
            Then::Answer(200),
        ),
        Situation(
            "generic 5/9: another size of the table",
            |raw| beginning_with(raw, &[0x3f, 0x45]),
            Then::Answer(200),
        ),
        Situation("generic 5/10: two of them", |raw| beginning_with(raw, &[0x20, 0x3f, 0x45]), Then::Answer(200)),
        Situation(
            "generic 5/11: what was kept",
            |raw| {
                ending_with(raw, b"\x40\x01x\x04test\xbe");
            },
            Then::Answer(200),
        ),
    ]);
}

#[test]
fn a_block_that_can_not_be_read_ends_the_connection() {
    hold(&[
        Situation(
            "4.3/1: half a field",
            |raw| {
                ending_with(raw, b"\x00\x01x\x0atest");
            },
            UNREADABLE,
        ),
        Situation("hpack 2.3.3/1: an index beyond the tables", |raw| ending_with(raw, &[0xff, 0x00]), UNREADABLE),
        Situation("hpack 2.3.3/2: a name beyond the tables", |raw| ending_with(raw, b"\x7f\x07\x04test"), UNREADABLE),
        Situation("hpack 4.2: another size behind a field", |raw| ending_with(raw, &[0x3f, 0x45]), UNREADABLE),
        Situation(
            "hpack 5.2/1: padding of more than 7 bits",
            |raw| {
                ending_with(raw, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff");
            },
            UNREADABLE,
        ),
        Situation(
            "hpack 5.2/2: padding of zeros",
            |raw| {
                ending_with(raw, b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90");
            },
            UNREADABLE,
        ),
        Situation(
            "hpack 5.2/3: EOS inside a text",
            |raw| {
                ending_with(raw, b"\x00\x85\xf2\xb2\x4a\x84\xff\x88\x49\x51\xff\xff\xff\xfa\x7f\xff");
            },
            UNREADABLE,
        ),
        Situation("hpack 6.1: index 0", |raw| ending_with(raw, &[0x80]), UNREADABLE),
        Situation(
            "hpack 6.3: a table larger than announced",
            |raw| beginning_with(raw, &[0x3f, 0xe2, 0x1f]),
            UNREADABLE,
        ),
        Situation(
            "hpack 5.1: an integer without end",
            |raw| {
                ending_with(raw, b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
            },
            UNREADABLE,
        ),
    ]);
}
