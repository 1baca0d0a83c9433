//! `squall faults [KIND]`

use clap::builder::PossibleValuesParser;
use squall_core::fault::registry;

use super::out::{say, table};
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All about this kind
    #[arg(value_parser = names())]
    kind: Option<String>,
}

pub(crate) fn run(args: Args) -> Outcome {
    let Some(kind) = args.kind.as_deref().and_then(registry::kind) else {
        table(
            &registry::KINDS.iter().map(|kind| vec![kind.name.to_owned(), kind.about.to_owned()]).collect::<Vec<_>>(),
        );
        return Ok(Exit::Done);
    };
    say!("{}: {}", kind.name, kind.about);
    let (direction, effect) = (kind.direction_word(), kind.effect_words());
    say!("direction {direction}; {effect}{}", if kind.http_only { "; needs HTTP: checked, not run" } else { "" });
    say!("");
    fields(kind);
    say!("");
    say!("{}", kind.example.trim());
    Ok(Exit::Done)
}

/// The kind's own fields, from its schema.
fn fields(kind: &registry::Entry) {
    let schema = (kind.schema)(&mut schemars::SchemaGenerator::default());
    let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) else { return };
    let about = |field: &serde_json::Value| {
        let text = field.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    table(&properties.iter().map(|(name, field)| vec![name.clone(), about(field)]).collect::<Vec<_>>());
}

/// The kinds as values of an argument: help, completions and the nearest word for a wrong one come from it.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(registry::KINDS.iter().map(|kind| kind.name))
}
