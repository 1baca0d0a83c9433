//! `squall scenarios [WORD]`

use super::out::{raw, say, table};
use crate::exit::{Exit, Failure, Outcome};
use crate::library;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only those that mention this word
    word: Option<String>,
    /// Print the one scenario of this name as it is
    #[arg(long, value_name = "NAME", conflicts_with = "word")]
    show: Option<String>,
}

pub(crate) fn run(args: Args) -> Outcome {
    if let Some(name) = args.show {
        let shipped = library::find(&name).ok_or_else(|| {
            Failure::input(format!("squall brings no scenario `{name}`; `squall scenarios` lists them"))
        })?;
        raw(shipped.text.as_bytes());
        return Ok(Exit::Done);
    }
    let word = args.word.unwrap_or_default();
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
