//! Another configuration for a fault that runs.

use serde_json::{Map, Value, json};

use super::*;
use crate::curve::Curve;
use crate::scenario::Checked;

fn before() -> Checked {
    let text = around(
        "[[parameter]]\nname = \"slow\"\ndefault = \"200ms\"\n[[fault]]\nname = \"lag\"\nkind = \"latency\"\nproxy = \"redis\"\n\
         delay = \"${slow}\"\njitter = \"10ms\"\nfor = \"5s\"\n[[fault]]\nkind = \"bandwidth\"\nproxy = \"redis\"\nrate = \"1MB/s\"\n\
         for = \"5s\"\n[[fault]]\npreset = \"slow-3g\"\nproxy = \"redis\"\nfor = \"5s\"\n",
    );
    scenario(&source(&text), &Options::default()).unwrap().0
}

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn changed(fault: &str, value: Value, options: &Options) -> Result<Checked> {
    change(&before().canonical, fault, &fields(value), options)
}

#[test]
fn fields_change_and_the_rest_stays() {
    let original = before();
    let (after, _) =
        changed("lag", json!({ "delay": "1s", "jitter": null, "percentage": 20 }), &Options::default()).unwrap();
    let summaries: Vec<_> = after.faults.iter().map(|fault| fault.summary.as_str()).collect();
    assert_ne!(summaries[0], original.faults[0].summary);
    assert!(summaries[0].contains("1s") && !summaries[0].contains("10ms"), "{summaries:?}");
    assert_eq!(after.faults[0].percentage, Curve::Constant(20.0));
    let rest = |checked: &Checked| checked.faults[1..].iter().map(|fault| fault.summary.clone()).collect::<Vec<_>>();
    assert_eq!(rest(&after), rest(&original));
    // once more, on top of that
    let again = change(&after.canonical, "bandwidth", &fields(json!({ "rate": "5KB/s" })), &Options::default());
    let again = again.unwrap().0;
    assert_eq!(again.faults[0].summary, after.faults[0].summary);
    assert_ne!(again.faults[1].summary, after.faults[1].summary);
}

#[test]
fn its_own_proxies_run_already() {
    let running = Options { proxies: Some(before().proxies), ..Options::default() };
    assert!(changed("lag", json!({ "delay": "1s" }), &running).is_ok());
}

#[test]
fn what_can_not_change_is_told() {
    for (fault, value, expected) in [
        ("lag", json!({}), "nothing is to change"),
        ("lga", json!({ "delay": "1s" }), "there is no fault `lga`"),
        ("slow-3g", json!({ "delay": "1s" }), "there is no fault `slow-3g`"),
        ("slow-3g-latency-up", json!({ "delay": "1s" }), "there is no fault `slow-3g-latency-up`"),
        ("lag", json!({ "name": "x" }), "`name` can not change while the fault runs"),
        ("lag", json!({ "kind": "reset" }), "`kind` can not change"),
        ("lag", json!({ "for": null }), "`for` can not change"),
        ("lag", json!({ "proxy": "*" }), "`proxy` can not change"),
        ("lag", json!({ "dela": "1s" }), "did you mean `delay`?"),
        ("lag", json!({ "delay": "soon" }), "is not a duration"),
        ("lag", json!({ "delay": { "a": [1, { "b": null }] } }), "expected"),
        ("lag", json!({ "percentage": 101 }), "101 is not a percentage"),
        ("bandwidth", json!({ "rate": null }), "rate"),
    ] {
        let told = changed(fault, value.clone(), &Options::default()).unwrap_err();
        let told: String = told.iter().map(|diagnostic| format!("{diagnostic}\n")).collect();
        assert!(told.contains(expected), "{fault} {value}\n-> {told}");
    }
    let limits = Safety { max_percentage: Some(30.0), ..Default::default() };
    let limited = Options { safety: Some(limits), ..Options::default() };
    let (lag, half) = (
        before().canonical.replace("\"name\":\"lag\"", "\"name\":\"lag\",\"percentage\":10"),
        json!({ "percentage": 50 }),
    );
    let told = change(&lag, "lag", &fields(half), &limited);
    assert!(told.is_err(), "beyond what this host allows");
}
