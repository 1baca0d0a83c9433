//! Errors as answers: `application/problem+json`, and which status stands for what.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use squall_core::diagnostic::{Diagnostic, Severity};
use squall_core::plane::PlaneError;
use squall_drill::view::Refusal;

use crate::api::{Mistake, Problem};
use crate::audit::Refused;

/// The content type of every error.
pub const CONTENT: &str = "application/problem+json";

/// A request that could not be answered as asked.
#[derive(Clone, Debug)]
pub(crate) struct Failure(StatusCode, Box<Problem>);

impl Failure {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Failure {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        };
        Failure(status, Box::new(problem))
    }

    /// In one line.
    fn reason(&self) -> String {
        let errors: Vec<&str> = self.1.errors.iter().map(|mistake| mistake.message.as_str()).collect();
        match errors.as_slice() {
            [] => self.1.detail.clone(),
            [one] if *one == self.1.detail => self.1.detail.clone(),
            errors => format!("{}: {}", self.1.detail, errors.join("; ")),
        }
    }

    /// What is sent.
    pub(crate) fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.1).unwrap_or_default()
    }

    /// A field of the body that can't be taken.
    pub(crate) fn field(field: &str, message: impl Into<String>) -> Failure {
        let message = message.into();
        let mut failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, &*message);
        failure.1.errors.push(Mistake { message, field: Some(field.to_owned()), ..Mistake::default() });
        failure
    }

    /// A body that is not what its content type says, or does not have the fields that are expected.
    pub(crate) fn json(error: &serde_json::Error) -> Failure {
        let status = match error.is_data() {
            true => StatusCode::UNPROCESSABLE_ENTITY,
            false => StatusCode::BAD_REQUEST,
        };
        let mut failure = Failure::new(status, format!("the body can't be taken: {error}"));
        failure.1.errors.push(Mistake {
            message: error.to_string(),
            line: Some(error.line()),
            column: Some(error.column()),
            ..Mistake::default()
        });
        failure
    }

    /// Everything that is wrong with what was read.
    pub(crate) fn diagnostics(what: &str, diagnostics: &[Diagnostic]) -> Failure {
        let errors: Vec<Mistake> = diagnostics.iter().filter(|d| d.severity == Severity::Error).map(mistake).collect();
        let detail = match errors.as_slice() {
            [] => format!("the {what} is refused"),
            [one] => one.message.clone(),
            [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
        };
        let mut failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        failure.1.errors = errors;
        failure
    }
}

fn mistake(diagnostic: &Diagnostic) -> Mistake {
    let (line, column) = diagnostic
        .source
        .as_ref()
        .zip(diagnostic.span.as_ref())
        .map(|(source, span)| position(&source.text, span.start))
        .unzip();
    Mistake {
        message: diagnostic.message.clone(),
        field: diagnostic.field.clone(),
        line,
        column,
        expected: diagnostic.label.clone(),
        help: diagnostic.help.clone(),
    }
}

/// Line and column (in characters), from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let offset = (0..=offset.min(text.len())).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let status = match refusal {
            Refusal::Unknown(_) => StatusCode::NOT_FOUND,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::State(_) | Refusal::NotArmed(_) | Refusal::TooMany(_) | Refusal::Lever(_) => StatusCode::CONFLICT,
        };
        let detail = match &refusal {
            Refusal::NotArmed(_) => "it can not start".to_owned(),
            other => other.to_string(),
        };
        let mut failure = Failure::new(status, detail);
        if let Refusal::NotArmed(why) = refusal {
            let mistake = |message| Mistake { message, ..Mistake::default() };
            failure.1.errors = why.into_iter().map(mistake).collect();
        }
        failure
    }
}

impl From<PlaneError> for Failure {
    fn from(error: PlaneError) -> Failure {
        let detail = error.to_string();
        match error {
            PlaneError::Unknown(_) => Failure::new(StatusCode::NOT_FOUND, detail),
            PlaneError::Exists(_) | PlaneError::Bind(..) => Failure::new(StatusCode::CONFLICT, detail),
            PlaneError::Loop(_) | PlaneError::Denied(_) => Failure::field("upstream", detail),
            PlaneError::Unable(_) => Failure::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
            PlaneError::Gone => Failure::new(StatusCode::SERVICE_UNAVAILABLE, detail),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.0, self.body()).into_response();
        response.extensions_mut().insert(Refused(self.reason()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("ab\nüc", 5), (2, 2));
        assert_eq!(position("ab\nüc", 4), (2, 1)); // in the middle of a character
        assert_eq!(position("a\n", 99), (2, 1));
    }
}
