//! `squall submit FILE|NAME`

use squall_drill::view::ConsentView;

use super::files::{self, Setting};
use super::out::{say, tell};
use super::reach::Reach;
use super::start;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A scenario's file, or the name of one that squall brings (`squall scenarios`)
    #[arg(value_name = "FILE|NAME")]
    scenario: String,
    /// Set a parameter: name=value
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<Setting>,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let text = start::text(&args.scenario)?;
    let view = text.submit(&args.reach.client()?, &files::settings(args.set))?;
    tell!("{} is {}; digest {}; {}", view.id, view.state.word(), view.digest, needs(&view.consent));
    say!("{}", view.id);
    Ok(Exit::Done)
}

/// What is to be done next, in one line.
fn needs(consent: &ConsentView) -> String {
    match (consent.required, consent.groups.as_slice()) {
        (0, _) => "nobody has to approve it".into(),
        (people, []) => format!("it needs {people} approval(s): `squall approve`"),
        (people, groups) => format!("it needs {people} approval(s), by {}: `squall approve`", groups.join(" and ")),
    }
}

/// Who has agreed, in a few words; none: nobody has to.
pub(crate) fn told(consent: &ConsentView) -> Option<String> {
    if let Some(rejection) = &consent.rejection {
        return Some(format!("rejected by {}: {}", rejection.by, rejection.reason));
    }
    let by: Vec<String> =
        consent.approvals.iter().map(|given| format!("{} until {}", given.by, given.expires)).collect();
    match (consent.required, by.is_empty()) {
        (0, true) => None,
        (people, true) => Some(format!("0 of {people} approvals")),
        (people, false) => Some(format!("{} of {people} approvals: {}", by.len(), by.join(", "))),
    }
}
