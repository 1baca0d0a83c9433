//! `squall pause ID` and `squall resume ID`

use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment
    id: String,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args, what: &str) -> Outcome {
    let client = args.reach.client()?;
    let view = if what == "pause" { client.pause(&args.id)? } else { client.resume(&args.id)? };
    say!("{} is {}", view.id, view.state.word());
    Ok(Exit::Done)
}
