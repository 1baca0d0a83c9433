#![allow(clippy::unwrap_used)]
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

fn pair(client: &str, destination: &str) -> Proxied {
    Proxied { client: client.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2: command, family and what follows.
fn binary(command: u8, family: u8, counted: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(counted.len()).unwrap().to_be_bytes());
    header.extend(counted);
    header
}

#[test]
fn lines_are_read_as_the_specification_says() {
    let v4 = Some(pair("192.0.2.1:56324", "203.0.113.9:443"));
    let v6 = Some(pair("[2001:db8::1]:1", "[2001:db8::2]:65535"));
    for (line, proxied) in [
        ("PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n", v4),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", v6),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
        ("PROXY UNKNOWN a b c d e f g\r\n", None),
    ] {
        assert_eq!(parse(line.as_bytes()), Parsed::Whole(line.len(), proxied), "{line}");
        let more = format!("{line}PROXY GET / HTTP/1.1\r\n");
        assert_eq!(parse(more.as_bytes()), Parsed::Whole(line.len(), proxied), "what follows is no part of it");
    }
}

#[test]
fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
    for wrong in [
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "PROXYTCP4",
        "\r\n\r\n\0\r\nQUIX",
        "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\n",
        "PROXY TCP5 192.0.2.1 203.0.113.9 56324 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 203.0.113.9 1 2\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 01 2\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 1 \r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 1\r\n",
        "PROXY TCP4 192.0.2.1 203.0.113.9 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1  203.0.113.9 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY unknown\r\n",
        "PROXY \r\n",
    ] {
        assert!(matches!(parse(wrong.as_bytes()), Parsed::Wrong(_)), "{wrong:?}");
    }
    assert!(matches!(parse(b"PROXY TCP4 \xff\xff\r\n"), Parsed::Wrong(_)));
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(parse(&endless.as_bytes()[..LINE - 1]), Parsed::Part);
    assert!(matches!(parse(&endless.as_bytes()[..LINE]), Parsed::Wrong(_)));
}

#[test]
fn binary_headers_are_read_as_the_specification_says() {
    let v4 = [192, 0, 2, 1, 203, 0, 113, 9, 0xDC, 0x04, 0x01, 0xBB];
    let known = Some(pair("192.0.2.1:56324", "203.0.113.9:443"));
    let whole = |header: &[u8], proxied| assert_eq!(parse(header), Parsed::Whole(header.len(), proxied), "{header:?}");
    whole(&binary(1, 0x11, &v4), known);
    let mut tlvs = v4.to_vec();
    tlvs.extend([0x04, 0, 3, 0, 0, 0]); // PP2_TYPE_NOOP
    whole(&binary(1, 0x11, &tlvs), known);
    whole(&binary(1, 0x11, &[&v4[..], &vec![0xAA; COUNTED - 12]].concat()), known);
    whole(&binary(0, 0x00, &[]), None); // a health check of its sender
    whole(&binary(0, 0x11, &v4), None);
    whole(&binary(0, 0xFF, &[1, 2, 3]), None); // LOCAL: the rest is to be ignored
    whole(&binary(1, 0x00, &[1, 2, 3]), None); // UNSPEC
    whole(&binary(1, 0x31, &[0; 216]), None); // a unix socket's
    whole(&binary(1, 0x12, &v4), None); // of datagrams
    for wrong in [
        binary(2, 0x11, &v4),
        binary(1, 0x41, &v4),
        binary(1, 0x13, &v4),
        binary(1, 0x11, &v4[..11]),
        binary(1, 0x21, &[0; 35]),
        binary(1, 0x11, &[0; COUNTED + 1]),
    ] {
        assert!(matches!(parse(&wrong), Parsed::Wrong(_)), "{wrong:?}");
    }
    let mut next_version = binary(1, 0x11, &v4);
    next_version[12] = 0x31;
    assert!(matches!(parse(&next_version), Parsed::Wrong(_)));
}

#[test]
fn addresses_of_two_families_become_one() {
    let mixed = pair("192.0.2.1:1", "[2001:db8::2]:2");
    let line = write(HeaderVersion::V1, Some(mixed));
    assert_eq!(line, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n");
    assert!(matches!(parse(&write(HeaderVersion::V2, Some(mixed))), Parsed::Whole(52, Some(_))));
    let carried = pair("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2");
    assert_eq!(write(HeaderVersion::V1, Some(carried)), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    assert_eq!(parse(&write(HeaderVersion::V1, None)), Parsed::Whole(15, None));
    assert_eq!(parse(&write(HeaderVersion::V2, None)), Parsed::Whole(16, None));
}

fn anyone() -> impl Strategy<Value = Proxied> {
    let v4 = any::<(([u8; 4], u16), ([u8; 4], u16))>();
    let v6 = any::<(([u8; 16], u16), ([u8; 16], u16))>();
    prop_oneof![
        v4.prop_map(|(client, to)| Proxied { client: SocketAddr::from(client), destination: SocketAddr::from(to) }),
        v6.prop_map(|(client, to)| Proxied { client: SocketAddr::from(client), destination: SocketAddr::from(to) }),
    ]
    .prop_map(|Proxied { client, destination }| Proxied {
        client: canonical(client),
        destination: canonical(destination),
    })
    .prop_filter("of one family", |pair| pair.client.is_ipv4() == pair.destination.is_ipv4())
}

fn version() -> impl Strategy<Value = HeaderVersion> {
    prop_oneof![Just(HeaderVersion::V1), Just(HeaderVersion::V2)]
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_every_piece_of_it_is_a_part(
        who in prop::option::of(anyone()), version in version(), after in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let header = write(version, who);
        for n in 0..header.len() {
            prop_assert_eq!(parse(&header[..n]), Parsed::Part, "{} bytes of {:?}", n, header);
        }
        let all = [&header[..], &after].concat();
        prop_assert_eq!(parse(&all), Parsed::Whole(header.len(), who));
    }

    /// Bytes that are near a header: cut, changed, lengthened. No length that is told goes beyond what came, and more
    /// bytes never make a right header of a wrong one.
    #[test]
    fn nothing_is_read_beyond_what_came(
        who in prop::option::of(anyone()), version in version(), at in any::<prop::sample::Index>(), with in any::<u8>(),
        cut in any::<prop::sample::Index>(), after in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = write(version, who);
        let at = at.index(bytes.len());
        bytes[at] = with;
        bytes.extend(after);
        let mut wrong = false;
        for n in 0..=cut.index(bytes.len() + 1) {
            match parse(&bytes[..n]) {
                Parsed::Whole(length, _) => { prop_assert!(length <= n && !wrong); break; }
                Parsed::Wrong(_) => wrong = true,
                Parsed::Part => prop_assert!(!wrong, "{} bytes of {:?}", n, bytes),
            }
        }
    }
}
