//! `squall healthcheck`

use std::time::Duration;

use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client()?.patience(Duration::from_secs(2));
    if !client.is_ready()? {
        return Err(Failure::out_of_reach(format!("{} answers, but is not ready", client.place())));
    }
    say!("{} is ready", client.place());
    Ok(Exit::Done)
}
