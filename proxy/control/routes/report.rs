//! The report of a run: JSON, or Markdown for those who ask for it.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use super::Port;
use crate::pool::Lane;
use crate::problem::Failure;

pub(super) async fn report(
    State(port): State<Port>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let wants_markdown = wants_markdown(&headers)?;
    let app = port.app;
    let (json, markdown) = port.pool.run(Lane::Quick, move || app.experiments().report(&id)).await??;
    Ok(match wants_markdown {
        true => ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], markdown).into_response(),
        false => Json(json).into_response(),
    })
}

/// What of the two is preferred; JSON if nothing is said or both are welcome alike.
fn wants_markdown(headers: &HeaderMap) -> Result<bool, Failure> {
    let given: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if given.is_empty() {
        return Ok(false);
    }
    let (json, markdown) = (weight(&given, "application", "json"), weight(&given, "text", "markdown"));
    match json.max(markdown) > 0.0 {
        true => Ok(markdown > json),
        false => Err(Failure::new(StatusCode::NOT_ACCEPTABLE, "a report is application/json or text/markdown")),
    }
}

/// The `q` of the most specific range that covers the type, 0 if none does.
fn weight(accept: &[&str], kind: &str, subtype: &str) -> f32 {
    let mut best = (0, 0.0);
    for range in accept.iter().flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let specific = match parts.next().and_then(|range| range.split_once('/')) {
            Some(("*", "*")) => 1,
            Some((of, "*")) if of.eq_ignore_ascii_case(kind) => 2,
            Some((of, sub)) if of.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => 3,
            _ => continue,
        };
        let q = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        if specific > best.0 {
            best = (specific, q);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_preferred_form_is_chosen() {
        for (accept, markdown) in [
            ("text/markdown", Some(true)),
            ("text/*", Some(true)),
            ("application/json", Some(false)),
            ("*/*", Some(false)),
            ("text/markdown, */*;q=0.1", Some(true)),
            ("text/markdown;q=0.5, application/json", Some(false)),
            ("text/html", None),
            ("application/json;q=0", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_markdown(&headers).ok(), markdown, "{accept}");
        }
        assert_eq!(wants_markdown(&HeaderMap::new()).ok(), Some(false));
    }
}
