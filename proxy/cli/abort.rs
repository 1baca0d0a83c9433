//! `squall abort [ID]`

use squall_control::client::{Client, ClientError};
use squall_drill::view::AbortReport;

use super::fleet;
use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment by its id, or those under way by their name; everything if left out
    id: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let clients = args.reach.clients()?;
    let [client] = clients.as_slice() else { return fleet::abort(&clients, args.id.as_deref()) };
    say!("{}", told(&on(client, args.id.as_deref())?));
    Ok(Exit::Done)
}

/// Ends an experiment by its id, or those under way by their name, or everything.
pub(crate) fn on(client: &Client, what: Option<&str>) -> Result<AbortReport, Failure> {
    let Some(what) = what else { return Ok(client.abort_all()?) };
    let unknown = match client.abort(what) {
        Err(ClientError::Refused(problem)) if problem.status == 404 => ClientError::Refused(problem),
        other => return Ok(other?.abort),
    };
    let under_way = client.status()?.experiments.into_iter().filter(|line| line.state.is_under_way());
    let mut whole: Option<AbortReport> = None;
    for line in under_way.filter(|line| line.name == what) {
        let AbortReport { experiments, stopped_injecting_us, released, permitted_us, drained_us } =
            client.abort(&line.id)?.abort;
        let before = whole.take().unwrap_or(AbortReport { permitted_us, drained_us, ..AbortReport::default() });
        whole = Some(AbortReport {
            experiments: before.experiments.into_iter().chain(experiments).collect(),
            stopped_injecting_us: before.stopped_injecting_us.max(stopped_injecting_us),
            released: before.released + released,
            permitted_us: before.permitted_us.zip(permitted_us).map(|(a, b)| a.max(b)),
            drained_us: before.drained_us.zip(drained_us).map(|(a, b)| a.max(b)),
        });
    }
    whole.ok_or_else(|| unknown.into())
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
