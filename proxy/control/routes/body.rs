//! Bodies: their content type first, then no more of them, and for no longer, than is allowed.

use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::app::Format;
use crate::problem::Failure;
use crate::server::Limits;

/// A JSON body.
pub(super) async fn json<T: DeserializeOwned>(request: Request, limits: &Limits) -> Result<T, Failure> {
    expect_json(request.headers())?;
    let body = read(request, limits.body, limits.read).await?;
    // serde reads structs from arrays too, which the document does not say.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "expected a JSON object, found an array"));
    }
    serde_json::from_slice(&body).map_err(|e| Failure::json(&e))
}

/// A scenario, and how it is written.
pub(super) async fn scenario(request: Request, limits: &Limits) -> Result<(String, Format), Failure> {
    let format = match content_type(request.headers()) {
        Some("application/toml") => Format::Toml,
        Some("application/json") => Format::Json,
        _ => return Err(unsupported("application/toml or application/json")),
    };
    let body = read(request, limits.scenario, limits.read).await?;
    if format == Format::Json {
        serde_json::from_slice::<serde::de::IgnoredAny>(&body).map_err(|e| Failure::json(&e))?;
    }
    let text = String::from_utf8(body.into()).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::new(StatusCode::BAD_REQUEST, format!("the body is not UTF-8: byte {at} is none of a character"))
    })?;
    Ok((text, format))
}

pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Failure> {
    match content_type(headers) {
        Some("application/json") => Ok(()),
        _ => Err(unsupported("application/json")),
    }
}

/// An abort may come without a body, and then needs no content type.
pub(super) fn expect_json_if_any(headers: &HeaderMap) -> Result<(), Failure> {
    let length = headers.get(CONTENT_LENGTH).map(|length| length.as_bytes());
    let is_empty = matches!(length, None | Some(b"0")) && !headers.contains_key(TRANSFER_ENCODING);
    match is_empty && !headers.contains_key(CONTENT_TYPE) {
        true => Ok(()),
        false => expect_json(headers),
    }
}

/// Without parameters (charset), if there is exactly one and the body is not compressed.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let (Some(first), None) = (given.next(), given.next()) else { return None };
    if headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    first.to_str().ok()?.split(';').next().map(str::trim)
}

fn unsupported(expected: &str) -> Failure {
    let why = format!("expected a body of content type {expected}, not compressed");
    Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
}

async fn read(request: Request, limit: usize, time: Duration) -> Result<Bytes, Failure> {
    let too_large = || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"));
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(time, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::new(StatusCode::BAD_REQUEST, "the body ended too early")),
        Err(_) => Err(Failure::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {time:?}"))),
    }
}
