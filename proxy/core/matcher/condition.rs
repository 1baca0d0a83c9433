//! One rule, compiled, and what it looks at of a request and its answer.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::pattern::{Subject, Text};
use super::sets::{Found, Place};
use super::{MatchSpec, Network, Pattern, SizeRange, StatusRange};
use crate::http::{Request, Response, host, normal_path, parameters, plain_host};
use crate::unit::Bytes;

/// What a rule may look at besides the request's head.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The client's address; none: it has none, as on a unix socket.
    pub client: Option<IpAddr>,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
    /// The protocols that the client offers in it.
    pub alpn: &'a [Vec<u8>],
    /// Length of the request's body in bytes, from Content-Length; none: not known beforehand.
    pub request_size: Option<u64>,
    /// The answer's head, once it is there.
    pub response: Option<&'a Response>,
}

/// A rule: all of it must hold.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The cheap ones first.
    pub(super) conditions: Vec<Condition>,
    pub(super) not: Option<Box<Rule>>,
    pub(super) any: Option<Vec<Rule>>,
    pub(super) all: Vec<Rule>,
}

/// One line of a rule.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Method(Vec<String>),
    Status(Vec<StatusRange>),
    Size(SizeRange),
    Source(Vec<Network>),
    Alpn(Vec<String>),
    Text(Box<TextCondition>),
}

#[derive(Clone, Debug)]
pub(super) struct TextCondition {
    pub(super) subject: Subject,
    pub(super) pattern: Pattern,
    pub(super) text: Text,
    /// Where the expressions of all rules about this subject are evaluated together.
    pub(super) place: Option<Place>,
}

impl Rule {
    pub(super) fn compile(spec: &MatchSpec) -> Rule {
        Rule {
            conditions: conditions(spec),
            not: spec.not.as_deref().map(|rule| Box::new(Rule::compile(rule))),
            any: spec.any.as_ref().map(|rules| rules.iter().map(Rule::compile).collect()),
            all: spec.all.iter().flatten().map(Rule::compile).collect(),
        }
    }

    /// Whether it holds; `found`: what expressions evaluated together have found.
    pub(super) fn holds(&self, view: &View<'_>, found: Option<&Found<'_>>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(view, found))
            && self.not.as_ref().is_none_or(|rule| !rule.holds(view, found))
            && self.any.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.holds(view, found)))
            && self.all.iter().all(|rule| rule.holds(view, found))
    }

    /// An expression that must hold for the rule to hold, and that is evaluated with others.
    pub(super) fn place(&self) -> Option<Place> {
        let own = self.conditions.iter().find_map(|condition| match condition {
            Condition::Text(one) => one.place,
            _ => None,
        });
        own.or_else(|| self.all.iter().find_map(Rule::place))
    }

    /// All text conditions, nested ones too.
    pub(super) fn texts(&mut self, each: &mut impl FnMut(&mut TextCondition)) {
        for condition in &mut self.conditions {
            if let Condition::Text(text) = condition {
                each(text);
            }
        }
        let nested = self.not.iter_mut().map(|rule| &mut **rule).chain(self.any.iter_mut().flatten());
        nested.chain(&mut self.all).for_each(|rule| rule.texts(each));
    }
}

/// The conditions of one level of a rule.
pub(super) fn conditions(spec: &MatchSpec) -> Vec<Condition> {
    let mut all = Vec::new();
    all.extend(spec.method.iter().map(|list| Condition::Method(list.iter().map(|method| method.0.clone()).collect())));
    all.extend(spec.status.iter().map(|list| Condition::Status(list.clone())));
    all.extend(spec.request_size.map(Condition::Size));
    all.extend(spec.source.iter().map(|list| Condition::Source(list.clone())));
    all.extend(spec.alpn.iter().map(|list| Condition::Alpn(list.clone())));
    let single = [
        (Subject::Path, &spec.path),
        (Subject::Host, &spec.host),
        (Subject::Sni, &spec.sni),
        (Subject::ContentType, &spec.content_type),
        (Subject::GrpcService, &spec.grpc_service),
        (Subject::GrpcMethod, &spec.grpc_method),
    ];
    let single = single.into_iter().filter_map(|(subject, pattern)| Some((subject, pattern.as_ref()?)));
    let query = spec.query.iter().map(|(name, pattern)| (Subject::Query(name.clone()), pattern));
    let headers = spec.headers.iter().map(|(name, pattern)| (Subject::Header(name.to_ascii_lowercase()), pattern));
    let answer = spec.response_headers.iter();
    let answer = answer.map(|(name, pattern)| (Subject::ResponseHeader(name.to_ascii_lowercase()), pattern));
    let mut texts: Vec<TextCondition> =
        single.chain(query).chain(headers).chain(answer).map(TextCondition::new).collect();
    texts.sort_by_key(|text| matches!(text.text, Text::Regex(_)));
    all.extend(texts.into_iter().map(|text| Condition::Text(Box::new(text))));
    all
}

impl TextCondition {
    fn new((subject, pattern): (Subject, &Pattern)) -> TextCondition {
        TextCondition { text: Text::compile(&subject, pattern), pattern: pattern.clone(), subject, place: None }
    }
}

impl Condition {
    pub(super) fn holds(&self, view: &View<'_>, found: Option<&Found<'_>>) -> bool {
        match self {
            Condition::Method(list) => list.iter().any(|method| method == view.request.method.as_str()),
            Condition::Status(list) => view.facts.response.is_some_and(|response| {
                let status = response.status.as_u16();
                list.iter().any(|range| (range.low..=range.high).contains(&status))
            }),
            Condition::Size(range) => {
                view.facts.request_size.is_some_and(|size| (range.min.0..=range.max.0).contains(&size))
            }
            Condition::Source(list) => {
                view.facts.client.is_some_and(|client| list.iter().any(|network| network.contains(client)))
            }
            Condition::Alpn(list) => {
                list.iter().any(|name| view.facts.alpn.iter().any(|offered| offered == name.as_bytes()))
            }
            Condition::Text(one) => match (&one.text, one.place, found) {
                (Text::Absent, ..) => !view.any(&one.subject, |_| true),
                (_, Some(place), Some(found)) => found.holds(place, view),
                (text, ..) => view.any(&one.subject, |value| text.takes(value)),
            },
        }
    }
}

/// A request as rules see it.
pub(super) struct View<'a> {
    pub(super) request: &'a Request,
    pub(super) facts: &'a Facts<'a>,
    /// In normal form.
    pub(super) path: Cow<'a, str>,
    /// None: it asks for none.
    pub(super) host: Option<Cow<'a, str>>,
}

impl<'a> View<'a> {
    pub(super) fn new(request: &'a Request, facts: &'a Facts<'a>) -> View<'a> {
        View { request, facts, path: normal_path(request.path()), host: host(request) }
    }

    /// Whether one of the values of a subject passes a test.
    pub(super) fn any(&self, subject: &Subject, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        let mut text = |value: Option<&str>| value.is_some_and(|value| test(value.as_bytes()));
        match subject {
            Subject::Path => text(Some(&self.path)),
            Subject::Host => text(self.host.as_deref()),
            Subject::Sni => text(self.sni().as_deref()),
            Subject::ContentType => text(self.content_type().as_deref()),
            Subject::GrpcService => text(self.grpc().map(|(service, _)| service)),
            Subject::GrpcMethod => text(self.grpc().map(|(_, method)| method)),
            Subject::Query(name) => self.parameters().any(|(other, value)| other == *name && test(value.as_bytes())),
            // `authority` stands for it, whatever the version
            Subject::Header(name) if name == "host" => {
                !self.request.authority.is_empty() && test(self.request.authority.as_bytes())
            }
            Subject::Header(name) => self.request.fields.values(name).any(test),
            Subject::ResponseHeader(name) => {
                self.facts.response.is_some_and(|response| response.fields.values(name).any(test))
            }
        }
    }

    pub(super) fn sni(&self) -> Option<Cow<'a, str>> {
        self.facts.sni.map(plain_host)
    }

    /// Without parameters, in small letters.
    pub(super) fn content_type(&self) -> Option<String> {
        let value = self.request.fields.text("content-type")?;
        Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
    }

    /// Service and method of a call: the path `/package.Service/Method` with a content type of gRPC.
    pub(super) fn grpc(&self) -> Option<(&str, &str)> {
        let (service, method) = self.path.strip_prefix('/')?.split_once('/')?;
        let fits = !service.is_empty() && !method.is_empty() && !method.contains('/');
        (fits && is_grpc(&self.content_type()?)).then_some((service, method))
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        parameters(self.request.query().unwrap_or_default())
    }
}

/// Whether a content type without parameters is one of gRPC: `application/grpc`, with `+proto` and the like; gRPC-Web too.
pub(super) fn is_grpc(content_type: &str) -> bool {
    content_type.strip_prefix("application/grpc").is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-']))
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Path => f.write_str("path"),
            Subject::Host => f.write_str("host"),
            Subject::Sni => f.write_str("sni"),
            Subject::ContentType => f.write_str("content_type"),
            Subject::GrpcService => f.write_str("grpc_service"),
            Subject::GrpcMethod => f.write_str("grpc_method"),
            Subject::Query(name) => write!(f, "query.{name}"),
            Subject::Header(name) => write!(f, "headers.{name}"),
            Subject::ResponseHeader(name) => write!(f, "response_headers.{name}"),
        }
    }
}

/// What must hold, as the language says it.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |words: Vec<String>| words.join(" or ");
        match self {
            Condition::Method(methods) => f.write_str(&list(methods.clone())),
            Condition::Status(ranges) => f.write_str(&list(ranges.iter().map(StatusRange::to_string).collect())),
            Condition::Source(networks) => f.write_str(&list(networks.iter().map(Network::to_string).collect())),
            Condition::Size(SizeRange { min, max }) if *max == Bytes::MAX => write!(f, "at least {min}"),
            Condition::Size(SizeRange { min, max }) => write!(f, "{min} to {max}"),
            Condition::Alpn(names) => f.write_str(&list(names.clone())),
            Condition::Text(one) => one.pattern.fmt(f),
        }
    }
}
