//! `error`: an HTTP answer instead of the upstream's. It can be written and checked; it acts once squall speaks HTTP.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Effect, Fault, Flow, Hooks, Phase};

/// Answers a request with a status, headers and a body, in place of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// 100 to 599.
    pub status: u16,
    /// Added to the answer; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Sent as it is.
    pub body: Option<String>,
}

/// The fields of an error.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The status of the answer, 100 to 599. Default 503.
    #[serde(default = "unavailable")]
    #[schemars(range(min = 100, max = 599))]
    http_status: u16,
    /// Headers of the answer.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its body. Default: empty.
    body: Option<String>,
}

fn unavailable() -> u16 {
    503
}

impl Kind for Error {
    const NAME: &'static str = "error";
    const ABOUT: &'static str = "Answers HTTP requests with a status of its own (needs HTTP)";
    const EXAMPLE: &'static str = r#"[[fault]]
kind        = "error"
proxy       = "redis"
http_status = 503
headers     = { "retry-after" = "2" }
body        = '{"error":"upstream overloaded"}'
"#;
    const DIRECTION: Option<Flow> = None;
    const PHASES: &'static [Phase] = &[Phase::BeforeUpstream, Phase::BeforeConnect, Phase::AfterUpstream];
    type Config = Config;
    type Makes = Error;

    fn build(config: Config) -> Result<Error, Misfit> {
        if !(100..=599).contains(&config.http_status) {
            let message = format!("`http_status` must be from 100 to 599, not {}", config.http_status);
            return Err(Misfit::new("http_status", message));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in config.headers {
            check_header(&name, &value)?;
            headers.insert(name.to_ascii_lowercase(), value);
        }
        Ok(Error { status: config.http_status, headers, body: config.body })
    }

    fn summary(fault: &Error) -> String {
        format!("status {}", fault.status)
    }
}

/// A header that could split the answer in two is refused (RFC 9110, 5.1 and 5.5).
fn check_header(name: &str, value: &str) -> Result<(), Misfit> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Misfit::new("headers", format!("`{name}` is not a header name")));
    }
    if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        return Err(Misfit::new("headers", format!("the value of `{name}` holds a control character")));
    }
    Ok(())
}

impl Fault for Error {
    const KIND: &'static str = "error";
    const HOOKS: Hooks = Hooks::EXCHANGE;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = ();
    type State = ();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_http_is_refused() {
        let build = |text: &str| Error::build(toml::from_str(text).unwrap());
        assert_eq!(build("").unwrap().status, 503);
        assert_eq!(build("headers = { 'X-A' = 'b' }").unwrap().headers["x-a"], "b");
        assert_eq!(build("http_status = 700").unwrap_err().field, Some("http_status"));
        for headers in ["{ 'a b' = '1' }", "{ '' = '1' }", "{ a = \"1\\r\\nb: 2\" }"] {
            assert_eq!(build(&format!("headers = {headers}")).unwrap_err().field, Some("headers"), "{headers}");
        }
    }
}
