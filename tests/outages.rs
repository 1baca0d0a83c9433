//! The shipped outages, each run for some seconds before its stand-in: what it teaches must be seen to happen.
//!
//! Counts and shares are compared, never times: these run beside other tests on a busy machine.

mod connections;
mod links;
mod names;
mod overload;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use squall::library;

use crate::support::Room;

/// An outage that is over.
struct Outage {
    report: Value,
}

/// What became of a load's requests.
#[derive(Debug)]
struct Load {
    intended: f64,
    ok: f64,
    /// Failed or never sent, and no fault had ended the connection.
    failed: f64,
    injected: f64,
    retried: f64,
    reasons: Value,
}

impl Outage {
    /// Runs a shipped outage with these parameters.
    #[track_caller]
    fn run(name: &str, set: &[(&str, &str)]) -> Outage {
        let room = Room::new();
        let mut args = vec!["drill".to_owned(), format!("outages/{name}"), "--json".to_owned()];
        args.extend(set.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]));
        let ended = room.squall(&args);
        // the verdict is the hypothesis's affair: here it is the effect that counts
        assert!(matches!(ended.code, Some(0 | 1 | 3)), "{ended:#?}");
        Outage { report: serde_json::from_str(&ended.out).unwrap() }
    }

    fn load(&self, name: &str) -> Load {
        let load = self.named("workloads", name);
        let of = |count: &str| load[count].as_f64().unwrap();
        Load {
            intended: of("intended"),
            ok: of("ok"),
            failed: of("failed") + of("unsent"),
            injected: of("failed_injected"),
            retried: of("retried"),
            reasons: load["reasons"].clone(),
        }
    }

    /// What came to a service: connections, requests, or turned_away.
    fn came(&self, service: &str, what: &str) -> f64 {
        self.named("services", service)[what].as_f64().unwrap()
    }

    /// A count of a fault's tally.
    fn hits(&self, fault: &str, what: &str) -> f64 {
        self.named("faults", fault)["tally"][what].as_f64().unwrap()
    }

    /// What was measured for an expectation: shares 0 to 1, latencies in ns, throughput per second.
    #[track_caller]
    fn measured(&self, metric: &str, during: &str) -> f64 {
        let all = self.report["expectations"].as_array().unwrap();
        let found = all.iter().find(|line| line["metric"] == metric && line["during"] == during);
        let value = found.and_then(|line| line["value"].as_f64());
        value.unwrap_or_else(|| panic!("{metric} during {during} was not measured: {all:#?}"))
    }

    #[track_caller]
    fn named(&self, list: &str, name: &str) -> &Value {
        let all = self.report[list].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} among {list}: {all:#?}"))
    }
}

impl Load {
    fn because(&self, reason: &str) -> f64 {
        self.reasons[reason].as_f64().unwrap_or(0.0)
    }
}

fn shipped() -> impl Iterator<Item = library::Shipped> {
    library::all().filter(|shipped| shipped.path.starts_with("outages/"))
}

#[test]
fn every_outage_says_what_it_is_and_can_be_aimed() {
    let room = Room::new();
    assert!(shipped().count() >= 28);
    for outage in shipped() {
        let path = outage.path;
        for field in ["title", "teaches", "hypothesis", "expected"] {
            assert!(outage.field(field).is_some_and(|text| text.len() > 10), "{path} has no {field}");
        }
        assert_eq!(outage.field("owner"), Some("library"), "{path}");
        assert_eq!(outage.field("name"), path.strip_prefix("outages/"), "{path}");
        for parameter in ["at", "upstream", "listen"] {
            assert!(outage.text.contains(&format!("name    = \"{parameter}\"\n")), "{path} has no {parameter}");
        }
        assert!(outage.text.contains("[[guard]]") && outage.text.contains("[[expect]]"), "{path}");
        // as it is, and before somebody's own service
        room.squall(&["check", path]).exits(0);
        room.squall(&["check", path, "--set", "upstream=127.0.0.1:8080", "--set", "listen=127.0.0.1:0"]).exits(0);
    }
}

/// A scenario without a test of its effect would be one that can be wrong.
#[test]
fn every_outage_is_run_by_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outages");
    let text = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.unwrap().path()).unwrap();
    let tests: String = std::fs::read_dir(tests).unwrap().map(text).collect();
    let names = shipped().filter_map(|outage| outage.path.strip_prefix("outages/"));
    let missing: BTreeSet<&str> = names.filter(|name| !tests.contains(&format!("run(\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test runs {missing:?}");
}

/// `upstream` puts somebody's own service behind the outage's proxy.
#[test]
fn an_outage_can_be_aimed_at_a_service_of_ones_own() {
    let own = crate::support::echo();
    let outage = Outage::run(
        "corrupted-bytes",
        &[("upstream", &own), ("at", "300ms"), ("length", "700ms"), ("recovery", "200ms"), ("one_per", "64B")],
    );
    assert_eq!(outage.came("orders", "connections"), 0.0, "the stand-in was not asked");
    let load = outage.load("clients");
    assert!(load.ok > 0.0 && load.because("answer differs") > 0.0, "{load:?}");
}
