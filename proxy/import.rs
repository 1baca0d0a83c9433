//! Scenarios from the fault configuration of other programs. What can't be carried over stands as a comment at its place: a
//! condition that is dropped would make a fault wider than it was, so the fault is left out with it.

mod draft;
mod envoy;
mod istio;
mod object;
mod rule;
mod words;

use serde_json::Value;

pub(crate) use draft::Draft;
pub(crate) use words::name;

/// What the command line says beside the file.
#[derive(Debug)]
pub(crate) struct Wish {
    /// The experiment's name.
    pub(crate) name: String,
    /// The proxy of all faults; none: the file tells.
    pub(crate) proxy: Option<String>,
    /// The end that other programs' faults don't have, in the language's words.
    pub(crate) max_duration: String,
}

/// Envoy's configuration: bootstrap, listener, route configuration or an `HTTPFault` by itself, in YAML or JSON. All fault
/// filters in it count, and per-route ones with their routes' conditions.
///
/// # Errors
/// What is wrong with the text, or that there is no fault in it.
pub(crate) fn envoy(text: &str, wish: Wish) -> Result<Draft, String> {
    let mut draft = Draft::new("Envoy's fault filter", wish);
    documents(text)?.iter().for_each(|document| envoy::read(document, &mut draft));
    draft.or_nothing("no fault filter (an object whose `@type` ends with `HTTPFault`, or its fields alone)")
}

/// Istio's `VirtualService`s, in YAML or JSON.
///
/// # Errors
/// As for [`envoy`].
pub(crate) fn istio(text: &str, wish: Wish) -> Result<Draft, String> {
    let mut draft = Draft::new("Istio's VirtualService", wish);
    documents(text)?.iter().for_each(|document| istio::read(document, &mut draft));
    draft.or_nothing("no VirtualService with a `fault`")
}

/// JSON is YAML too. Aliases and depth are bounded by the reader's own budget.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| format!("this is not YAML: {error}"))
}

#[cfg(test)]
mod tests;
