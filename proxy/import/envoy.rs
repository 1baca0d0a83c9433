//! Envoy: `envoy.extensions.filters.http.fault.v3.HTTPFault` and the routes that it may stand at
//! (`envoy.config.route.v3.RouteMatch`, `HeaderMatcher`; `envoy.type.matcher.v3.StringMatcher`).

use serde_json::Value;

use super::Draft;
use super::draft::Fault;
use super::object::Object;
use super::rule::{Comparison, Rule, path_pattern, pattern};
use super::words::{duration, grpc_status};

/// Looks for fault filters in a whole document.
pub(super) fn read(document: &Value, draft: &mut Draft) {
    let bare =
        |object: &Object<'_>| ["delay", "abort", "response_rate_limit"].iter().any(|name| object.field(name).is_some());
    match Object::of("", document) {
        Ok(object) if bare(&object) => filter("", document, &Rule::default(), None, draft),
        _ => search("", document, draft),
    }
    if draft.has_fault_at("http_filters") && draft.has_fault_at("typed_per_filter_config") {
        draft.left_out(
            "typed_per_filter_config: in Envoy a route's fault filter replaces the listener's; here both act",
        );
    }
}

fn search(place: &str, value: &Value, draft: &mut Draft) {
    match value {
        Value::Array(list) => {
            for (at, inner) in list.iter().enumerate() {
                search(&format!("{place}[{at}]"), inner, draft);
            }
        }
        Value::Object(_) => {
            let Ok(object) = Object::of(place, value) else { return };
            if is_filter(value) {
                return filter(place, value, &Rule::default(), None, draft);
            }
            if let Ok(routes @ [_, ..]) = object.list("routes")
                && routes.iter().any(|route| route.get("match").is_some())
            {
                return virtual_host(&object, routes, draft);
            }
            object.all().for_each(|(_, place, inner)| search(&place, inner, draft));
        }
        _ => {}
    }
}

fn is_filter(value: &Value) -> bool {
    value.get("@type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with(".HTTPFault"))
}

/// The first route that matches takes a request: a fault at one does not act on what those before it take.
fn virtual_host(host: &Object<'_>, routes: &[Value], draft: &mut Draft) {
    for (_, place, inner) in host.all().filter(|(name, ..)| *name != "routes") {
        if has_filter(inner) {
            draft.left_out(format!("{place}: a fault filter of a whole virtual host; write it at its routes"));
        }
    }
    let mut before: Vec<Result<Rule, String>> = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        let place = format!("{}[{at}]", host.at("routes"));
        let own = route_rule(&place, route);
        for (place, config) in filters(&place, route) {
            let rule = domains(host).and_then(|domains| {
                let mut rule = own.clone()?;
                rule.one_of(&domains);
                let others: Vec<Rule> = before.iter().cloned().collect::<Result<_, _>>()?;
                if others.iter().any(Rule::is_empty) {
                    return Err("a route before it takes everything".into());
                }
                rule.none_of(&others);
                Ok(rule)
            });
            match rule {
                Ok(rule) => filter(&place, config, &rule, cluster(route), draft),
                Err(why) => draft.left_out(format!("{place}: {why}")),
            }
        }
        before.push(own);
    }
}

fn has_filter(value: &Value) -> bool {
    match value {
        _ if is_filter(value) => true,
        Value::Array(list) => list.iter().any(has_filter),
        Value::Object(fields) => fields.values().any(has_filter),
        _ => false,
    }
}

/// The fault filters of a route, with their places.
fn filters<'a>(place: &str, route: &'a Value) -> Vec<(String, &'a Value)> {
    let Ok(route) = Object::of(place, route) else { return Vec::new() };
    let Ok(Some(configs)) = route.object("typed_per_filter_config") else { return Vec::new() };
    let unwrapped = |(_, place, value): (&String, String, &'a Value)| match value.get("config") {
        // envoy.config.route.v3.FilterConfig
        Some(config) if is_filter(config) => Some((format!("{place}.config"), config)),
        _ => is_filter(value).then_some((place, value)),
    };
    configs.all().filter_map(unwrapped).collect()
}

fn cluster(route: &Value) -> Option<String> {
    route.get("route")?.get("cluster")?.as_str().map(str::to_owned)
}

/// The names of a virtual host, each a rule; none: every name.
fn domains(host: &Object<'_>) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    for domain in host.list("domains")? {
        let domain = domain.as_str().ok_or_else(|| format!("{} has something else than texts", host.at("domains")))?;
        if domain == "*" {
            return Ok(Vec::new());
        }
        let name = match domain.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit() || byte == b'*') => name,
            _ => domain,
        };
        // what stands for Envoy's `*` goes over dots, and is not empty
        let value = match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(rest), _) => regex(format!(".+{}", regex::escape(rest))),
            (None, Some(rest)) => regex(format!("{}.+", regex::escape(rest))),
            (None, None) => name.into(),
        };
        let mut rule = Rule::default();
        rule.put("host", None, value, false);
        rules.push(rule);
    }
    Ok(rules)
}

fn regex(text: String) -> toml::Value {
    toml::Value::Table(toml::Table::from_iter([("regex".to_owned(), text.into())]))
}

fn route_rule(place: &str, route: &Value) -> Result<Rule, String> {
    let Some(matches) = Object::of(place, route)?.object("match")? else {
        return Err(format!("{place} has no `match`"));
    };
    let mut rule = Rule::default();
    let any_case = matches.field("case_sensitive").is_some_and(|value| *value == Value::Bool(false));
    let safe = matches.object("safe_regex")?;
    let safe = safe.as_ref().map(expression).transpose()?.flatten();
    let separated = matches.text("path_separated_prefix")?;
    let path = [
        matches.text("path")?.map(Comparison::Exact),
        matches.text("prefix")?.map(Comparison::Prefix),
        safe.map(Comparison::Regex),
    ];
    if let Some(path) = path.into_iter().flatten().next().and_then(|path| path_pattern(&path, any_case)) {
        rule.put("path", None, path, false);
    }
    if let Some(prefix) = separated {
        rule.put("path", None, format!("{prefix}/**").into(), false);
    }
    headers(&matches, &mut rule)?;
    for (at, parameter) in matches.list("query_parameters")?.iter().enumerate() {
        let parameter = Object::of(&format!("{}[{at}]", matches.at("query_parameters")), parameter)?;
        let name = parameter.text("name")?.ok_or_else(|| format!("{} has no name", parameter.place))?;
        let (value, any_case) = match parameter.object("string_match")? {
            Some(text) => string(&text)?,
            None => (Comparison::Present, false),
        };
        parameter.field("present_match");
        parameter.nothing_else()?;
        rule.put("query", Some(name), pattern(&value, any_case), false);
    }
    if matches.field("grpc").is_some() {
        rule.put("content_type", None, regex(r"application/grpc(\+.*)?".into()), false);
    }
    matches.nothing_else()?;
    Ok(rule)
}

/// One filter: what it does, to whom.
fn filter(place: &str, value: &Value, base: &Rule, cluster: Option<String>, draft: &mut Draft) {
    let read = || -> Result<(Object<'_>, Rule, Option<String>), String> {
        let object = Object::of(place, value)?;
        let mut rule = base.clone();
        headers(&object, &mut rule)?;
        let own = object.text("upstream_cluster")?.map(str::to_owned);
        if !object.list("downstream_nodes")?.is_empty() {
            return Err(format!("{}: who the client's node is can't be told here", object.at("downstream_nodes")));
        }
        Ok((object, rule, own.or(cluster)))
    };
    let (object, rule, proxy) = match read() {
        Ok(read) => read,
        Err(why) => return draft.left_out(format!("{}: {why}", if place.is_empty() { "the filter" } else { place })),
    };
    let makers: [(&'static str, Maker); 3] = [("delay", delay), ("abort", abort), ("response_rate_limit", rate)];
    for (name, make) in makers {
        match object.object(name) {
            Ok(None) => {}
            Err(why) => draft.left_out(why),
            Ok(Some(inner)) => {
                let made = make(&inner).and_then(|made| inner.nothing_else().map(|()| made));
                if made.as_ref().is_ok_and(|(_, kind, ..)| *kind == BY_HEADER) {
                    draft.left_out(format!("{}: {ASKED}", inner.place));
                }
                draft.fault(made.map(|(name, kind, fields, percentage)| Fault {
                    place: inner.place.clone(),
                    name,
                    kind,
                    proxy: proxy.clone(),
                    fields,
                    percentage,
                    rule: rule.clone(),
                }));
            }
        }
    }
    match object.number("max_active_faults") {
        Ok(None) => {}
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Some(most)) if most >= 1.0 => draft.max_active(most as u64, object.at("max_active_faults")),
        Ok(Some(_)) => draft.left_out(format!("{}: a limit of 0 lets no fault act", object.at("max_active_faults"))),
        Err(why) => draft.left_out(why),
    }
    for place in object.unread() {
        let why = match place.ends_with("runtime") {
            true => "Envoy's runtime may override the figure; here it is what the file says",
            false => "it has no counterpart here",
        };
        draft.left_out(format!("{place}: {why}"));
    }
}

/// The kind that does what a request's headers ask for.
const BY_HEADER: &str = "envoy_headers";
/// Envoy has no longest delay; an experiment has to.
const LONGEST: &str = "30s";
/// What the file can't say about it.
const ASKED: &str =
    "who may ask for it is the proxy's to say, `http = { envoy_headers_from = […] }`; the limit is squall's";

/// Name, kind, fields, percentage.
type Made = (&'static str, &'static str, Vec<(&'static str, toml::Value)>, f64);
type Maker = fn(&Object<'_>) -> Result<Made, String>;

/// A fault that clients ask for with headers, if this field says so.
fn by_header(
    object: &Object<'_>,
    field: &'static str,
    name: &'static str,
    obeys: (&'static str, toml::Value),
) -> Result<Option<Made>, String> {
    match object.field(field) {
        Some(_) => Ok(Some((name, BY_HEADER, vec![obeys], percentage(object)?))),
        None => Ok(None),
    }
}

fn delay(object: &Object<'_>) -> Result<Made, String> {
    object.field("type"); // of v2: the only one is FIXED
    if let Some(made) = by_header(object, "header_delay", "asked-delay", ("max_delay", LONGEST.into()))? {
        return Ok(made);
    }
    let delay = duration(object, "fixed_delay")?.ok_or_else(|| format!("{} says no delay", object.place))?;
    Ok(("delay", "latency", vec![("delay", delay.to_string().into())], percentage(object)?))
}

fn abort(object: &Object<'_>) -> Result<Made, String> {
    if let Some(made) = by_header(object, "header_abort", "asked-abort", ("abort", true.into()))? {
        return Ok(made);
    }
    let field = match (object.number("http_status")?, object.number("grpc_status")?) {
        (Some(status), None) => ("http_status", whole(status).filter(|status| (200..600).contains(status))),
        (None, Some(status)) => ("grpc_status", whole(status).and_then(|status| grpc_status(&status.to_string()))),
        _ => return Err(format!("{} needs one of `http_status` and `grpc_status`", object.place)),
    };
    let status = field.1.ok_or_else(|| format!("{} is not a status", object.at(field.0)))?;
    Ok(("abort", "error", vec![(field.0, status.into())], percentage(object)?))
}

fn rate(object: &Object<'_>) -> Result<Made, String> {
    if let Some(made) = by_header(object, "header_limit", "asked-slow-answer", ("min_throughput", "1KiB/s".into()))? {
        return Ok(made);
    }
    let limit = object.object("fixed_limit")?.ok_or_else(|| format!("{} says no limit", object.place))?;
    let kibibytes = limit.number("limit_kbps")?.and_then(whole).filter(|limit| *limit > 0);
    let kibibytes = kibibytes.ok_or_else(|| format!("{} is not a limit", limit.at("limit_kbps")))?;
    limit.nothing_else()?;
    let fields = vec![("rate", format!("{kibibytes}KiB/s").into()), ("direction", "downstream".into())];
    Ok(("slow-answer", "bandwidth", fields, percentage(object)?))
}

#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number <= 9e15).then_some(number as i64)
}

/// `envoy.type.v3.FractionalPercent`; none is 0 %, as in Envoy.
fn percentage(object: &Object<'_>) -> Result<f64, String> {
    if let Some(percent) = object.number("percent")? {
        return Ok(percent.min(100.0)); // of v2
    }
    let Some(share) = object.object("percentage")? else { return Ok(0.0) };
    let numerator = share.number("numerator")?.unwrap_or(0.0);
    let denominator = match share.field("denominator") {
        None => 100.0,
        Some(Value::String(word)) if word == "HUNDRED" => 100.0,
        Some(Value::String(word)) if word == "TEN_THOUSAND" => 10_000.0,
        Some(Value::String(word)) if word == "MILLION" => 1_000_000.0,
        Some(_) => return Err(format!("{} is not known", share.at("denominator"))),
    };
    share.nothing_else()?;
    Ok((numerator * 100.0 / denominator).min(100.0))
}

/// `HeaderMatcher`s; all must hold.
fn headers(object: &Object<'_>, rule: &mut Rule) -> Result<(), String> {
    for (at, matcher) in object.list("headers")?.iter().enumerate() {
        let matcher = Object::of(&format!("{}[{at}]", object.at("headers")), matcher)?;
        header(&matcher, rule)?;
        matcher.nothing_else()?;
    }
    Ok(())
}

fn header(matcher: &Object<'_>, rule: &mut Rule) -> Result<(), String> {
    let name = matcher.text("name")?.ok_or_else(|| format!("{} has no name", matcher.place))?;
    let invert = matcher.flag("invert_match")?;
    let safe = matcher.object("safe_regex_match")?;
    let older = [
        matcher.text("exact_match")?.map(Comparison::Exact),
        matcher.text("prefix_match")?.map(Comparison::Prefix),
        matcher.text("suffix_match")?.map(Comparison::Suffix),
        matcher.text("contains_match")?.map(Comparison::Contains),
        safe.as_ref().map(expression).transpose()?.flatten().map(Comparison::Regex),
    ];
    let text = matcher.object("string_match")?;
    let (comparison, any_case) = match (text.as_ref().map(string).transpose()?, older.into_iter().flatten().next()) {
        (Some(text), _) => text,
        (None, Some(older)) => (older, false),
        (None, None) => (Comparison::Present, false),
    };
    let absent = matcher.field("present_match").is_some_and(|value| *value == Value::Bool(false));
    let invert = invert != absent;
    match name {
        ":method" => match comparison {
            Comparison::Exact(method) => rule.put("method", None, vec![method.to_ascii_uppercase()].into(), invert),
            _ => return Err(format!("{}: a method is compared as a whole here", matcher.place)),
        },
        ":path" => match comparison {
            // there it is with its query, here without
            Comparison::Exact(text) | Comparison::Prefix(text) if text.contains('?') => {
                return Err(format!("{}: a path is compared without its query here", matcher.place));
            }
            Comparison::Prefix(_) => match path_pattern(&comparison, any_case) {
                Some(path) => rule.put("path", None, path, invert),
                None if invert => return Err(format!("{} matches nothing", matcher.place)),
                None => {}
            },
            _ => return Err(format!("{}: a path with its query is compared by its beginning only", matcher.place)),
        },
        ":authority" => rule.put("headers", Some("host"), pattern(&comparison, any_case), invert),
        name if name.starts_with(':') => return Err(format!("{}: `{name}` can't be looked at here", matcher.place)),
        name => rule.put("headers", Some(&name.to_ascii_lowercase()), pattern(&comparison, any_case), invert),
    }
    Ok(())
}

/// `StringMatcher`
fn string<'a>(matcher: &Object<'a>) -> Result<(Comparison<'a>, bool), String> {
    let safe = matcher.object("safe_regex")?;
    let ways = [
        matcher.text("exact")?.map(Comparison::Exact),
        matcher.text("prefix")?.map(Comparison::Prefix),
        matcher.text("suffix")?.map(Comparison::Suffix),
        matcher.text("contains")?.map(Comparison::Contains),
        safe.as_ref().map(expression).transpose()?.flatten().map(Comparison::Regex),
    ];
    let any_case = matcher.flag("ignore_case")?;
    matcher.nothing_else()?;
    let way = ways.into_iter().flatten().next().ok_or_else(|| format!("{} says nothing", matcher.place))?;
    Ok((way, any_case))
}

/// `RegexMatcher`: RE2 over the whole value.
fn expression<'a>(matcher: &Object<'a>) -> Result<Option<&'a str>, String> {
    matcher.field("google_re2");
    matcher.text("regex")
}
