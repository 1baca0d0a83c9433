//! `squall ca`

use std::path::PathBuf;

use squall_wire::Ca;

use super::out::say;
use crate::exit::{Exit, Failure, Outcome};
use crate::runtime;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The state directory whose CA it is, as `state` under [control]; left out: the CA of those that have none
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// A name such as example.test that a new CA is kept to, with everything below it (may be repeated)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let directory = runtime::ca(args.state.as_deref()).map_err(|error| Failure::input(format!("CA: {error}")))?;
    Ca::open(&directory, &args.only).map_err(Failure::input)?;
    say!("{}", Ca::certificate(&directory).display());
    Ok(Exit::Done)
}
