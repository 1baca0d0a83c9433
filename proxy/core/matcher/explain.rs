//! One rule by itself, with the reason why it does not hold.

use super::MatchSpec;
use super::condition::Rule;
use super::condition::{Condition, Facts, View, conditions};
use crate::http::Request;
use crate::unit::Bytes;

/// Whether one rule holds for a request and, once `facts` has it, its answer.
///
/// # Errors
/// The first condition that fails, and how: "`path`: `/v2/charges` is not \"/v1/charges/**\"".
pub fn explain(rule: &MatchSpec, request: &Request, facts: &Facts<'_>) -> Result<(), String> {
    level(rule, &View::new(request, facts))
}

fn level(rule: &MatchSpec, view: &View<'_>) -> Result<(), String> {
    if let Some(failing) = conditions(rule).iter().find(|condition| !condition.holds(view, None)) {
        return Err(reason(failing, view));
    }
    if rule.not.as_deref().is_some_and(|rule| Rule::compile(rule).holds(view, None)) {
        return Err("`not`: what must not hold does".into());
    }
    if let Some(rules) = &rule.any {
        let failures: Result<Vec<String>, ()> = rules.iter().map(|rule| level(rule, view).err().ok_or(())).collect();
        if let Ok(failures) = failures {
            return Err(format!("`any`: none of them holds ({})", failures.join("; ")));
        }
    }
    for (n, rule) in (1..).zip(rule.all.iter().flatten()) {
        level(rule, view).map_err(|why| format!("`all`, its rule {n}: {why}"))?;
    }
    Ok(())
}

fn reason(failing: &Condition, view: &View<'_>) -> String {
    let is_not = |field: &str, is: Option<String>| match is {
        Some(is) => format!("`{field}`: {is} is not {failing}"),
        None => format!("`{field}`: not known, and {failing} is wanted"),
    };
    match failing {
        Condition::Method(_) => is_not("method", Some(view.request.method.to_string())),
        Condition::Size(_) => is_not("request_size", view.facts.request_size.map(|size| Bytes(size).to_string())),
        Condition::Source(_) => is_not("source", view.facts.client.map(|client| client.to_canonical().to_string())),
        Condition::Status(_) => match view.facts.response {
            Some(response) => is_not("status", Some(response.status.as_u16().to_string())),
            None => "`status`: there is no answer yet".into(),
        },
        Condition::Alpn(_) => {
            let offered = view.facts.alpn.iter().map(|name| String::from_utf8_lossy(name));
            is_not("alpn", Some(offered.collect::<Vec<_>>().join(", ")).filter(|offered| !offered.is_empty()))
        }
        Condition::Text(one) => {
            let mut values = Vec::new();
            view.any(&one.subject, |value| {
                values.push(format!("`{}`", String::from_utf8_lossy(value)));
                false
            });
            match values.is_empty() {
                true => format!("`{}`: there is none, and {failing} is wanted", one.subject),
                false => format!("`{}`: {} is not {failing}", one.subject, values.join(" or ")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::http::{Method, Response, StatusCode};

    #[test]
    fn the_first_failing_condition_is_told() {
        let request = Request {
            method: Method::POST,
            authority: "Api.example.com:8080".into(),
            target: "/v1/%63harges?mode=test".into(),
            fields: [("x-tenant", "7"), ("x-tenant", "8")].into_iter().collect(),
            ..Request::default()
        };
        let response = Response { status: StatusCode::OK, ..Response::default() };
        let facts = Facts { client: "::ffff:10.0.0.1".parse().ok(), request_size: Some(2048), ..Facts::default() };
        let told = |json: serde_json::Value, facts: &Facts<'_>| {
            explain(&serde_json::from_value(json).unwrap(), &request, facts)
        };
        for (json, why) in [
            (serde_json::json!({ "method": ["GET", "PUT"] }), "`method`: POST is not GET or PUT"),
            (serde_json::json!({ "path": "/v2/**" }), "`path`: `/v1/charges` is not \"/v2/**\""),
            (serde_json::json!({ "host": { "exact": "b" } }), "`host`: `api.example.com` is not exactly \"b\""),
            (serde_json::json!({ "headers": { "X-Tenant": "9" } }), "`headers.x-tenant`: `7` or `8` is not \"9\""),
            (
                serde_json::json!({ "headers": { "x-tenant": { "present": false } } }),
                "`headers.x-tenant`: `7` or `8` is not none",
            ),
            (serde_json::json!({ "query": { "q": "*" } }), "`query.q`: there is none, and \"*\" is wanted"),
            (serde_json::json!({ "source": ["10.1.0.0/16"] }), "`source`: 10.0.0.1 is not 10.1.0.0/16"),
            (serde_json::json!({ "request_size": { "min": "4KiB" } }), "`request_size`: 2KiB is not at least 4KiB"),
            (serde_json::json!({ "status": ["5xx"] }), "`status`: there is no answer yet"),
            (serde_json::json!({ "not": { "method": ["POST"] } }), "`not`: what must not hold does"),
            (
                serde_json::json!({ "any": [{ "method": ["GET"] }, { "sni": "a" }] }),
                "`any`: none of them holds (`method`: POST is not GET; `sni`: there is none, and \"a\" is wanted)",
            ),
            (serde_json::json!({ "all": [{}, { "method": ["GET"] }] }), "`all`, its rule 2: `method`: POST is not GET"),
        ] {
            assert_eq!(told(json, &facts), Err(why.into()));
        }
        let late = Facts { response: Some(&response), ..facts };
        assert_eq!(
            told(serde_json::json!({ "status": [503, "4xx"] }), &late),
            Err("`status`: 200 is not 503 or 4xx".into())
        );
        let all = serde_json::json!({
            "method": ["POST"], "path": "/v1/*", "host": "*.EXAMPLE.com", "query": { "mode": "test" }, "status": ["2xx"],
            "headers": { "x-tenant": "8" }, "source": ["10.0.0.0/8"], "request_size": { "max": "2KiB" },
        });
        assert_eq!(told(all, &late), Ok(()));
    }
}
