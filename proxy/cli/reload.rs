//! `squall reload`

use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Instead, take what runs as it is, although the file says otherwise
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client()?;
    let changes = if args.accept { client.accept()?.changes } else { client.reload()?.changes };
    if changes.is_empty() {
        say!("nothing has changed");
    } else if args.accept {
        say!("taken as it is:");
    }
    for change in changes {
        say!("{change}");
    }
    Ok(Exit::Done)
}
