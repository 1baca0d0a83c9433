//! `squall env`: the variables of a `squall wrap` that runs, for whoever is no child of it.

use std::path::PathBuf;

use super::out::raw;
use crate::exit::{Exit, Failure, Outcome};
use crate::wrap::{project, running};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How they are written
    #[arg(long, value_enum, default_value_t = Format::Sh)]
    format: Format,
    /// Where the wrap keeps what belongs to the project (its --state)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// eval "$(squall env)"
    Sh,
    /// squall env --format fish | source
    Fish,
    /// docker run --network host --env-file; also what IDEs read as .env
    Docker,
    /// An object
    Json,
}

pub(crate) fn run(args: Args) -> Outcome {
    let project = project::directory(args.state.as_deref()).map_err(Failure::input)?;
    let variables = running::variables(&project).ok_or_else(|| {
        Failure::out_of_reach(
            "no `squall wrap` runs for this directory; without a command (`squall wrap`) it runs until Ctrl-C",
        )
    })?;
    let mut text = String::new();
    for (name, value) in &variables {
        let line = match args.format {
            Format::Sh => format!("export {name}='{}'\n", value.replace('\'', "'\\''")),
            Format::Fish => format!("set -gx {name} '{}'\n", value.replace('\\', "\\\\").replace('\'', "\\'")),
            Format::Docker => format!("{name}={value}\n"),
            Format::Json => continue,
        };
        text.push_str(&line);
    }
    if let Format::Json = args.format {
        let object: serde_json::Map<String, serde_json::Value> =
            variables.into_iter().map(|(name, value)| (name, value.into())).collect();
        text = format!("{}\n", serde_json::Value::from(object));
    }
    raw(text.as_bytes());
    Ok(Exit::Done)
}
