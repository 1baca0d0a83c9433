//! `squall report ID`

use super::fleet;
use super::out::{raw, say};
use super::reach::Reach;
use super::status::pretty;
use crate::exit::{Exit, Failure, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The experiment; with several --control one id for all, or one for each in their order, as in a-1+a-2
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let clients = args.reach.clients()?;
    let ids: Vec<&str> = args.id.split('+').collect();
    if ids.len() != 1 && ids.len() != clients.len() {
        return Err(Failure::input(format!("{} ids for {} control ports", ids.len(), clients.len())));
    }
    let mut reports = Vec::new();
    for (n, client) in clients.iter().enumerate() {
        let id = ids.get(n).or(ids.first()).copied().unwrap_or_default();
        reports.push((client.place().to_string(), client.report(id)?, client.report_markdown(id)?));
    }
    let (json, markdown) = match reports.pop() {
        Some((_, json, markdown)) if reports.is_empty() => (json, markdown),
        last => fleet::merge(reports.into_iter().chain(last).collect()),
    };
    if args.json {
        say!("{}", pretty(&json)?)
    } else {
        raw(markdown.as_bytes())
    }
    Ok(Exit::Done)
}
