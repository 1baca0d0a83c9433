//! The files that specify the language are taken as they stand.

use super::*;
use crate::fault::registry::KINDS;
use crate::fault::{Flow, Phase};
use crate::plan::Layer;
use crate::scenario::{GuardCondition, Metric, Protocol, ServiceKind};
use crate::select::{Count, Key};
use crate::time::{MILLI, SECOND};

const SCENARIOS: &[&str] = &["first-drill.toml", "redis-slow.toml", "checkout-brownout.toml", "library-example.toml"];

#[test]
fn every_golden_file_checks_alone() {
    for file in SCENARIOS {
        let (checked, notes) = scenario(&golden(file), &Options::default())
            .unwrap_or_else(|messages| panic!("{}", render(&messages, false)));
        assert!(!checked.faults.is_empty());
        assert!(notes.iter().all(|note| note.severity == Severity::Note), "{}", render(&notes, false));
    }
    let (config, notes) =
        config(&golden("squall.toml"), &[]).unwrap_or_else(|messages| panic!("{}", render(&messages, false)));
    assert!(notes.is_empty());
    assert_eq!(config.environment.as_deref(), Some("staging"));
    assert_eq!(config.proxies.len(), 3);
    assert_eq!(config.safety.max_active_faults, Some(200));
    assert!(config.control.state.unwrap().ends_with("tests/golden/state"));
    assert_eq!(config.safety.approvals.get("staging"), Some(&crate::config::Consent::People(1)));
}

#[test]
fn all_files_check_together_without_a_word() {
    let mut sources: Vec<_> = SCENARIOS.iter().map(|file| golden(file)).collect();
    sources.push(golden("squall.toml"));
    let outcome = check_all(&sources, &Options::default());
    assert_eq!(render(&outcome.diagnostics, false), "");
    assert_eq!(outcome.scenarios.len(), 4);
    assert!(outcome.config.is_some());
}

#[test]
fn the_shipped_library_checks_and_matches_the_golden_files() {
    let mut pairs = vec![("scenarios/stripe/rate-limit.toml".to_owned(), "library-example.toml")];
    pairs.extend(SCENARIOS[..3].iter().map(|file| (format!("scenarios/{file}"), *file)));
    for (shipped, file) in pairs {
        let shipped = crate::read::load(&path(&shipped)).unwrap();
        let (a, _) = scenario(&shipped, &Options::default()).unwrap();
        let (b, _) = scenario(&golden(file), &Options::default()).unwrap();
        assert_eq!(a.digest, b.digest, "{file}");
    }
}

#[test]
fn says_what_redis_slow_says() {
    let (checked, _) = scenario(&golden("redis-slow.toml"), &Options::default()).unwrap();
    assert_eq!(checked.seed, Some(42));
    assert_eq!(checked.max_duration, Some(60 * SECOND));
    let names: Vec<_> = checked.faults.iter().map(|fault| (fault.name.as_str(), fault.kind)).collect();
    assert_eq!(names, [("late-answers", "latency"), ("reset", "reset"), ("flapping", "partition")]);
    assert!(checked.faults.iter().all(|fault| fault.fault.is_ok()));
    let flapping = &checked.faults[2].window;
    assert_eq!((flapping.at, flapping.length), (22 * SECOND, Some(500 * MILLI)));
    assert_eq!((flapping.every, flapping.times), (Some(4 * SECOND), Some(3)));
    assert_eq!(checked.faults_end(), Some(30 * SECOND + 500 * MILLI));
    assert_eq!(checked.planned_end(), Some(35 * SECOND + 500 * MILLI));
    assert_eq!(checked.faults[1].percentage, crate::curve::Curve::Constant(10.0));
    assert_eq!(checked.faults[1].flow, None);
    let GuardCondition::Threshold { metric, above, below } = checked.guards[0].condition else { panic!() };
    assert_eq!((metric, above, below), (Metric::ConnectionErrorRate, Some(0.05), None));
    assert_eq!(checked.expects[0].below, Some(900.0 * MILLI as f64));
}

#[test]
fn says_what_the_others_say() {
    let (drill, _) = scenario(&golden("first-drill.toml"), &Options::default()).unwrap();
    assert!(matches!(&drill.services[0].kind, ServiceKind::Http { status: 200, size: 2048, latency: Some(_), .. }));
    assert_eq!(drill.recovery_window(), 3 * SECOND);
    assert_eq!(drill.forecast.unwrap().metrics[&Metric::ErrorRate], (0.0, 0.005));

    let (checkout, _) = scenario(&golden("checkout-brownout.toml"), &Options::default()).unwrap();
    assert_eq!(checkout.faults[0].key, Key::Http("header:x-tenant".parse().unwrap()));
    assert_eq!(checkout.faults[2].count, Count::First(3));
    let layers = checkout.faults.iter().map(|fault| fault.layer(Protocol::Http)).collect::<Vec<_>>();
    let phases = [Phase::BeforeUpstream, Phase::BeforeUpstream, Phase::MidBody];
    assert_eq!(layers, phases.map(Layer::Exchange));
    assert_eq!(checkout.faults[2].bodies, Some(Flow::Downstream), "the answer is cut");
    assert_eq!(checkout.guards[1].condition, GuardCondition::Burn(216.0));
    assert_eq!(checkout.guards[2].name, "harm allowance");
    assert_eq!(checkout.approvals_required, 1);

    let (stripe, _) = scenario(&golden("library-example.toml"), &Options::default()).unwrap();
    assert_eq!(stripe.verified_on.as_deref(), Some("2026-11-22"));
    assert_eq!(stripe.parameters[0].value, "10%");
    assert_eq!(stripe.faults[0].percentage, crate::curve::Curve::Constant(10.0));
    assert_eq!(stripe.guards[0].name, "error_rate");
}

#[test]
fn the_digest_is_over_the_content_not_its_form() {
    let file = golden("redis-slow.toml");
    let (a, _) = scenario(&file, &Options::default()).unwrap();
    let changed =
        Arc::new(Source { name: "b".into(), text: format!("\u{feff}# c\n{}", file.text.replace('\n', "\r\n")) });
    let unmarked = Arc::new(Source { name: "b".into(), text: crate::read::text(changed.text.clone().into()).unwrap() });
    assert_eq!(scenario(&unmarked, &Options::default()).unwrap().0.digest, a.digest);
    // through JSON, as the control port takes it
    let json: serde_json::Value = serde_json::from_str(&a.canonical).unwrap();
    let (b, _) = scenario_json(&json, &Options::default()).unwrap();
    assert_eq!((b.digest, b.canonical), (a.digest.clone(), a.canonical));
    let other = source(&file.text.replace("\"200ms\"", "\"201ms\""));
    assert_ne!(scenario(&other, &Options::default()).unwrap().0.digest, a.digest);
}

#[test]
fn the_example_of_every_kind_checks() {
    assert!(KINDS.len() > 8);
    for entry in KINDS {
        let needs = match entry.name {
            "tls" => "tls = { mode = \"terminate\", issue = true }\n",
            "envoy_headers" => "http = { envoy_headers_from = [\"10.0.0.0/8\"] }\n",
            _ => "",
        };
        let serves = || entry.serves_words().split([' ', ',']);
        for protocol in serves().next().into_iter().chain(serves().filter(|word| *word == "HTTP")) {
            let text = around(&format!(
                "protocol = {:?}
{needs}{}",
                protocol.to_lowercase(),
                entry.example
            ));
            let (checked, _) = scenario(&source(&text), &Options::default()).unwrap_or_else(|messages| {
                panic!(
                    "{} on {protocol}:
{}",
                    entry.name,
                    render(&messages, false)
                )
            });
            assert_eq!(checked.faults[0].kind, entry.name);
        }
    }
}

fn filled() -> Filled {
    Filled { owner: "ann".into(), environment: "local".into() }
}

#[test]
fn a_fault_from_one_line_is_a_scenario_like_any_other() {
    let fields =
        [("delay", "{ from = \"0ms\", to = \"80ms\", over = \"4s\" }"), ("jitter", "20ms"), ("percentage", "50")];
    let fields: Vec<_> = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let text = one_liner("cache-*", "latency", &fields, "60s", &filled());
    let (checked, notes) = scenario(&source(&text), &Options::default()).unwrap();
    assert_eq!(checked.name, "inject-cache-all-latency");
    assert_eq!(checked.faults[0].window.length, Some(60 * SECOND));
    assert_eq!((checked.max_duration, checked.guards.len()), (Some(65 * SECOND), 1));
    assert_eq!((checked.owner.as_deref(), &*checked.environments), (Some("ann"), &["local".to_owned()][..]));
    assert_eq!(notes.len(), 1);
    for value in ["\"", "a\nb = 1", "1 # 2", "[", "{", "2026-11-22", "${x}", "''", "[[[["] {
        let text = one_liner(
            "redis",
            "latency",
            &[("delay".into(), value.into()), ("a b".into(), value.into())],
            "1s",
            &filled(),
        );
        let table = toml::de::DeTable::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        assert_eq!(table.get_ref().len(), 7);
    }
}
