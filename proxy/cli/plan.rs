//! `squall plan FILE`

use std::path::PathBuf;

use squall_core::parse;
use squall_core::preview::{Preview, preview};

use super::files::{self, Setting};
use super::out::{say, tell};
use super::status::pretty;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The scenario's file, or the name of one that squall brings; a configuration may follow
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Connections shown for each fault
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(..=10_000))]
    units: u16,
    /// For a scenario that names no seed: a start draws one
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Set a parameter: name=value, or proxy.NAME.listen=ADDRESS
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let files = args.files.iter().map(PathBuf::as_path).collect::<Vec<_>>();
    let parse::Outcome { scenarios, config, .. } = files::load(&files, &files::settings(args.set))?;
    if scenarios.is_empty() {
        return Err(Failure::input("none of the files is a scenario (it has `name` and `[[fault]]`)"));
    }
    let proxies = config.map(|config| config.proxies).unwrap_or_default();
    let plans: Vec<Preview> = scenarios
        .iter()
        .map(|scenario| {
            let seed = scenario.seed.or(args.seed).unwrap_or_else(|| {
                tell!("note: {} names no seed, and a start draws one; shown for seed 0", scenario.name);
                0
            });
            preview(scenario, &proxies, seed, usize::from(args.units))
        })
        .collect();
    match (args.json, plans.as_slice()) {
        (true, [one]) => say!("{}", pretty(one)?),
        (true, several) => say!("{}", pretty(&several)?),
        (false, several) => several.iter().for_each(|plan| say!("{plan}")),
    }
    Ok(Exit::Done)
}
