//! Rules that can match nothing, as far as it can be told: a fault behind one of them would never act.

use super::condition::{Condition, conditions, is_grpc};
use super::pattern::{Subject, Text, certain_beginning};
use super::{MatchSpec, Network, Pattern};
use crate::http::{is_field_name, segments, spell};

/// The field at fault, and the reason.
type Told = (&'static str, String);

impl MatchSpec {
    /// Why it can match nothing, if that can be told: the field and the reason.
    pub fn impossible(&self) -> Option<(&'static str, String)> {
        if let Some(told) = self.empty().or_else(|| self.unlike_any()) {
            return Some(told);
        }
        if self.not.as_deref() == Some(&MatchSpec::default()) {
            return Some(("not", "an empty rule matches everything, and its `not` nothing".into()));
        }
        if let Some((_, why)) = self.all.iter().flatten().find_map(MatchSpec::impossible) {
            return Some(("all", why));
        }
        let mut together = Together::default();
        together.add(self, None);
        if let Some(told) = together.contradiction() {
            return Some(told);
        }
        let alternative = |rule: &MatchSpec| {
            rule.impossible().or_else(|| {
                let mut together = together.clone();
                together.add(rule, Some("any"));
                together.contradiction()
            })
        };
        let any = self.any.as_ref()?.iter().map(alternative).collect::<Option<Vec<_>>>()?;
        Some(("any", any.into_iter().next()?.1))
    }

    fn empty(&self) -> Option<Told> {
        let empty = [
            ("method", self.method.as_ref().is_some_and(Vec::is_empty)),
            ("source", self.source.as_ref().is_some_and(Vec::is_empty)),
            ("alpn", self.alpn.as_ref().is_some_and(Vec::is_empty)),
            ("status", self.status.as_ref().is_some_and(Vec::is_empty)),
            ("any", self.any.as_ref().is_some_and(Vec::is_empty)),
        ];
        let (field, _) = empty.into_iter().find(|(_, empty)| *empty)?;
        Some((field, format!("an empty `{field}` matches nothing")))
    }

    /// A value that is wanted and that no request has.
    fn unlike_any(&self) -> Option<Told> {
        if let Some(why) = self.path.as_ref().and_then(no_path) {
            return Some(("path", why));
        }
        for (field, pattern) in [("host", &self.host), ("sni", &self.sni)] {
            if let Some(why) = pattern.as_ref().and_then(written).and_then(no_host) {
                return Some((field, why.into()));
            }
        }
        for (field, pattern) in [("grpc_service", &self.grpc_service), ("grpc_method", &self.grpc_method)] {
            if pattern.as_ref().and_then(written).is_some_and(|text| text.contains('/')) {
                return Some((field, "neither a service's nor a method's name has a `/`".into()));
            }
        }
        if self.content_type.as_ref().and_then(written).is_some_and(|text| text.contains(';')) {
            return Some(("content_type", "it is compared without parameters".into()));
        }
        if self.request_size.is_some_and(|size| size.min > size.max) {
            return Some(("request_size", "`min` is more than `max`".into()));
        }
        for (field, all) in [("headers", &self.headers), ("response_headers", &self.response_headers)] {
            if let Some(name) = all.keys().find(|name| !is_field_name(name.as_bytes())) {
                let help = match name.as_str() {
                    ":authority" => "; it is `host` here",
                    ":path" => "; it is `path` here",
                    ":method" => "; it is `method` here",
                    ":status" => "; it is `status` here",
                    _ => "",
                };
                return Some((field, format!("no field can have the name {name:?}{help}")));
            }
        }
        None
    }
}

/// The text of a pattern that is compared as it is written.
fn written(pattern: &Pattern) -> Option<&str> {
    match pattern {
        Pattern::Exact(text) | Pattern::Glob(text) => Some(text),
        _ => None,
    }
}

fn no_path(pattern: &Pattern) -> Option<String> {
    if let Pattern::Regex(text) = pattern {
        let unlike = certain_beginning(text).is_some_and(|text| !text.is_empty() && !text.starts_with(['/', '*']));
        return unlike.then(|| "it is over the whole path, which begins with `/`".into());
    }
    let Some(path) = written(pattern) else {
        return (*pattern == Pattern::Absent).then(|| "every request has a path".into());
    };
    let is_glob = matches!(pattern, Pattern::Glob(_));
    if is_glob && path.starts_with('*') && !path.starts_with("**") && path != "*" {
        return Some("a path begins with `/`, and `*` stays within a segment: `/*`, or `**` for any path".into());
    }
    if is_glob && path == "*" {
        return Some("a path begins with `/`, and `*` stays within a segment: `/**` is every path".into());
    }
    if !path.starts_with(['/', '*']) {
        return Some("a path begins with `/`".into());
    }
    if path.contains(['?', '#']) {
        return Some("a path is compared without its query; `query` has the parameters".into());
    }
    let spelled = spell(path.as_bytes());
    let mut parts = segments(&spelled).peekable();
    while let Some(part) = parts.next() {
        if matches!(part, "." | "..") || (part.is_empty() && parts.peek().is_some()) {
            return Some("paths are compared in normal form, in which no segment is empty, `.` or `..`".into());
        }
    }
    None
}

fn no_host(host: &str) -> Option<&'static str> {
    let bare = host.starts_with('[') && host.ends_with(']');
    match (host.contains('/'), host.matches(':').count()) {
        (true, _) => Some("it is the name alone, without scheme and path"),
        (_, 1) => Some("it is compared without its port"),
        (_, 2..) if host.starts_with('[') && !bare => Some("it is compared without its port"),
        _ => None,
    }
}

/// Rules that must hold together.
#[derive(Clone, Default)]
struct Together {
    wanted: Vec<(&'static str, Condition)>,
    /// Each must not hold as a whole; those with nested rules are left out.
    unwanted: Vec<(&'static str, Vec<Condition>)>,
}

impl Together {
    /// Adds a rule with the `all` in it; `through`: the field by which it came.
    fn add(&mut self, rule: &MatchSpec, through: Option<&'static str>) {
        self.wanted.extend(conditions(rule).into_iter().map(|one| (through.unwrap_or(field(&one)), one)));
        if let Some(not) = rule.not.as_deref().filter(|not| not.not.is_none() && not.any.is_none() && not.all.is_none())
        {
            self.unwanted.push((through.unwrap_or("not"), conditions(not)));
        }
        for nested in rule.all.iter().flatten() {
            self.add(nested, Some(through.unwrap_or("all")));
        }
    }

    fn contradiction(&self) -> Option<Told> {
        for (at, (_, one)) in self.wanted.iter().enumerate() {
            let against = self.wanted[at + 1..].iter().find(|(_, other)| exclude(one, other));
            if let Some((field, other)) = against {
                return Some((field, format!("`{}` can't be {one} and {other}", subject(one))));
            }
        }
        if let Some(told) = self.not_grpc() {
            return Some(told);
        }
        let implied = |one: &Condition| self.wanted.iter().any(|(_, wanted)| implies(wanted, one));
        let (field, _) = self.unwanted.iter().find(|(_, not)| !not.is_empty() && not.iter().all(implied))?;
        Some((field, "what must not hold always does where the rest holds".into()))
    }

    /// Something of gRPC is wanted, and a path or content type that no call has.
    fn not_grpc(&self) -> Option<Told> {
        let texts = || {
            self.wanted.iter().filter_map(|(field, one)| match one {
                Condition::Text(one) => Some((*field, &**one)),
                _ => None,
            })
        };
        let grpc = |subject: &Subject| matches!(subject, Subject::GrpcService | Subject::GrpcMethod);
        let wanted = || texts().filter(|(_, one)| grpc(&one.subject) && !matches!(one.text, Text::Absent));
        wanted().next()?;
        for (field, one) in texts() {
            let Text::Exact(text) = &one.text else { continue };
            match one.subject {
                Subject::ContentType if !is_grpc(text) => {
                    return Some((field, format!("{text:?} is no content type of gRPC")));
                }
                Subject::Path => {
                    let call = text.strip_prefix('/').and_then(|path| path.split_once('/'));
                    let Some((service, method)) = call.filter(|(_, method)| !method.contains('/')) else {
                        return Some((field, "the path of a gRPC call is `/package.Service/Method`".into()));
                    };
                    let part = |subject: &Subject| if *subject == Subject::GrpcService { service } else { method };
                    if let Some((_, other)) = wanted().find(|(_, one)| !one.text.takes(part(&one.subject).as_bytes())) {
                        let is = part(&other.subject);
                        return Some((
                            field,
                            format!("by it `{}` is {is:?}, and not {}", other.subject, other.pattern),
                        ));
                    }
                }
                _ => {}
            }
        }
        None
    }
}

fn field(condition: &Condition) -> &'static str {
    match condition {
        Condition::Method(_) => "method",
        Condition::Status(_) => "status",
        Condition::Size(_) => "request_size",
        Condition::Source(_) => "source",
        Condition::Alpn(_) => "alpn",
        Condition::Text(one) => match one.subject {
            Subject::Path => "path",
            Subject::Host => "host",
            Subject::Sni => "sni",
            Subject::ContentType => "content_type",
            Subject::GrpcService => "grpc_service",
            Subject::GrpcMethod => "grpc_method",
            Subject::Query(_) => "query",
            Subject::Header(_) => "headers",
            Subject::ResponseHeader(_) => "response_headers",
        },
    }
}

fn subject(condition: &Condition) -> String {
    match condition {
        Condition::Text(one) => one.subject.to_string(),
        other => field(other).into(),
    }
}

/// Whether two conditions can't hold together.
fn exclude(one: &Condition, other: &Condition) -> bool {
    match (one, other) {
        (Condition::Method(a), Condition::Method(b)) => !a.iter().any(|method| b.contains(method)),
        (Condition::Status(a), Condition::Status(b)) => {
            !a.iter().any(|a| b.iter().any(|b| a.low <= b.high && b.low <= a.high))
        }
        (Condition::Size(a), Condition::Size(b)) => a.min > b.max || b.min > a.max,
        (Condition::Source(a), Condition::Source(b)) => {
            !a.iter().any(|a| b.iter().any(|b| is_within(a, b) || is_within(b, a)))
        }
        (Condition::Text(a), Condition::Text(b)) if a.subject == b.subject => {
            let many = matches!(a.subject, Subject::Query(_) | Subject::Header(_) | Subject::ResponseHeader(_));
            match (&a.text, &b.text) {
                (Text::Absent, Text::Absent) => false,
                (Text::Absent, _) | (_, Text::Absent) => true,
                // several fields of one name may each have one of them
                _ if many => false,
                (Text::Exact(text), pattern) | (pattern, Text::Exact(text)) => !pattern.takes(text.as_bytes()),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether the other one holds wherever one does.
fn implies(one: &Condition, other: &Condition) -> bool {
    match (one, other) {
        (Condition::Method(a), Condition::Method(b)) => a.iter().all(|method| b.contains(method)),
        (Condition::Status(a), Condition::Status(b)) => {
            a.iter().all(|a| b.iter().any(|b| b.low <= a.low && a.high <= b.high))
        }
        (Condition::Size(a), Condition::Size(b)) => b.min <= a.min && a.max <= b.max,
        (Condition::Source(a), Condition::Source(b)) => a.iter().all(|a| b.iter().any(|b| is_within(a, b))),
        (Condition::Alpn(a), Condition::Alpn(b)) => a.iter().all(|a| b.contains(a)),
        (Condition::Text(a), Condition::Text(b)) if a.subject == b.subject => match (&a.text, &b.text) {
            _ if a.pattern == b.pattern => true,
            (Text::Absent, Text::Absent) => true,
            (Text::Absent, _) | (_, Text::Absent) => false,
            (_, Text::Present) => true,
            (Text::Exact(text), pattern) => pattern.takes(text.as_bytes()),
            _ => false,
        },
        _ => false,
    }
}

fn is_within(one: &Network, other: &Network) -> bool {
    one.prefix >= other.prefix && other.contains(one.address)
}
