//! `squall man`

use std::path::{Path, PathBuf};

use super::Cli;
use super::out::{raw, say};
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write one page for each subcommand into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let Some(directory) = args.dir else {
        let mut text = Vec::new();
        let _ = clap_mangen::Man::new(Cli::definition()).render(&mut text); // a Vec takes everything
        raw(&text);
        return Ok(Exit::Done);
    };
    pages(&directory).map_err(|error| Failure::input(format!("{}: {error}", directory.display())))?;
    say!("{}", directory.display());
    Ok(Exit::Done)
}

fn pages(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::definition(), directory)
}
