//! `squall mark [ID] detected|mitigated|note|step`

use squall_control::Client;
use squall_control::api::{Mark, MarkKind};

use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment; may be left out while exactly one runs
    id: Option<String>,
    #[command(subcommand)]
    what: What,
    /// Who says so; the user of this process unless given
    #[arg(long, value_name = "NAME", global = true)]
    by: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Somebody, or some alert, has noticed: the first one counts
    Detected {
        /// How, in words
        text: Option<String>,
    },
    /// Users are well again: the first one counts
    Mitigated {
        /// How, in words
        text: Option<String>,
    },
    /// Anything else worth keeping
    Note {
        /// In words
        text: String,
    },
    /// The step that the experiment waits for is done: it goes on
    Step {
        /// Its name; may be left out
        name: Option<String>,
        /// How it went, in words
        #[arg(long)]
        text: Option<String>,
    },
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client()?;
    let id = match args.id {
        Some(id) => id,
        None => only_one(&client)?,
    };
    let (kind, text, step) = match args.what {
        What::Detected { text } => (MarkKind::Detected, text, None),
        What::Mitigated { text } => (MarkKind::Mitigated, text, None),
        What::Note { text } => (MarkKind::Note, Some(text), None),
        What::Step { name, text } => (MarkKind::Step, text, name),
    };
    let by = args.by.or_else(user);
    let marked = client.mark(&id, &Mark { kind, text, step, by })?;
    let step = marked.step.as_ref().map_or(String::new(), |step| format!(" `{step}`"));
    let since = match (marked.kind, marked.since_first_fault) {
        (MarkKind::Detected | MarkKind::Mitigated, Some(since)) if marked.counts => {
            format!(", {since:.1} s after the first fault opened")
        }
        (MarkKind::Detected | MarkKind::Mitigated, None) => ", as a note: no fault had opened".to_owned(),
        (MarkKind::Detected | MarkKind::Mitigated, _) => ", as a note: the first one counts".to_owned(),
        _ => String::new(),
    };
    say!("{id}: {}{step} marked{since}", marked.kind.word());
    Ok(Exit::Done)
}

/// Who runs this, for the record; nobody checks it.
pub(crate) fn user() -> Option<String> {
    ["USER", "LOGNAME"].iter().filter_map(|name| std::env::var(name).ok()).find(|name| !name.trim().is_empty())
}

/// The experiment that is under way, if there is exactly one.
fn only_one(client: &Client) -> Result<String, Failure> {
    let mut under_way: Vec<String> =
        client.status()?.experiments.into_iter().filter(|line| line.state.is_under_way()).map(|line| line.id).collect();
    match (under_way.pop(), under_way.is_empty()) {
        (Some(id), true) => Ok(id),
        (None, _) => Err(Failure::input("no experiment runs that could be marked")),
        (Some(id), false) => {
            under_way.push(id);
            Err(Failure::input(format!("several experiments run, say which: {}", under_way.join(", "))))
        }
    }
}
