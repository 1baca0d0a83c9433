//! `squall change EXPERIMENT FAULT key=value…`

use squall_core::parse;

use super::out::say;
use super::reach::Reach;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment
    id: String,
    /// The fault, by its name
    fault: String,
    /// Fields of its kind, or `percentage`, as in a scenario; `key=` takes a field out
    #[arg(required = true, value_name = "KEY=VALUE")]
    fields: Vec<String>,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let split = |field: &String| match field.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::input(format!("`{field}`: `key=value` is expected here, as in delay=300ms"))),
    };
    let fields = args.fields.iter().map(split).collect::<Result<Vec<_>, _>>()?;
    let fields = parse::merge_patch(&fields).map_err(Failure::input)?;
    let view = args.reach.client()?.change(&args.id, &args.fault, &fields)?;
    let fault = view.faults.iter().find(|fault| fault.name == args.fault);
    let summary = fault.map_or("", |fault| fault.summary.as_str());
    say!("{}: fault `{}` is now {summary}", view.id, args.fault);
    Ok(Exit::Done)
}
