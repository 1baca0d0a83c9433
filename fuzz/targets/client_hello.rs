//! ClientHellos: what more of one tells never contradicts what less of it told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use squall_core::tls::{MOST, Sniff, sniff};

fuzz_target!(|bytes: &[u8]| {
    let whole = sniff(bytes);
    if bytes.len() >= MOST {
        assert_ne!(whole, Sniff::More, "no more than so much is looked at");
    }
    for end in 0..bytes.len().min(MOST) {
        match sniff(&bytes[..end]) {
            Sniff::More => {}
            told => return assert_eq!(told, whole, "it was told at {end}"),
        }
    }
});
