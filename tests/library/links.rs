//! Links by name, each before a stand-in and under load: no answer comes sooner than light and queue allow.

use serde_json::Value;
use squall::library;

use crate::support::Room;

/// Round trips of the links, ms.
const LINKS: [(&str, f64); 12] = [
    ("network/slow-3g", 400.0),
    ("network/slow-4g", 150.0),
    ("network/fast-4g", 60.0),
    ("network/wpt-3g", 300.0),
    ("network/wpt-lte", 70.0),
    ("network/wpt-cable", 28.0),
    ("network/wpt-dsl", 50.0),
    ("network/wpt-fios", 4.0),
    ("network/edge", 840.0),
    ("network/very-bad", 1000.0),
    ("network/2g-rural", 1300.0),
    ("network/geo-satellite", 600.0),
];

/// What it reports after some seconds.
fn report(link: &str) -> Value {
    let room = Room::new();
    let mut args = vec!["drill", link, "--json"];
    for set in ["at=300ms", "length=3s", "recovery=500ms", "rate=4", "size=100B"] {
        args.extend(["--set", set]);
    }
    let ended = room.squall(&args);
    assert!(matches!(ended.code, Some(0 | 1 | 3)), "{ended:#?}");
    serde_json::from_str(&ended.out).unwrap()
}

#[test]
fn links_take_the_time_that_they_are_known_for() {
    let runs: Vec<_> =
        LINKS.map(|(link, ms)| (link, ms, std::thread::spawn(move || report(link)))).into_iter().collect();
    for (link, ms, run) in runs {
        let report = run.join().unwrap();
        let of = |list: &str, found: &dyn Fn(&Value) -> bool| {
            let all = report[list].as_array().unwrap();
            all.iter().find(|one| found(one)).unwrap_or_else(|| panic!("{link}: {all:#?}")).clone()
        };
        let p50 =
            of("expectations", &|one| one["metric"] == "p50")["value"].as_f64().unwrap_or_else(|| panic!("{report:#}"));
        assert!(p50 >= ms * 1e6, "{link}: half of the answers took less than {} ms, which is under {ms} ms", p50 / 1e6);
        let clients = of("workloads", &|one| one["name"] == "clients");
        assert!(clients["ok"].as_f64().unwrap() > 0.0, "{link}: {clients}");
        let latency = of("faults", &|one| one["name"].as_str().unwrap().contains("latency"));
        assert!(latency["tally"]["affected"].as_u64().unwrap() > 0, "{link}: {latency}");
    }
}

#[test]
fn every_link_by_name_is_on_the_shelf() {
    for (name, _) in squall_core::preset::listed().filter(|(name, _)| !name.starts_with("aws:")) {
        assert!(library::find(&format!("network/{name}")).is_some(), "{name}");
        assert!(LINKS.iter().any(|(link, _)| link.ends_with(&format!("/{name}"))), "{name}");
    }
}
