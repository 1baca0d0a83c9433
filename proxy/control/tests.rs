//! The control port over real sockets, in front of a program made for the purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aborts;
mod access;
mod audits;
mod clients;
mod documents;
mod experiments;
mod hostile;
mod proxies;
mod support;
mod tls;
