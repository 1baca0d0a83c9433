//! What the fields of several kinds have in common: statuses, headers and bodies of messages.

use std::collections::BTreeMap;

use super::registry::Misfit;
use super::template::Template;
use crate::http::{StatusCode, is_field_name, is_field_value};

/// Fields that say where a message ends or how its connection goes on: squall's alone (RFC 9110, 7.6.1; RFC 9112, 6).
const FRAMING: [&str; 7] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// Refuses headers that could split a message in two, or make its end ambiguous (RFC 9110, 5.1 and 5.5). `field` is where
/// they are written.
pub(super) fn check_headers<'a>(
    field: &'static str,
    headers: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), Misfit> {
    for (name, value) in headers {
        check_header_name(field, name)?;
        if !is_field_value(value.as_bytes()) {
            return Err(Misfit::new(field, format!("the value of `{name}` holds a control character")));
        }
    }
    Ok(())
}

/// The same for a name alone.
pub(super) fn check_header_name(field: &'static str, name: &str) -> Result<(), Misfit> {
    if !is_field_name(name.as_bytes()) {
        return Err(Misfit::new(field, format!("`{name}` is not a header name")));
    }
    if FRAMING.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        let help = "a wrong length is kind = \"cut\" with `content_length_off_by`";
        let message =
            format!("`{name}` says where a message ends or what becomes of its connection: that is squall's; {help}");
        return Err(Misfit::new(field, message));
    }
    Ok(())
}

/// Headers in the order of their names, which are small.
pub(super) fn pairs(headers: BTreeMap<String, String>) -> Vec<(String, String)> {
    headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

/// A status that may end an exchange: 101, or 200 to 599. The other 1xx are interim answers (RFC 9110, 15.2).
pub(super) fn check_status(status: u16) -> Result<StatusCode, Misfit> {
    let message = match status {
        101 | 200..=599 => match StatusCode::from_u16(status) {
            Ok(status) => return Ok(status),
            Err(error) => error.to_string(),
        },
        100..=199 => format!("{status} is an interim answer: another has to follow it"),
        _ => format!("`http_status` must be 101 or from 200 to 599, not {status}"),
    };
    Err(Misfit::new("http_status", message))
}

/// Whether an answer with this status never has a body (RFC 9110, 6.4.1).
pub(super) fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// `body` or `body_file`; the latter's text stands in `body` by the time a scenario's file is read.
pub(super) fn body(body: Option<String>, body_file: Option<String>) -> Result<Option<Template>, Misfit> {
    if body_file.is_some() {
        let message = match body {
            Some(_) => "`body` and `body_file` exclude each other",
            None => "a file is read only where a scenario's own file names it: give `body`",
        };
        return Err(Misfit::new("body_file", message));
    }
    let body = body.map(|text| Template::parse(&text)).transpose();
    body.map_err(|why| Misfit::new("body", why))
}
