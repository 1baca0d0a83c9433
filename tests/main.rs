//! squall as its users meet it: the binary, its files, its exit codes, real programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]
// against real programs and sockets only the real clock counts; what was measured is printed
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod audit;
mod bad;
mod cli;
mod drill;
mod files;
mod governance;
mod guards;
mod kinds;
mod library;
mod outages;
mod real;
mod serve;
mod support;
mod toxiproxy;
mod wrap;
