//! `squall reload`

use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let changes = args.reach.client()?.reload()?.changes;
    if changes.is_empty() {
        say!("nothing has changed");
    }
    for change in changes {
        say!("{change}");
    }
    Ok(Exit::Done)
}
