//! `squall inject PROXY KIND [key=value…] --for 60s`: a one-line experiment, always with an end.

use std::path::PathBuf;

use squall_core::parse::{self, Filled};
use squall_core::scenario::NONE_STATED;

use super::faults;
use super::follow::Print;
use super::interrupt;
use super::mark::user;
use super::out::{say, tell};
use super::reach::Reach;
use super::start::{self, How};
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The proxy
    proxy: String,
    /// The kind of fault, or `preset=` and the name of one (`squall faults`)
    #[arg(value_parser = faults::names(Some), hide_possible_values = true)]
    kind: String,
    /// Fields of the fault: delay=200ms jitter=50ms percentage=10
    #[arg(value_name = "KEY=VALUE", value_parser = field)]
    fields: Vec<(String, String)>,
    /// How long
    #[arg(long = "for", value_name = "DURATION")]
    duration: String,
    /// Write the scenario to this file instead of running it
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Return at once; the experiment ends by itself
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let client = args.reach.client();
    let environment = match (&client, &args.save) {
        (Ok(client), None) => client.status()?.environment,
        (Ok(client), Some(_)) => client.status().map_or_else(|_| "local".into(), |status| status.environment),
        (Err(_), _) => "local".to_owned(), // to save it needs nobody
    };
    let filled = Filled { owner: user().unwrap_or_else(|| "squall inject".into()), environment };
    let text = parse::one_liner(&args.proxy, &args.kind, &args.fields, &args.duration, &filled);
    tell!("owner {}; hypothesis: {NONE_STATED}, so never upheld; environments: {}", filled.owner, filled.environment);
    tell!("guard: connection_error_rate above 50%; max_duration {}", parse::hard_end(&args.duration));
    if let Some(file) = args.save {
        std::fs::write(&file, text).map_err(|error| Failure::input(format!("{}: {error}", file.display())))?;
        say!("{}", file.display());
        return Ok(Exit::Done);
    }
    let max = args.detach.then(|| args.duration.clone());
    let how = How { detach: args.detach, max, observe: false };
    start::on(client?, &start::Text::toml(text), &[], &how, &interrupt::listen()?, &Print::default())
}

fn field(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not key=value"))?;
    if ["kind", "preset", "proxy", "for"].contains(&key) {
        return Err(format!("`{key}` has a place of its own on the command line"));
    }
    Ok((key.to_owned(), value.to_owned()))
}
