//! `error`: an HTTP or gRPC answer of the fault's own, instead of the upstream's.

pub mod grpc;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use self::grpc::{GrpcStatus, percent_encoded};
use crate::fault::registry::{Kind, Misfit};
use crate::fault::template::Template;
use crate::fault::words::{check_headers, check_status, has_no_body, pairs};
use crate::fault::{Asked, Cx, Effect, Fault, Flow, Hooks, Injection, Phase, Reply, Ruling, What};
use crate::http::{Fields, Response, StatusCode};

/// Answers a request in place of the upstream: before it hears of it, or once it has acted.
///
/// A gRPC error is a response that consists of trailers only: status 200, and `grpc-status` among its fields (gRPC over
/// HTTP/2, "Responses").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// 101, or 200 to 599.
    status: StatusCode,
    fields: Vec<(String, String)>,
    body: Template,
    grpc: Option<GrpcStatus>,
}

/// The fields of an error.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The status of the answer: 101, or 200 to 599. Default 503.
    #[schemars(range(min = 101, max = 599))]
    http_status: Option<u16>,
    /// Instead of it, a gRPC status: 0 to 16 or its name, such as "UNAVAILABLE". The answer is that of a gRPC server that
    /// fails at once.
    grpc_status: Option<GrpcStatus>,
    /// With `grpc_status`: its message.
    grpc_message: Option<String>,
    /// Headers of the answer. `content-length` and the like are squall's.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its body. `{{method}}`, `{{path}}`, `{{host}}`, `{{number}}` (of the request on its connection, from 0) and
    /// `{{header:NAME}}` stand for what the request says, as it says it. Default: empty.
    body: Option<String>,
    /// Instead of it, a file beside the scenario that holds it: text of at most 1 MiB.
    body_file: Option<String>,
}

impl Kind for Error {
    const NAME: &'static str = "error";
    const ABOUT: &'static str =
        "Answers HTTP requests with a status of its own, before the upstream or after it has acted";
    const EXAMPLE: &'static str = r#"[[fault]]
kind        = "error"
proxy       = "redis"
phase       = "before_upstream"
http_status = 503
headers     = { "retry-after" = "2" }
body        = '{"error":"upstream overloaded","path":"{{path}}"}'
"#;
    const DIRECTION: Option<Flow> = None;
    const PHASES: &'static [Phase] =
        &[Phase::BeforeUpstream, Phase::BeforeConnect, Phase::AfterUpstreamHead, Phase::AfterUpstream];
    type Config = Config;
    type Makes = Error;

    fn build(config: Config) -> Result<Error, Misfit> {
        let Config { http_status, grpc_status, grpc_message, headers, body, body_file } = config;
        check_headers("headers", &headers)?;
        let body = crate::fault::words::body(body, body_file)?;
        let Some(grpc) = grpc_status else {
            if grpc_message.is_some() {
                return Err(Misfit::new("grpc_message", "`grpc_message` belongs to a `grpc_status`"));
            }
            let status = check_status(http_status.unwrap_or(503))?;
            if body.is_some() && has_no_body(status) {
                return Err(Misfit::new("body", format!("an answer with the status {} has no body", status.as_u16())));
            }
            let body = body.unwrap_or_default();
            return Ok(Error { status, fields: pairs(headers), body, grpc: None });
        };
        if http_status.is_some() {
            return Err(Misfit::new("http_status", "a gRPC error has the status 200: write one of the two"));
        }
        if body.is_some() {
            return Err(Misfit::new("body", "a gRPC error has no body: its text is `grpc_message`"));
        }
        let mut fields = vec![("content-type".to_owned(), "application/grpc".to_owned())];
        fields.push(("grpc-status".to_owned(), grpc.code().to_string()));
        fields.extend(grpc_message.map(|message| ("grpc-message".to_owned(), percent_encoded(&message))));
        fields.extend(pairs(headers));
        Ok(Error { status: StatusCode::OK, fields, body: Template::default(), grpc: Some(grpc) })
    }

    fn summary(fault: &Error) -> String {
        match fault.grpc {
            Some(grpc) => format!("gRPC status {grpc}"),
            None => format!("status {}", fault.status.as_u16()),
        }
    }
}

impl Fault for Error {
    const KIND: &'static str = "error";
    const HOOKS: Hooks = Hooks::EXCHANGE;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = ();
    type State = ();

    fn exchange(&self, cx: &mut Cx<'_, Self>, asked: &Asked<'_>) -> Ruling {
        let (what, status) = (What::Replied, u64::from(self.status.as_u16()));
        let step = asked.step();
        cx.inject(Injection { what, step, draw: None, drawn: status, scheduled: status, achieved: status });
        let fields: Fields = self.fields.iter().map(|(name, value)| (name, value)).collect();
        let head = Response { status: self.status, fields, ..Response::default() };
        let body = self.body.render(asked.request, cx.exchange.map_or(0, |exchange| exchange.number));
        Ruling::Answer { reply: Box::new(Reply { head, body, trailers: None }), upstream: asked.upstream() }
    }
}
