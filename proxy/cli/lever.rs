//! `squall lever [engage --reason WHY | release]`

use squall_control::api::LeverView;

use super::abort::told;
use super::out::{say, tell};
use super::reach::Reach;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    turn: Option<Turn>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Subcommand)]
enum Turn {
    /// End everything, and let nothing start until it is released; survives restarts
    Engage {
        /// Why: whoever is refused a start is told
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let experiments start again
    Release,
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client()?;
    match args.turn {
        None => say!("{}", shown(&client.lever()?)),
        Some(Turn::Release) => say!("{}", shown(&client.release()?)),
        Some(Turn::Engage { reason }) => {
            let engaged = client.engage(&reason)?;
            say!("{}", shown(&engaged.lever));
            say!("{}", told(&engaged.abort));
            if let Some(why) = engaged.not_kept {
                tell!("it may not survive a restart: {why}");
            }
        }
    }
    Ok(Exit::Done)
}

/// The lever in one line.
pub(crate) fn shown(lever: &LeverView) -> String {
    if !lever.engaged {
        return "the safety lever is released: experiments may start".into();
    }
    let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "nobody knows".into());
    format!(
        "the safety lever is ENGAGED: {} (by {}, since {})",
        word(&lever.reason),
        word(&lever.by),
        word(&lever.since)
    )
}
