//! `squall scenarios [WORD]`

use std::path::Path;

use squall_core::scenario::{Checked, FaultSpec};
use squall_core::shown::shown;

use super::files::{self, Setting};
use super::out::{raw, say, table};
use crate::exit::{Exit, Failure, Outcome};
use crate::library::{self, Shipped};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those that mention this word; the name of one (`stripe/rate-limit`) shows all that there is to know of it, and
    /// what clients will be answered
    word: Option<String>,
    /// Print the file of the one scenario of this name as it is
    #[arg(long, value_name = "NAME", conflicts_with = "word")]
    show: Option<String>,
    /// With the name of one: set a parameter: name=value
    #[arg(long, value_name = "NAME=VALUE", requires = "word")]
    set: Vec<Setting>,
}

pub(crate) fn run(args: Args) -> Outcome {
    if let Some(name) = args.show {
        raw(known(&name)?.text.as_bytes());
        return Ok(Exit::Done);
    }
    let word = args.word.unwrap_or_default();
    if let Some(shipped) = library::find(&word) {
        return tell(shipped, &files::settings(args.set));
    }
    if !args.set.is_empty() {
        known(&word)?;
    }
    let mut rows = Vec::new();
    for shipped in library::all().filter(|shipped| shipped.mentions(&word)) {
        rows.push(vec![shipped.path.to_owned(), shipped.field("title").unwrap_or_default().to_owned()]);
    }
    if rows.is_empty() {
        say!("no scenario mentions `{word}`");
    }
    table(&rows);
    Ok(Exit::Done)
}

fn known(name: &str) -> Result<Shipped, Failure> {
    library::find(name)
        .ok_or_else(|| Failure::input(format!("squall brings no scenario `{name}`; `squall scenarios` lists them")))
}

/// Everything about one scenario, with the answers that it will give.
fn tell(shipped: Shipped, set: &[(String, String)]) -> Outcome {
    let outcome = files::load(&[Path::new(shipped.path)], set)?;
    let Some(scenario) = outcome.scenarios.first() else { return Err(Failure::said()) };
    say!("{}: {}", shipped.path, scenario.title.as_deref().unwrap_or(&scenario.name));
    let verified = scenario.verified_on.as_ref().map(|on| format!(" (verified on {on})")).unwrap_or_default();
    let source = scenario.source.as_ref().map(|source| format!("{source}{verified}"));
    let mut rows = Vec::new();
    for (what, text) in [
        ("teaches", &scenario.teaches),
        ("hypothesis", &scenario.hypothesis),
        ("expected", &scenario.expected),
        ("source", &source),
    ] {
        rows.extend(text.clone().map(|text| vec![what.to_owned(), text]));
    }
    table(&rows);
    if !scenario.parameters.is_empty() {
        say!("\nparameters (--set name=value)");
        let line = |parameter: &squall_core::scenario::Parameter| {
            let about = parameter.about.clone().unwrap_or_default();
            vec![format!("  {}", parameter.name), parameter.value.clone(), about]
        };
        table(&scenario.parameters.iter().map(line).collect::<Vec<_>>());
    }
    scenario.faults.iter().for_each(|fault| tell_fault(scenario, fault));
    say!("\nthe file: squall scenarios --show {}", shipped.path);
    Ok(Exit::Done)
}

fn tell_fault(scenario: &Checked, fault: &FaultSpec) {
    let phase = fault.phase.map(|phase| format!(", {}", phase.word())).unwrap_or_default();
    let (share, rule) = (&fault.percentage, if fault.matches.is_some() { " of those that match" } else { "" });
    say!("\nfault {} ({} {}) on {}, {share} %{rule}{phase}", fault.name, fault.kind, fault.summary, fault.proxy);
    for line in shown(scenario, fault).unwrap_or_default().lines() {
        say!("{}", format!("    {line}").trim_end());
    }
}
