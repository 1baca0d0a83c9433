//! `squall completions SHELL`

use super::Cli;
use super::out::raw;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, elvish, fish, powershell or zsh
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: Args) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::definition(), "squall", &mut text);
    raw(&text);
    Ok(Exit::Done)
}
