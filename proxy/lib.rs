//! squall: a fault-injection proxy for fail-safe experiments.
//!
//! [`cli`] reads the command line and has one file per subcommand. Most of them are clients of a running squall's control
//! port; `check`, `plan`, `schema`, `faults` and `scenarios` need none. `serve` and `drill` are the two that carry
//! traffic: both put the program together in [`wiring`].
//!
//! What is put together lives in crates of its own: `squall-core` (the language, the faults, the chain engine: no I/O),
//! `squall-wire` (sockets), `squall-stand` (test doubles and load), `squall-drill` (experiments), `squall-control` (the
//! control port). The data plane and the experiments never know each other: they meet here, through core's plan cell.

pub mod cli;
pub mod exit;
mod import;
mod language;
pub mod library;
mod record;
mod runtime;
pub mod wiring;
pub mod wrap;

use std::process::ExitCode;

/// Runs the command line and says how it ended.
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SQUALL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    squall_wire::raise_descriptor_limit(); // connections are what it is for
    match cli::Cli::read().run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            cli::complain(&failure.message);
            failure.exit.into()
        }
    }
}
