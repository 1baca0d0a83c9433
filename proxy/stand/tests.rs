//! Services and load on real sockets.
#![allow(clippy::unwrap_used, clippy::panic)]

mod answers;
mod capacity;
mod datagrams;
mod load;
mod recordings;
mod services;
mod support;
