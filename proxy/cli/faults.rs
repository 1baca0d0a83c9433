//! `squall faults [KIND]`

use std::sync::LazyLock;

use clap::builder::{PossibleValue, PossibleValuesParser};
use squall_core::fault::registry;
use squall_core::preset;

use super::out::{say, table};
use crate::exit::{Exit, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// All about this kind or preset
    #[arg(value_parser = names(|preset| preset.strip_prefix("preset=")))]
    kind: Option<String>,
}

pub(crate) fn run(args: Args) -> Outcome {
    if let Some((name, link)) = args.kind.as_deref().and_then(|name| Some((name, preset::find(name)?))) {
        network(name, &link);
        return Ok(Exit::Done);
    }
    let Some(kind) = args.kind.as_deref().and_then(registry::kind) else {
        let kinds = registry::KINDS.iter().map(|kind| vec![kind.name.to_owned(), kind.about.to_owned()]);
        table(&kinds.collect::<Vec<_>>());
        say!("");
        say!("presets, in place of a kind:");
        let links = preset::listed().map(|(name, link)| vec![(*name).to_owned(), link.about()]);
        let pairs =
            vec!["aws:REGION/REGION".to_owned(), format!("between any two of {}", preset::AWS_REGIONS.join(", "))];
        table(&links.chain([pairs]).collect::<Vec<_>>());
        return Ok(Exit::Done);
    };
    say!("{}: {}", kind.name, kind.about);
    let (whom, effect, serves) = (kind.whom_words(), kind.effect_words(), kind.serves_words());
    say!("For {serves}. {whom}; {effect}{}", if kind.is_http_only() { "; needs `protocol = \"http\"`" } else { "" });
    if let Some(phases) = kind.phases_words() {
        say!("{}", phases.replace('`', ""));
    }
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

/// A preset, and the faults that it stands for.
fn network(name: &str, link: &preset::Link) {
    say!("{name}: {}", link.about());
    say!("source: {} ({})", link.source, link.as_of);
    say!("");
    let part = |part: preset::Part| {
        let fields = part.fields.iter().map(|(key, value)| format!("{key} = \"{value}\"")).collect::<Vec<_>>();
        vec![part.suffix.to_owned(), part.kind.to_owned(), fields.join(", ")]
    };
    table(&link.parts().into_iter().map(part).collect::<Vec<_>>());
    say!("");
    say!("[[fault]]\npreset = \"{name}\"\nproxy  = \"redis\"");
}

/// `preset=NAME` of every preset.
static PRESETS: LazyLock<Vec<String>> =
    LazyLock::new(|| preset::names().iter().map(|name| format!("preset={name}")).collect());

/// The kinds and presets as values of an argument: help, completions and the nearest word for a wrong one come from it.
/// `words` makes the values of `preset=NAME`.
pub(crate) fn names(words: impl Fn(&'static str) -> Option<&'static str>) -> PossibleValuesParser {
    let kinds = registry::KINDS.iter().map(|kind| PossibleValue::new(kind.name));
    let presets = PRESETS.iter().filter_map(|preset| words(preset));
    // pairs of regions are too many for a help
    let presets = presets.map(|preset| PossibleValue::new(preset).hide(preset.contains('/')));
    PossibleValuesParser::new(kinds.chain(presets).collect::<Vec<_>>())
}
