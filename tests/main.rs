//! squall as its users meet it: the binary, its files, its exit codes, real programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod cli;
mod drill;
mod files;
mod serve;
mod support;
