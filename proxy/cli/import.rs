//! `squall import envoy|istio FILE`

use std::path::PathBuf;
use std::sync::Arc;

use squall_core::diagnostic::Source;
use squall_core::parse::{self, Options};
use squall_core::read;
use squall_core::unit::Duration;

use super::files;
use super::out::{raw, tell};
use crate::exit::{Exit, Failure, Outcome};
use crate::import::{self, Wish};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose configuration it is
    from: Origin,
    /// The file, YAML or JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The experiment's name; made of the file's name unless given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The proxy of all faults; the cluster's or service's name unless given
    #[arg(long, value_name = "NAME")]
    proxy: Option<String>,
    /// When the experiment ends at the latest: the faults in the file have no end
    #[arg(long, value_name = "TIME", default_value = "10m")]
    max_duration: Duration,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Origin {
    /// The fault filter (HTTPFault), in a whole configuration or by itself
    Envoy,
    /// VirtualServices with `fault`
    Istio,
}

pub(crate) fn run(args: Args) -> Outcome {
    let source = read::load(&args.file).map_err(|mistake| files::refuse(&[mistake]))?;
    let stem = args.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = args.name.or_else(|| import::name(&stem)).unwrap_or_else(|| "imported".into());
    let wish = Wish { name, proxy: args.proxy, max_duration: args.max_duration.to_string() };
    let draft = match args.from {
        Origin::Envoy => import::envoy(&source.text, wish),
        Origin::Istio => import::istio(&source.text, wish),
    };
    let draft = draft.map_err(|why| Failure::input(format!("{}: {why}", source.name)))?;
    draft.lost().for_each(|what| tell!("left out: {what}"));
    if !draft.has_faults() {
        return Err(Failure::input(format!("{}: nothing of it can be carried over", source.name)));
    }
    let text = draft.to_string();
    let written = Arc::new(Source { name: "the scenario".into(), text: text.clone() });
    parse::scenario(&written, &Options::default()).map_err(|mistakes| files::refuse(&mistakes))?;
    raw(text.as_bytes());
    Ok(Exit::Done)
}
