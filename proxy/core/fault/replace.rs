//! `replace`: another body in the place of a message's own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::template::Template;
use crate::fault::words::{check_headers, check_status, pairs};
use crate::fault::{Asked, Cx, Effect, Fault, Flow, Hooks, Injection, NewBody, Patch, Phase, Ruling, What};
use crate::http::StatusCode;

/// Puts a body in the place of the answer's, or upstream of the request's. Head and status stay unless others are written:
/// an error inside a 200 is what services send whose clients look at the status alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    body: Template,
    set: Vec<(String, String)>,
    status: Option<StatusCode>,
}

/// The fields of a replacement.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The new body. `{{method}}`, `{{path}}`, `{{host}}`, `{{number}}` (of the request on its connection, from 0) and
    /// `{{header:NAME}}` stand for what the request says, as it says it. Default: empty.
    body: Option<String>,
    /// Instead of it, a file beside the scenario that holds it: text of at most 1 MiB.
    body_file: Option<String>,
    /// What the body is said to be. Default: what the old one was.
    content_type: Option<String>,
    /// Headers that take the place of those of their names. `content-length` and the like are squall's.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Another status for the answer: 200 to 599. Default: its own.
    #[schemars(range(min = 200, max = 599))]
    http_status: Option<u16>,
}

impl Kind for Replace {
    const NAME: &'static str = "replace";
    const ABOUT: &'static str =
        "Puts another body in the place of an answer's or a request's, such as an error inside a 200";
    const EXAMPLE: &'static str = r#"[[fault]]
kind         = "replace"
proxy        = "redis"
body         = '{"errors":[{"type":"RATE_LIMITED","message":"API rate limit exceeded"}]}'
content_type = "application/json"
match        = { path = "/graphql" }
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Replace;

    fn build(config: Config) -> Result<Replace, Misfit> {
        let Config { body, body_file, content_type, headers, http_status } = config;
        check_headers("headers", &headers)?;
        let mut set = pairs(headers);
        if let Some(content_type) = content_type {
            check_headers("content_type", [(&"content-type".to_owned(), &content_type)])?;
            if set.iter().any(|(name, _)| name == "content-type") {
                return Err(Misfit::new("content_type", "it stands in `headers` too: write one of the two"));
            }
            set.push(("content-type".to_owned(), content_type));
        }
        let status = http_status.map(check_status).transpose()?;
        if status == Some(StatusCode::SWITCHING_PROTOCOLS) {
            return Err(Misfit::new("http_status", "an answer of 101 has no body"));
        }
        let body = crate::fault::words::body(body, body_file)?.unwrap_or_default();
        Ok(Replace { body, set, status })
    }

    fn summary(fault: &Replace) -> String {
        fault.status.map_or_else(|| "another body".into(), |status| format!("another body, status {}", status.as_u16()))
    }
}

/// Fields about the old body that are not true of a new one (RFC 9110, 8.4, 8.8.3 and 14.4; RFC 9530).
const STALE: [&str; 6] = ["content-encoding", "content-md5", "content-digest", "repr-digest", "content-range", "etag"];

impl Fault for Replace {
    const KIND: &'static str = "replace";
    const HOOKS: Hooks = Hooks::EXCHANGE;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = ();
    type State = ();

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let body = self.body.render(asked.request, cx.exchange.map_or(0, |exchange| exchange.number));
        let (what, step) = (What::Patched, asked.step());
        cx.inject(Injection { what, step, draw: None, drawn: 0, scheduled: 0, achieved: 0 });
        Ruling::Patch(Box::new(Patch {
            status: self.status.filter(|_| cx.flow == Flow::Downstream),
            remove: STALE.map(str::to_owned).to_vec(),
            set: self.set.clone(),
            body: Some(NewBody::Put(body)),
            ..Patch::of(cx.flow)
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::http::{Request, Response};

    fn build(text: &str) -> Result<Replace, Misfit> {
        Replace::build(toml::from_str(text).unwrap())
    }

    #[test]
    fn an_error_stands_inside_a_200() {
        let text = "body = '{\"path\":\"{{path}}\"}'\ncontent_type = 'application/json'\nheaders = { 'X-A' = 'b' }";
        let request = Request { target: "/graphql?q".into(), ..Request::default() };
        let mut driver = Driver::new(build(text).unwrap(), Flow::Downstream).of(request, Some(Response::default()));
        let (_, Some(Ruling::Patch(patch))) = driver.rule(Phase::MidBody) else { panic!("no patch") };
        let Some(NewBody::Put(body)) = &patch.body else { panic!("{patch:?}") };
        assert_eq!((patch.side, patch.status, &body[..]), (Flow::Downstream, None, &b"{\"path\":\"/graphql\"}"[..]));
        let set = [("x-a", "b"), ("content-type", "application/json")].map(|(name, value)| (name.into(), value.into()));
        assert!(patch.set == set && patch.remove.contains(&"content-encoding".to_owned()));
        assert_eq!(driver.injected.iter().map(|i| i.what).collect::<Vec<_>>(), [What::Patched]);
    }

    #[test]
    fn a_request_is_replaced_before_there_is_an_answer() {
        let fault = build("body = 'x'\nhttp_status = 500").unwrap();
        let mut driver = Driver::new(fault, Flow::Upstream).of(Request::default(), None);
        let (_, Some(Ruling::Patch(patch))) = driver.rule(Phase::MidBody) else { panic!("no patch") };
        assert_eq!((patch.side, patch.status), (Flow::Upstream, None), "a request has no status");
        for (text, field) in [
            ("content_type = 'a'\nheaders = { 'Content-Type' = 'b' }", "content_type"),
            ("http_status = 101", "http_status"),
            ("http_status = 103", "http_status"),
            ("headers = { 'transfer-encoding' = 'chunked' }", "headers"),
            ("body_file = 'a'", "body_file"),
        ] {
            assert_eq!(build(text).unwrap_err().field, Some(field), "{text}");
        }
    }
}
