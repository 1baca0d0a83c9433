//! `squall list`

use squall_core::unit::Duration;
use squall_drill::view::Verdict;

use super::out::{say, table};
use super::reach::Reach;
use super::status::pretty;
use super::submit::told;
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
    let mut rows = vec![["ID", "NAME", "STATE", "VERDICT", "ELAPSED", "SEED", "CONSENT"].map(str::to_owned).to_vec()];
    for view in experiments {
        rows.push(vec![
            view.id,
            view.name,
            view.state.word().to_owned(),
            view.verdict.map_or("-", Verdict::word).to_owned(),
            elapsed(view.elapsed, view.planned),
            view.seed.to_string(),
            told(&view.consent).unwrap_or_else(|| "-".into()),
        ]);
    }
    table(&rows);
    Ok(Exit::Done)
}

/// Seconds; what is set to go on for as long as can be said has no end to tell.
fn elapsed(elapsed: f64, planned: f64) -> String {
    match planned < Duration::MAX.0 as f64 / 1e9 {
        true => format!("{elapsed:.1}s of {planned:.1}s"),
        false => format!("{elapsed:.1}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::elapsed;

    #[test]
    fn only_an_end_that_there_is_is_told() {
        assert_eq!(elapsed(1.25, 60.0), "1.2s of 60.0s");
        assert_eq!(elapsed(1.25, 315_360_000.0), "1.2s");
    }
}
