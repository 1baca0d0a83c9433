//! `prometheus`: an instant query <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>, every value of
//! whose result is held against bounds.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use squall_core::limits::Limits;

use super::http::{Answer, Ask, send};
use super::quote;

pub(super) async fn check(
    url: &str,
    query: &str,
    bounds: (Option<f64>, Option<f64>),
    token: Option<&str>,
    limits: &Limits,
) -> Result<(), String> {
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    let url = format!("{}/api/v1/query?query={query}", url.trim_end_matches('/'));
    let answer = send(&Ask::get(&url, token), limits).await?;
    judge(&json("Prometheus", &answer)?, answer.status, bounds)
}

/// The answer as JSON.
pub(super) fn json(who: &str, answer: &Answer) -> Result<Value, String> {
    if !answer.is_whole {
        return Err(format!("the answer is longer than {} bytes", super::LOOK));
    }
    serde_json::from_slice(&answer.body).map_err(|_| {
        let text = String::from_utf8_lossy(&answer.body);
        format!("answered {} {}, which is not {who}", answer.status, quote(&text))
    })
}

fn judge(answer: &Value, status: u16, (above, below): (Option<f64>, Option<f64>)) -> Result<(), String> {
    if answer["status"] != "success" {
        let why = answer["error"].as_str().map_or_else(|| format!("answered {status}"), quote);
        return Err(format!("the query failed: {why}"));
    }
    let result = &answer["data"]["result"];
    let values: Vec<(String, &Value)> = match answer["data"]["resultType"].as_str() {
        Some("vector") => {
            let samples = result.as_array().into_iter().flatten();
            samples.map(|sample| (sample["metric"].to_string(), &sample["value"][1])).collect()
        }
        Some("scalar") => vec![(String::new(), &result[1])],
        Some(other) => return Err(format!("the query gives a {other}; a scalar or an instant vector is expected")),
        None => return Err("the answer has no result".into()),
    };
    if values.is_empty() {
        return Err("no data: the query found nothing".into());
    }
    for (series, value) in values {
        let text = value.as_str().unwrap_or_default();
        let figure: f64 = text.parse().map_err(|_| format!("{} is not a figure", quote(text)))?;
        let is_within = above.is_none_or(|above| figure > above) && below.is_none_or(|below| figure < below);
        if !is_within {
            let bound = |word: &str, bound: Option<f64>| bound.map(|bound| format!("{word} {bound}"));
            let bounds: Vec<String> = bound("above", above).into_iter().chain(bound("below", below)).collect();
            let series = if series.is_empty() { series } else { format!(" of {}", quote(&series)) };
            return Err(format!("{text}{series}, not {}", bounds.join(" and ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn vector(values: &[&str]) -> Value {
        let samples: Vec<Value> = values.iter().map(|v| json!({ "metric": { "a": "b" }, "value": [1.5, v] })).collect();
        json!({ "status": "success", "data": { "resultType": "vector", "result": samples } })
    }

    #[test]
    fn every_value_is_held_against_both_bounds() {
        let bounds = (Some(1.0), Some(5.0));
        assert_eq!(judge(&vector(&["2", "4.5"]), 200, bounds), Ok(()));
        assert!(judge(&vector(&["2", "5"]), 200, bounds).unwrap_err().contains("not above 1 and below 5"));
        assert!(judge(&vector(&["1"]), 200, bounds).is_err());
        assert!(judge(&vector(&["NaN"]), 200, bounds).is_err(), "NaN lies nowhere");
        assert!(judge(&vector(&["+Inf"]), 200, bounds).is_err());
        assert_eq!(judge(&vector(&["+Inf"]), 200, (Some(1.0), None)), Ok(()));
        let scalar = json!({ "status": "success", "data": { "resultType": "scalar", "result": [1.5, "3"] } });
        assert_eq!(judge(&scalar, 200, bounds), Ok(()));
    }

    #[test]
    fn no_data_and_a_failed_query_fail_and_say_so() {
        let any = (Some(0.0), None);
        assert!(judge(&vector(&[]), 200, any).unwrap_err().starts_with("no data"));
        let refused = json!({ "status": "error", "error": "parse error" });
        assert_eq!(judge(&refused, 400, any), Err("the query failed: \"parse error\"".into()));
        assert!(judge(&json!({ "status": "success", "data": { "resultType": "matrix" } }), 200, any).is_err());
        assert!(judge(&json!([]), 503, any).is_err());
    }
}
