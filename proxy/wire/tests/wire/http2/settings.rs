//! The fault `http2` with `settings`: what a connection is told at its beginning.

use std::collections::HashMap;

use squall_core::way::HttpVersion;

use super::peers::*;
use super::raw::*;
use crate::http1::script::{fine, inject};
use crate::support::*;

/// What a new connection is told.
fn told(raw: &mut Raw) -> HashMap<u16, u32> {
    raw.bytes(PREFACE);
    raw.settings(&[(1, 0)]);
    let settings = raw.until(SETTINGS);
    let pair = |six: &[u8]| {
        (u16::from_be_bytes(six[..2].try_into().unwrap()), u32::from_be_bytes(six[2..].try_into().unwrap()))
    };
    raw.frame(SETTINGS, ACK, 0, &[]);
    settings.payload.chunks(6).map(pair).collect()
}

#[test]
fn a_connection_that_begins_is_told_what_the_fault_says_and_others_go_on() {
    let upstream = fine();
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream.address, HttpVersion::One);
    let mut before = Raw::silent(proxy);
    let usual = told(&mut before);
    let fault = "[[fault]]\nkind='http2'\nhow='settings'\nmax_concurrent_streams=3\ninitial_window_size=1000\n\
                 max_frame_size=20000\nmax_header_list_size=9000\nheader_table_size=0";
    let fault = inject(&plane, fault);
    let mut raw = Raw::silent(proxy);
    let changed = told(&mut raw);
    let expected = [(1, 0), (3, 3), (4, 1000), (5, 20_000), (6, 9000)];
    for (setting, value) in expected {
        assert_eq!(changed.get(&setting), Some(&value), "{setting}: {changed:?}");
        assert_ne!(usual.get(&setting), Some(&value), "{setting}: {usual:?}");
    }
    let tally = fault.tally.read();
    assert_eq!((tally.eligible, tally.injected), (1, 1), "one connection, not its exchanges");

    // the window is kept to: the body comes, though it is many times as large
    let body = vec![b'x'; 50_000];
    assert_eq!(ask2(proxy, &Ask::post("/", body)).unwrap().body, b"ok");
    raw.get(1);
    assert_eq!(raw.answer(1), (200, b"ok".to_vec()));
    before.get(1);
    assert_eq!(before.answer(1), (200, b"ok".to_vec()), "told before, not told again");

    // a fourth stream where three are open is refused (RFC 9113, 5.1.2)
    let open: [u32; 4] = [3, 5, 7, 9];
    for stream in open {
        raw.head(stream, 0, POST);
    }
    let refused = raw.until(RST_STREAM);
    assert_eq!((refused.stream, refused.code()), (9, 7));
    publish(&plane, vec![]);
    assert_eq!(told(&mut Raw::silent(proxy)), usual);
}
