//! The situations of h2spec, written from RFC 9113 and RFC 7541: what a client does, and what it has to get for it.
//!
//! Where the standards name an error code, the `h2` crate answers some frames that it can not read, blocks that it can not
//! decode and frames on streams that their sender has ended with PROTOCOL_ERROR, the code for what is not told apart (RFC 9113,
//! 7): those situations take either.

mod errors;
mod frames;
mod hpack;
mod messages;
mod streams;

use std::net::SocketAddr;

use squall_core::way::HttpVersion;

use super::peers::{open_http, upstream1};
use super::raw::*;
use crate::support::*;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

/// What has to come of it.
enum Then {
    /// An answer on stream 1 of this status, and the connection goes on.
    Answer(u16),
    /// The stream is reset with one of these codes, and the connection goes on.
    Reset(u32, &'static [u32]),
    /// The connection ends with one of these codes.
    GoAway(&'static [u32]),
    /// Either of the two: an error of a stream may be taken for one of the connection (RFC 9113, 5.4).
    Error(&'static [u32]),
    /// Nothing but an answer to a PING.
    Alive,
    /// The connection is closed.
    Closed,
}

/// What is done, by its number in h2spec; and what has to come of it.
struct Situation(&'static str, fn(&mut Raw), Then);

/// Tries them all, and names those that came out otherwise.
#[track_caller]
fn hold(situations: &[Situation]) {
    let (plane, _records) = plane(1);
    let proxy = open_http(&plane, upstream1(), HttpVersion::One);
    let wrong: Vec<String> = situations.iter().filter_map(|situation| try_one(proxy, situation)).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), situations.len(), wrong.join("\n"));
    assert_eq!(plane.panics(), 0);
    eventually("all connections have ended", || plane.connections() == 0);
}

/// None: as it has to be.
fn try_one(proxy: SocketAddr, Situation(name, act, then): &Situation) -> Option<String> {
    let mut client = Raw::open(proxy, &[]);
    act(&mut client);
    let wrong = |got: String| Some(format!("{name}: {got}"));
    match then {
        Then::Answer(status) => {
            let (got, _) = client.answer(1);
            (got != *status).then(|| format!("{name}: {got}")).or_else(|| pinged(&mut client, name))
        }
        Then::Alive => pinged(&mut client, name),
        Then::Closed => {
            while client.next().is_some() {}
            None
        }
        Then::Reset(stream, codes) => loop {
            match client.next() {
                None => break wrong("closed".into()),
                Some(frame) if frame.kind == RST_STREAM && frame.stream == *stream => {
                    if !codes.contains(&frame.code()) {
                        break wrong(format!("reset with {}", frame.code()));
                    }
                    break pinged(&mut client, name);
                }
                Some(frame) if frame.kind == GOAWAY => break wrong(format!("GOAWAY {}", frame.code())),
                Some(_) => {}
            }
        },
        Then::GoAway(codes) => loop {
            match client.next() {
                None => break wrong("closed without GOAWAY".into()),
                Some(frame) if frame.kind == GOAWAY && codes.contains(&frame.code()) => {
                    while client.next().is_some() {}
                    break None;
                }
                Some(frame) if frame.kind == GOAWAY => break wrong(format!("GOAWAY {}", frame.code())),
                Some(frame) if frame.kind == RST_STREAM => break wrong(format!("reset with {}", frame.code())),
                Some(_) => {}
            }
        },
        Then::Error(codes) => loop {
            match client.next() {
                None => break wrong("closed without a word".into()),
                Some(frame) if matches!(frame.kind, GOAWAY | RST_STREAM) => {
                    break if codes.contains(&frame.code()) { None } else { wrong(format!("{frame:?}")) };
                }
                Some(_) => {}
            }
        },
    }
}

/// Whether the connection is alive still.
fn pinged(client: &mut Raw, name: &str) -> Option<String> {
    client.frame(PING, 0, 0, b"squall??");
    loop {
        match client.next() {
            None => return Some(format!("{name}: closed")),
            Some(frame) if frame.kind == PING && frame.payload == b"squall??" => return None,
            Some(frame) if matches!(frame.kind, GOAWAY | RST_STREAM) => return Some(format!("{name}: {frame:?}")),
            Some(_) => {}
        }
    }
}

/// A head with what stands behind its own fields.
fn with(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [GET, fields].concat()
}

/// A head without one of its fields.
fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.iter().copied().filter(|(other, _)| *other != name).collect()
}
