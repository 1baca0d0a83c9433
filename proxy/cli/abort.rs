//! `squall abort [ID]`

use squall_drill::view::AbortReport;

use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment; everything if left out
    id: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client()?;
    let report = match &args.id {
        Some(id) => client.abort(id)?.abort,
        None => client.abort_all()?,
    };
    say!("{}", told(&report));
    Ok(Exit::Done)
}

/// An abort in one line.
pub(crate) fn told(report: &AbortReport) -> String {
    let what = match report.experiments.as_slice() {
        [] => "nothing was running".to_owned(),
        ids => format!("aborted {}", ids.join(", ")),
    };
    let after = |us: Option<u64>| us.map_or("not yet".to_owned(), |us| format!("after {us} µs"));
    format!(
        "{what}: stopped injecting after {} µs, {} held were let go, permitted {}, drained {}",
        report.stopped_injecting_us,
        report.released,
        after(report.permitted_us),
        after(report.drained_us)
    )
}
