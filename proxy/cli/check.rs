//! `squall check FILE…`

use std::path::PathBuf;

use squall_core::parse;

use super::files::{self, Setting};
use super::out::say;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenarios and configurations, or names of scenarios that squall brings; names are resolved across all of them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Set a parameter: name=value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let files = args.files.iter().map(PathBuf::as_path).collect::<Vec<_>>();
    let parse::Outcome { scenarios, config, .. } = files::load(&files, &files::settings(args.set))?;
    for scenario in &scenarios {
        say!("scenario {}: {} faults, digest {}", scenario.name, scenario.faults.len(), scenario.digest);
    }
    if let Some(config) = config {
        say!("configuration: {} proxies", config.proxies.len());
    }
    Ok(Exit::Done)
}
