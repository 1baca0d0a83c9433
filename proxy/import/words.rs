//! Durations, shares and statuses of other programs.

use serde_json::Value;
use squall_core::fault::error::grpc::GrpcStatus;
use squall_core::unit::Duration;

use super::object::Object;

/// "3s", "1.5s", "1h30m" (Go), or `{ seconds, nanos }`.
pub(super) fn duration(object: &Object<'_>, name: &'static str) -> Result<Option<Duration>, String> {
    let wrong = || format!("{} is not a duration", object.at(name));
    let Some(value) = object.field(name) else { return Ok(None) };
    let ns = match value {
        Value::String(text) => parts(text).ok_or_else(wrong)?,
        Value::Object(_) => {
            let inner = Object::of(&object.at(name), value)?;
            let seconds = inner.number("seconds")?.unwrap_or(0.0);
            let nanos = inner.number("nanos")?.unwrap_or(0.0);
            inner.nothing_else()?;
            seconds * 1e9 + nanos
        }
        _ => return Err(wrong()),
    };
    match ns {
        0.0 => Err(format!("{} is no time at all", object.at(name))),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range, by the next line
        ns if (1.0..=1e18).contains(&ns) => Ok(Some(Duration(ns.round() as u64))),
        _ => Err(wrong()),
    }
}

/// Numbers with units after each other, in ns.
fn parts(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * unit;
        rest = after;
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// `google.rpc.Code` by name or number.
pub(super) fn grpc_status(text: &str) -> Option<i64> {
    text.parse().ok().map(|status: GrpcStatus| status.code().into())
}

/// A name of the language, as near to a text as can be; none: nothing is left of it.
pub(crate) fn name(text: &str) -> Option<String> {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(fit).take(40).collect();
    Some(name.trim_matches('-').to_owned()).filter(|name| !name.is_empty())
}
