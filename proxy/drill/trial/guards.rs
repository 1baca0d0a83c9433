//! Guards that fire in the data path, from the first event to the report.

use std::sync::Arc;

use serde_json::json;
use squall_core::plane::DataPlane;
use squall_core::scenario::{GuardAction, Metric};
use squall_core::time::{Clock, SECOND};
use squall_core::tripwire::{Event, Tripwire};
use squall_core::who::Identity;

use super::running::{Rig, against, rig, short};
use super::words::GuardWords;
use super::{guard, scenario};
use crate::engine::Keep;
use crate::view::{State, Verdict};

/// Bad connections of proxy `p`.
fn harm(allowed: u64) -> GuardWords {
    guard("harm", Metric::ErrorRate, 0.0).harm(allowed).on("p")
}

/// The guards of `p` as its workers have them.
fn laid(rig: &Rig) -> Vec<Arc<Tripwire>> {
    rig.plane.cell().plan().load().slice("p").map_or(vec![], |slice| slice.guards.clone())
}

/// So many connections of `p` fail, out of so many more.
fn fail(rig: &Rig, bad: u64, good: u64) {
    let (guards, now) = (laid(rig), rig.plane.hand.now());
    for event in (0..good + bad).map(|_| Event::Accepted).chain((0..bad).map(|_| Event::Broken)) {
        guards.iter().for_each(|guard| guard.count(0, event, now));
    }
}

#[test]
fn a_spent_allowance_ends_the_run_before_the_engine_looks_and_is_in_the_report() {
    let mut rig = rig();
    let id = rig.start(short().guard(harm(50)));
    rig.go(0.5);
    fail(&rig, 500, 0); // before the first fault has opened: not its doing
    rig.go(1.5);
    let switch = rig.actives("p")[0].switch.clone();
    fail(&rig, 49, 0);
    assert!(switch.is_on(rig.plane.hand.now()));
    fail(&rig, 1, 0);
    assert!(switch.is_over(rig.plane.hand.now()), "nobody has looked yet");
    rig.plane.hand.forward(SECOND / 100);
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Stopped, Some(Verdict::Refuted)));
    assert_eq!(view.reason.as_deref(), Some("guard `harm`: harm is 50, limit 50"));
    assert!((view.elapsed - 2.0).abs() < 0.001, "it ended when it fired: {}", view.elapsed);
    let (report, text) = rig.engine.report(&id).unwrap();
    let story = &report["guards"][0];
    assert_eq!(
        (&story["metric"], &story["source"], &story["fired"]),
        (&json!("harm"), &json!("connection"), &json!(1))
    );
    assert_eq!((&story["worst"], &story["closest"]), (&json!(50.0), &json!(1.0)));
    assert!(text.contains("| harm | harm | connection | limit 50 | 50 | 1 | 100 % |"), "{text}");
    assert!(rig.plane.cell().plan().load().is_empty());
}

#[test]
fn a_harm_of_four_fifths_is_a_near_miss() {
    let mut rig = rig();
    let id = rig.start(short().guard(harm(50)));
    rig.go(2.0);
    rig.hit("p", 30, 0);
    fail(&rig, 39, 0);
    rig.go(0.1);
    assert!(rig.told("near").is_empty());
    fail(&rig, 1, 0);
    rig.go(6.0);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Upheld));
    assert_eq!(rig.told("near"), ["guard `harm` came near: harm is 40, 80 % of its limit 50"]);
    assert_eq!(rig.engine.report(&id).unwrap().0["guards"][0]["near_miss"], json!(true));
}

#[test]
fn a_budget_that_burns_ends_it_and_one_that_nobody_has_is_refused_with_the_fix() {
    let burn = || guard("burn", Metric::ErrorRate, 0.0).burns().over(60).on("p");
    let mut rig = rig();
    let id = rig.submit(short().guard(burn()));
    let why = against(rig.engine.start(&id, Keep::Owned, &Identity::local()));
    assert!(why[0].contains("proxy `p` has no `slo`") && why[0].contains("slo = { objective"), "{why:?}");

    let never = short().guard(burn()).with(|checked| checked.proxies[0].slo = Some((0.9, SECOND)));
    let id = rig.submit(never);
    let why = against(rig.engine.start(&id, Keep::Owned, &Identity::local()));
    assert!(why[0].contains("burns at most 10.000000x: 14.4x can never fire"), "{why:?}");

    let id = rig.start(short().guard(burn()).with(|checked| checked.proxies[0].slo = Some((0.999, SECOND))));
    rig.go(2.0);
    fail(&rig, 0, 1_000);
    fail(&rig, 14, 0);
    rig.go(0.1);
    assert_eq!(
        rig.told("near"),
        ["guard `burn` came near: burn is 13.8x, 96 % of its limit 14.4x over 60 s and 5.000 s"]
    );
    fail(&rig, 1, 0);
    let view = rig.over(&id);
    let reason = view.reason.unwrap();
    assert!(reason.starts_with("guard `burn`: burn is 14.8x, limit 14.4x over 60 s and 5.000 s"), "{reason}");
}

#[test]
fn a_threshold_on_what_proxies_count_fires_on_the_event() {
    let mut rig = rig();
    let words = || guard("broken", Metric::ConnectionErrorRate, 0.1);
    let id = rig.start(short().guard(words()).guard(guard("later", Metric::ConnectionErrorRate, 0.05).hold(1)));
    rig.go(2.0);
    let switch = rig.actives("p")[0].switch.clone();
    fail(&rig, 10, 90);
    assert!(switch.is_on(rig.plane.hand.now()), "10 % are not above 10 %");
    rig.go(0.5);
    assert!(switch.is_on(rig.plane.hand.now()), "5 % have to be there for a second");
    fail(&rig, 2, 0);
    assert!(switch.is_over(rig.plane.hand.now()));
    let reason = rig.over(&id).reason.unwrap();
    assert_eq!(reason, "guard `broken`: connection_error_rate is 10.78 %, limit above 10.00 %");
}

#[test]
fn what_has_to_last_fires_without_another_event() {
    let mut rig = rig();
    let id = rig.start(short().guard(guard("later", Metric::ConnectionErrorRate, 0.05).hold(1)));
    rig.go(1.0);
    fail(&rig, 10, 90);
    let switch = rig.actives("p")[0].switch.clone();
    rig.go(0.95);
    assert!(switch.is_on(rig.plane.hand.now()));
    rig.go(0.1);
    assert!(rig.over(&id).reason.unwrap().starts_with("guard `later`: connection_error_rate is 10.00 %"));
}

#[test]
fn a_guard_pauses_in_the_data_path_and_starts_anew_after_a_person_resumes() {
    let mut rig = rig();
    let id = rig.start(short().guard(harm(3).then(GuardAction::Pause)));
    rig.go(2.0);
    fail(&rig, 3, 0);
    let switch = rig.actives("p")[0].switch.clone();
    assert!(!switch.is_on(rig.plane.hand.now()) && !switch.is_over(rig.plane.hand.now()));
    fail(&rig, 9, 0); // nothing acts: no harm of its
    rig.go(0.05);
    let view = rig.engine.view(&id).unwrap();
    assert_eq!((view.state, view.reason.as_deref()), (State::Paused, Some("guard `harm`: harm is 3, limit 3")));
    rig.engine.resume(&id).unwrap();
    rig.go(0.1);
    fail(&rig, 2, 0);
    assert!(switch.is_on(rig.plane.hand.now()));
    fail(&rig, 1, 0);
    rig.go(0.05);
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Paused);
    assert_eq!(rig.told("guard").len(), 2);
}

#[test]
fn what_fires_between_a_resume_and_the_next_look_is_the_reason_of_the_end() {
    let mut rig = rig();
    let id = rig.start(short().guard(harm(3)));
    rig.go(2.0);
    rig.engine.pause(&id).unwrap();
    rig.go(0.1);
    rig.engine.resume(&id).unwrap();
    fail(&rig, 3, 0);
    let view = rig.over(&id);
    assert_eq!(view.reason.as_deref(), Some("guard `harm`: harm is 3, limit 3"));
    assert_eq!(view.verdict, Some(Verdict::Refuted));
}

#[test]
fn a_pause_that_no_look_has_seen_leaves_its_guard_awake_and_what_came_before_forgotten() {
    let mut rig = rig();
    let id = rig.start(short().guard(guard("broken", Metric::ConnectionErrorRate, 0.1).then(GuardAction::Pause)));
    rig.go(2.0);
    fail(&rig, 20, 0);
    rig.go(0.05);
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Paused);
    rig.plane.hand.forward(SECOND / 100);
    rig.engine.resume(&id).unwrap();
    rig.go(0.05);
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Running);
    let switch = rig.actives("p")[0].switch.clone();
    fail(&rig, 19, 0);
    assert!(switch.is_on(rig.plane.hand.now()), "19 are no opinion");
    fail(&rig, 1, 0);
    assert!(!switch.is_on(rig.plane.hand.now()));
}

#[test]
fn an_alert_and_an_observation_switch_nothing_off() {
    let mut rig = rig();
    let id = rig.start(short().guard(harm(3).then(GuardAction::Alert)));
    rig.go(2.0);
    rig.hit("p", 30, 0);
    (0..2).for_each(|_| {
        fail(&rig, 3, 0);
        rig.go(0.1);
    });
    rig.go(6.0);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Upheld));
    assert_eq!(rig.told("guard").len(), 2);

    let id = rig.submit(short().guard(harm(3)));
    rig.engine.observe(&id, Keep::Owned, &Identity::local()).unwrap();
    rig.go(2.0);
    fail(&rig, 3, 0);
    rig.go(6.1);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Inconclusive));
    assert_eq!(rig.told("guard"), ["would have fired: guard `harm`: harm is 3, limit 3"]);
}

#[test]
fn what_a_workload_feels_spends_an_allowance_that_names_no_proxy() {
    let mut rig = rig();
    let id = rig.start(short().guard(guard("harm", Metric::ErrorRate, 0.0).harm(5)));
    rig.go(2.0);
    fail(&rig, 50, 0); // connections of the proxy: the workload tells what is felt
    let switch = rig.actives("p")[0].switch.clone();
    rig.doubles.failed(4);
    assert!(switch.is_on(rig.plane.hand.now()));
    rig.doubles.failed(1);
    assert!(switch.is_over(rig.plane.hand.now()), "nobody has looked yet");
    assert_eq!(rig.over(&id).reason.as_deref(), Some("guard `harm`: harm is 5, limit 5"));
    assert_eq!(rig.engine.report(&id).unwrap().0["guards"][0]["source"], json!("request"));
}

#[test]
fn a_threshold_on_what_a_workload_feels_fires_on_the_request() {
    let mut rig = rig();
    let id = rig.start(short().guard(guard("errors", Metric::ErrorRate, 0.2)));
    rig.go(2.0);
    let switch = rig.actives("p")[0].switch.clone();
    rig.doubles.failed(50);
    assert!(switch.is_on(rig.plane.hand.now()), "50 of 250");
    rig.doubles.failed(1);
    assert!(switch.is_over(rig.plane.hand.now()));
    let reason = rig.over(&id).reason.unwrap();
    assert!(reason.starts_with("guard `errors`: error_rate is 20.32 %"), "{reason}");
}

#[test]
fn a_guard_on_a_proxy_without_faults_sees_the_harm_that_spreads() {
    let mut rig = rig();
    let words = scenario("s").fault(super::fault("late").on("q").window(super::window(1, 2))).guard(harm(2));
    let words = words.with(|checked| {
        let mut other = checked.proxies[0].clone();
        other.name = "q".into();
        checked.proxies.push(other);
    });
    let id = rig.start(words);
    assert!(laid(&rig).len() == 1 && rig.plane.cell().plan().load().slice("q").unwrap().guards.is_empty());
    rig.go(2.0);
    fail(&rig, 2, 0);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Refuted));
}

#[test]
fn a_proxy_that_can_not_be_read_any_more_ends_a_run_that_counts_its_harm() {
    let mut rig = rig();
    let id = rig.start(short().guard(harm(50)));
    rig.go(2.0);
    rig.plane.close("p").unwrap();
    rig.go(0.1);
    let view = rig.over(&id);
    assert_eq!(view.verdict, Some(Verdict::Invalid));
    assert_eq!(view.reason.as_deref(), Some("what guard `harm` watches can't be read"));
}
