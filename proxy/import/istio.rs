//! Istio: `networking.istio.io` `VirtualService`, its `http` routes with `fault` (HTTPFaultInjection, HTTPMatchRequest).

use serde_json::Value;

use super::Draft;
use super::draft::Fault;
use super::object::Object;
use super::rule::{Comparison, Rule, path_pattern, pattern};
use super::words::{duration, grpc_status};

/// Reads a document: a VirtualService, or a list of them; others are none of ours.
pub(super) fn read(document: &Value, draft: &mut Draft) {
    if let Some(Value::Array(items)) = document.get("items") {
        return items.iter().for_each(|item| read(item, draft));
    }
    if document.get("kind").and_then(Value::as_str) != Some("VirtualService") {
        return;
    }
    let name = document.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
    if let Some(spec) = document.get("spec")
        && let Err(why) = service(name.unwrap_or("VirtualService"), spec, draft)
    {
        draft.left_out(why);
    }
}

/// The first route that matches takes a request: a fault at one does not act on what those before it take.
fn service(name: &str, spec: &Value, draft: &mut Draft) -> Result<(), String> {
    let spec = Object::of(name, spec)?;
    let hosts = spec.list("hosts")?;
    let host = hosts.first().and_then(Value::as_str).map(|host| host.split('.').next().unwrap_or(host).to_owned());
    let mut before: Vec<Result<Vec<Rule>, String>> = Vec::new();
    for (at, route) in spec.list("http")?.iter().enumerate() {
        let route = Object::of(&format!("{}[{at}]", spec.at("http")), route)?;
        let own = alternatives(&route);
        if let Some(fault) = route.object("fault")? {
            let rule = own.clone().and_then(|own| {
                let mut rule = Rule::default();
                if !own.iter().any(Rule::is_empty) {
                    rule.one_of(&own);
                }
                let others: Vec<Rule> = before.iter().cloned().collect::<Result<Vec<_>, _>>()?.concat();
                if others.iter().any(Rule::is_empty) {
                    return Err("a route before it takes everything".into());
                }
                rule.none_of(&others);
                Ok(rule)
            });
            match rule {
                Ok(rule) => faults(&fault, &rule, host.as_ref(), draft),
                Err(why) => draft.left_out(format!("{}: {why}", fault.place)),
            }
        }
        before.push(own);
    }
    Ok(())
}

fn faults(fault: &Object<'_>, rule: &Rule, host: Option<&String>, draft: &mut Draft) {
    let delay = |object: &Object<'_>| {
        let delay = duration(object, "fixed_delay")?.ok_or_else(|| format!("{} has no `fixedDelay`", object.place))?;
        Ok(("delay", "latency", ("delay", delay.to_string().into())))
    };
    let abort = |object: &Object<'_>| {
        let http = object.number("http_status")?;
        let grpc = object.text("grpc_status")?;
        #[allow(clippy::cast_possible_truncation)]
        let field = match (http, grpc) {
            (Some(status), None) if (200.0..600.0).contains(&status) => ("http_status", status as i64),
            (None, Some(status)) => {
                let code = grpc_status(status).ok_or_else(|| format!("{status:?} is no status of gRPC"))?;
                ("grpc_status", code)
            }
            _ => return Err(format!("{} needs one of `httpStatus` and `grpcStatus`", object.place)),
        };
        Ok(("abort", "error", (field.0, field.1.into())))
    };
    type Maker<'m> =
        &'m dyn Fn(&Object<'_>) -> Result<(&'static str, &'static str, (&'static str, toml::Value)), String>;
    let makers: [(&'static str, Maker<'_>); 2] = [("delay", &delay), ("abort", &abort)];
    for (name, make) in makers {
        let inner = match fault.object(name) {
            Ok(Some(inner)) => inner,
            Ok(None) => continue,
            Err(why) => {
                draft.left_out(why);
                continue;
            }
        };
        let made = make(&inner).and_then(|(name, kind, field)| {
            let percentage = percentage(&inner)?;
            inner.nothing_else()?;
            Ok(Fault {
                place: inner.place.clone(),
                name,
                kind,
                proxy: host.cloned(),
                fields: vec![field],
                percentage,
                rule: rule.clone(),
            })
        });
        draft.fault(made);
    }
    fault.unread().into_iter().for_each(|place| draft.left_out(format!("{place}: it has no counterpart here")));
}

/// `percentage.value`, or the older `percent`; none is 100 %, as in Istio.
fn percentage(object: &Object<'_>) -> Result<f64, String> {
    let older = object.number("percent")?;
    let share = match object.object("percentage")? {
        Some(share) => {
            let value = share.number("value")?.unwrap_or(0.0);
            share.nothing_else()?;
            Some(value)
        }
        None => older,
    };
    Ok(share.unwrap_or(100.0).min(100.0))
}

/// The `match`es of a route, one of which must hold; without any, everything does.
fn alternatives(route: &Object<'_>) -> Result<Vec<Rule>, String> {
    let list = route.list("match")?;
    if list.is_empty() {
        return Ok(vec![Rule::default()]);
    }
    let one =
        |(at, request): (usize, &Value)| request_rule(&Object::of(&format!("{}[{at}]", route.at("match")), request)?);
    list.iter().enumerate().map(one).collect()
}

/// `HTTPMatchRequest`; who the client's workload is can't be told here.
fn request_rule(request: &Object<'_>) -> Result<Rule, String> {
    let mut rule = Rule::default();
    request.field("name");
    request.field("stat_prefix");
    let any_case = request.flag("ignore_uri_case")?;
    if let Some(uri) = request.object("uri")?
        && let Some(path) = path_pattern(&string(&uri)?, any_case)
    {
        rule.put("path", None, path, false);
    }
    if let Some(method) = request.object("method")? {
        match string(&method)? {
            Comparison::Exact(method) => rule.put("method", None, vec![method.to_owned()].into(), false),
            _ => return Err(format!("{}: a method is compared as a whole here", method.place)),
        }
    }
    if let Some(authority) = request.object("authority")? {
        rule.put("headers", Some("host"), pattern(&string(&authority)?, false), false);
    }
    for (field, kind, invert) in
        [("headers", "headers", false), ("query_params", "query", false), ("without_headers", "headers", true)]
    {
        let Some(all) = request.object(field)? else { continue };
        for (name, place, value) in all.all() {
            let comparison = match value {
                Value::Null => Comparison::Present,
                Value::Object(fields) if fields.is_empty() => Comparison::Present,
                value => string(&Object::of(&place, value)?)?,
            };
            let name = if kind == "headers" { name.to_ascii_lowercase() } else { name.clone() };
            rule.put(kind, Some(&name), pattern(&comparison, false), invert);
        }
    }
    request.nothing_else()?;
    Ok(rule)
}

/// `StringMatch`: RE2 over the whole value.
fn string<'a>(matcher: &Object<'a>) -> Result<Comparison<'a>, String> {
    let ways = [
        matcher.text("exact")?.map(Comparison::Exact),
        matcher.text("prefix")?.map(Comparison::Prefix),
        matcher.text("regex")?.map(Comparison::Regex),
    ];
    matcher.nothing_else()?;
    ways.into_iter().flatten().next().ok_or_else(|| format!("{} says nothing", matcher.place))
}
