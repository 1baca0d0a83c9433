//! `alertmanager`: whether it holds an alert that fires <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>. A
//! silenced or inhibited alert fires too: it is held, and only nobody is told.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use squall_core::limits::Limits;

use super::http::{Ask, send};
use super::prometheus::json;

pub(super) async fn check(
    url: &str,
    alert: &str,
    labels: &BTreeMap<String, String>,
    absent: bool,
    token: Option<&str>,
    limits: &Limits,
) -> Result<(), String> {
    // in a matcher `"` and `\` are escaped as in JSON
    let filter = format!("alertname={}", Value::from(alert));
    let filter = utf8_percent_encode(&filter, NON_ALPHANUMERIC);
    let url = format!("{}/api/v2/alerts?filter={filter}", url.trim_end_matches('/'));
    let answer = send(&Ask::get(&url, token), limits).await?;
    if answer.status != 200 {
        return Err(format!("Alertmanager answered {}", answer.status));
    }
    let alerts = json("Alertmanager", &answer)?;
    let alerts = alerts.as_array().ok_or("the answer of Alertmanager is no list of alerts")?;
    match (fires(alerts, alert, labels), absent) {
        (true, false) | (false, true) => Ok(()),
        (true, true) => Err(format!("the alert {alert} fires")),
        (false, false) => Err(format!("the alert {alert} does not fire")),
    }
}

/// Held against the answer again: an older server may not know the filter.
fn fires(alerts: &[Value], alert: &str, labels: &BTreeMap<String, String>) -> bool {
    alerts.iter().any(|held| {
        let has = |name: &str, value: &str| held["labels"][name] == value;
        has("alertname", alert) && labels.iter().all(|(name, value)| has(name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_alert_is_told_by_its_name_and_all_labels() {
        let held = [json!({ "labels": { "alertname": "High", "job": "shop", "zone": "a" } })];
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        assert!(fires(&held, "High", &labels(&[])));
        assert!(fires(&held, "High", &labels(&[("job", "shop"), ("zone", "a")])));
        assert!(!fires(&held, "High", &labels(&[("job", "cart")])));
        assert!(!fires(&held, "High", &labels(&[("team", "x")])));
        assert!(!fires(&held, "Low", &labels(&[])));
        assert!(!fires(&[], "High", &labels(&[])));
    }
}
