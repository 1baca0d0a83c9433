//! `squall approve ID` and `squall reject ID --reason …`

use squall_control::api::ApproveRequest;
use squall_control::client::Client;
use squall_drill::view::ExperimentView;

use super::out::{raw, say, tell};
use super::reach::Reach;
use super::submit::told;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment
    id: String,
    /// Until when it may be started, as in 1h; 8 hours unless written
    #[arg(long, value_name = "DURATION")]
    expires: Option<String>,
    /// No fault of it may select more than this, as in 25%
    #[arg(long, value_name = "PERCENTAGE")]
    max_exposure: Option<String>,
    /// The digest of what you have read; what has another one is not approved. Else that of what is shown now
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Print all of it, as its digest is of, and approve nothing
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RejectArgs {
    /// The experiment
    id: String,
    /// Why; it is kept with the experiment
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client()?;
    if args.show {
        raw(client.scenario(&args.id)?.as_bytes());
        return Ok(Exit::Done);
    }
    let view = client.view(&args.id)?;
    show(&client, &view)?;
    let digest = args.digest.unwrap_or_else(|| view.digest.clone());
    let request = ApproveRequest { digest, expires: args.expires, max_exposure: args.max_exposure };
    let view = client.approve(&args.id, &request)?;
    say!("{} is {}: {}", view.id, view.state.word(), told(&view.consent).unwrap_or_default());
    Ok(Exit::Done)
}

pub(crate) fn reject(args: RejectArgs) -> Outcome {
    let view = args.reach.client()?.reject(&args.id, &args.reason)?;
    say!("{} is {}: {}", view.id, view.state.word(), view.reason.unwrap_or_default());
    Ok(Exit::Done)
}

/// What is being agreed to.
fn show(client: &Client, view: &ExperimentView) -> Result<(), Failure> {
    let text: serde_json::Value =
        serde_json::from_str(&client.scenario(&view.id)?).map_err(|error| Failure::input(error.to_string()))?;
    let field = |name: &str| text[name].as_str().unwrap_or("-").to_owned();
    tell!("{} ({}), handed in by {}", view.id, field("owner"), view.consent.submitted_by);
    tell!("  hypothesis: {}", field("hypothesis"));
    for fault in &view.faults {
        tell!("  fault {} ({})", fault.name, fault.summary);
    }
    tell!("  digest {}", view.digest);
    Ok(())
}
