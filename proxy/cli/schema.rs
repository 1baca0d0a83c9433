//! `squall schema [scenario|config]`

use squall_core::schema;

use super::out::say;
use super::status::pretty;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Of which of the two formats
    #[arg(default_value = "scenario")]
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// What has `name` and `[[fault]]`
    Scenario,
    /// squall.toml
    Config,
}

pub(crate) fn run(args: Args) -> Outcome {
    let schema = match args.of {
        Of::Scenario => schema::scenario(),
        Of::Config => schema::config(),
    };
    say!("{}", pretty(&schema)?);
    Ok(Exit::Done)
}
