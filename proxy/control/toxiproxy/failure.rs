//! Errors in the original's form and words.

use http::StatusCode;
use squall_core::plane::PlaneError;
use squall_drill::view::Refusal;

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    pub(super) fn body(why: impl std::fmt::Display) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, format!("bad request body: {why}"))
    }

    /// `place`: the number of the proxy in a list, from 1.
    pub(super) fn missing(field: &str, place: Option<usize>) -> Failure {
        let place = place.map_or_else(String::new, |n| format!(" at proxy {n}"));
        Failure::new(StatusCode::BAD_REQUEST, format!("missing required field: {field}{place}"))
    }

    pub(super) fn no_proxy() -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "proxy not found")
    }

    pub(super) fn no_toxic() -> Failure {
        Failure::new(StatusCode::NOT_FOUND, "toxic not found")
    }

    pub(super) fn json(&self) -> String {
        let message = serde_json::Value::from(self.message.as_str());
        format!("{{\"error\":{message},\"status\":{}}}\n", self.status.as_u16())
    }
}

impl From<PlaneError> for Failure {
    fn from(error: PlaneError) -> Failure {
        match &error {
            PlaneError::Exists(_) => Failure::new(StatusCode::CONFLICT, "proxy already exists"),
            PlaneError::Unknown(_) => Failure::no_proxy(),
            PlaneError::Bind(address, why) => {
                let why = why.split(" (os error").next().unwrap_or(why).to_lowercase();
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("listen tcp {address}: bind: {why}"))
            }
            PlaneError::Loop(_) | PlaneError::Denied(_) | PlaneError::Unable(_) => {
                Failure::new(StatusCode::FORBIDDEN, error.to_string())
            }
            PlaneError::Gone => Failure::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

/// Toxics are an experiment, and whatever keeps the engine from starting or changing one (a limit, an environment, a switch
/// that somebody has thrown) is a [`Refusal`]: the client is told why, and that it lies with the server.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_the_engine_refuses_is_503_with_the_reason() {
        let failure = Failure::from(Refusal::NotArmed(vec!["one reason".into(), "and another".into()]));
        assert_eq!(failure.status, StatusCode::SERVICE_UNAVAILABLE);
        let body: serde_json::Value = serde_json::from_str(&failure.json()).unwrap_or_default();
        assert_eq!(body, serde_json::json!({ "error": "one reason; and another", "status": 503 }));
        for refusal in [
            Refusal::State("`toxiproxy-1` is over".into()),
            Refusal::TooMany(3),
            Refusal::Lever("maintenance until noon".into()),
        ] {
            let failure = Failure::from(refusal.clone());
            assert_eq!((failure.status, failure.message), (StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()));
        }
    }
}
