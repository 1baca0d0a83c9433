//! `squall list`

use squall_drill::view::Verdict;

use super::out::{say, table};
use super::reach::Reach;
use super::status::pretty;
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON, as GET /v1/experiments gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(crate) fn run(args: Args) -> Outcome {
    let experiments = args.reach.client()?.list()?;
    if args.json {
        say!("{}", pretty(&experiments)?);
        return Ok(Exit::Done);
    }
    let mut rows = vec![["ID", "NAME", "STATE", "VERDICT", "ELAPSED", "SEED"].map(str::to_owned).to_vec()];
    for view in experiments {
        rows.push(vec![
            view.id,
            view.name,
            view.state.word().to_owned(),
            view.verdict.map_or("-", Verdict::word).to_owned(),
            format!("{:.1}s of {:.1}s", view.elapsed, view.planned),
            view.seed.to_string(),
        ]);
    }
    table(&rows);
    Ok(Exit::Done)
}
