//! The data plane on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod auto;
mod endings;
mod faults;
mod guards;
mod headers;
mod http1;
mod http2;
mod listeners;
mod relay;
mod support;
mod tls;
mod udp;
mod upstreams;
