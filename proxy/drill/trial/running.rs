//! The engine over a data plane and a stand in memory, on a clock moved by hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use squall_core::config::Safety;
use squall_core::fault::{Flow, Injection, What};
use squall_core::observe::{Ledger, Record};
use squall_core::plan::Active;
use squall_core::plane::DataPlane;
use squall_core::scenario::{GuardAction, Metric, Protocol, WorkloadKind};
use squall_core::time::{Clock, MICRO, MILLI, SECOND, Time};
use squall_core::who::{Identity, Proof, Role};

use super::fakes::{Doubles, Log, Plane, state};
use super::words::{ScenarioWords, proxy};
use super::{expect, fault, guard, scenario, steady, step, window};
use crate::approve::{Approving, HOLDS};
use crate::audit::Record as Logged;
use crate::engine::{Engine, Keep, Setup};
use crate::live::Running;
use crate::view::{Event, ExperimentView, Mark, MarkKind, Refusal, State, Verdict};

/// Longer than anything here takes; only a broken test waits this long.
const AT_MOST: Duration = Duration::from_secs(20);

pub(super) struct Rig {
    pub(super) plane: Arc<Plane>,
    pub(super) doubles: Arc<Doubles>,
    pub(super) engine: Engine,
    runs: Vec<Running>,
    ledger: Ledger,
    events: tokio::sync::broadcast::Receiver<Event>,
    state: PathBuf,
    audit: Log,
    _runtime: tokio::runtime::Runtime,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

pub(super) fn rig() -> Rig {
    rig_with(Safety::default(), state())
}

pub(super) fn rig_with(safety: Safety, state: PathBuf) -> Rig {
    let (plane, doubles) = (Plane::new(), Arc::new(Doubles::default()));
    let (ledger, from) = Ledger::new(64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let audit = Log::default();
    let setup = Setup {
        audit: audit.audit(plane.clock().clone()),
        plane: plane.clone(),
        stand: doubles.clone(),
        ledger: from,
        environment: "local".into(),
        safety,
        state: state.clone(),
    };
    let engine = Engine::with_runtime(setup, runtime.handle().clone()).unwrap();
    let events = engine.events();
    Rig { plane, doubles, engine, runs: Vec::new(), ledger, events, state, audit, _runtime: runtime }
}

impl Rig {
    pub(super) fn submit(&self, words: ScenarioWords) -> String {
        self.engine.submit(words.checked(), &Identity::local()).unwrap().id
    }

    pub(super) fn start(&self, words: ScenarioWords) -> String {
        let id = self.submit(words);
        self.engine.start(&id, Keep::Owned, &Identity::local()).unwrap();
        id
    }

    /// Seconds in ticks of 50 ms, with 100 requests answered per second.
    pub(super) fn go(&mut self, seconds: f64) {
        let mut left = seconds;
        while left > 1e-9 {
            self.plane.hand.forward(50 * MILLI);
            self.doubles.answered(5);
            self.engine.tick(&mut self.runs);
            left -= 0.05;
        }
    }

    /// Until a run is over: its end is on a thread of its own.
    pub(super) fn over(&mut self, id: &str) -> ExperimentView {
        for _ in 0..AT_MOST.as_millis() {
            self.engine.tick(&mut self.runs);
            let view = self.engine.view(id).unwrap();
            if view.state.is_over() {
                return view;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        panic!("{id} is not over");
    }

    pub(super) fn actives(&self, proxy: &str) -> Vec<Arc<Active>> {
        let plan = self.plane.cell().plan().load_full();
        plan.slice(proxy).map_or(vec![], |slice| slice.actives.clone())
    }

    /// What the workers would have counted and recorded: n delays of 100 ms, off by `error`.
    pub(super) fn hit(&self, proxy: &str, n: u64, error: Time) {
        for active in self.actives(proxy) {
            let mut records = Vec::new();
            for ordinal in 0..n {
                let tally = &active.tally;
                for count in [&tally.eligible, &tally.selected, &tally.injected, &tally.affected] {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                let scheduled = 100 * MILLI;
                let injection = Injection {
                    what: What::Delayed,
                    step: 1,
                    draw: Some(9),
                    drawn: scheduled,
                    scheduled,
                    achieved: scheduled + error,
                };
                records.push(Record {
                    fault: active.name.clone(),
                    tally: active.tally.clone(),
                    ordinal: Some(ordinal),
                    request: None,
                    unit: Some(ordinal),
                    client: None,
                    flow: Some(Flow::Downstream),
                    at: self.plane.hand.now().mono,
                    injection,
                    released: false,
                });
            }
            self.ledger.send(&mut records);
        }
    }

    fn file(&self, id: &str, file: &str) -> String {
        std::fs::read_to_string(self.state.join("runs").join(id).join(file)).unwrap()
    }

    pub(super) fn told(&mut self, kind: &str) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if event.kind == kind {
                told.push(event.text);
            }
        }
        told
    }
}

/// A fault from 1 to 3 s; planned to end at 8 s.
pub(super) fn short() -> ScenarioWords {
    scenario("s").fault(fault("late").window(window(1, 2))).expect(expect(Metric::P99, 50e6))
}

pub(super) fn against(refusal: Result<ExperimentView, Refusal>) -> Vec<String> {
    match refusal {
        Err(Refusal::NotArmed(against)) => against,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_drill_from_start_to_report() {
    let mut rig = rig();
    let words = short().bets(Metric::P99, 1e6, 5e6).guard(guard("errors", Metric::ErrorRate, 0.2));
    let id = rig.start(words);
    assert_eq!(id, "s-1");
    assert_eq!(*rig.plane.log.lock().unwrap(), ["open p to 127.0.0.1:5000"]);
    assert!(!rig.engine.view(&id).unwrap().faults[0].active);
    rig.go(2.0);
    assert!(rig.engine.view(&id).unwrap().faults[0].active);
    rig.hit("p", 30, 100 * MICRO);
    rig.go(6.1);
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Completed, Some(Verdict::Upheld)), "{:?}", view.reason);
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!(
        report["services"][0],
        json!({"name": "s", "connections": 3, "requests": 2, "turned_away": 1, "unknown": 0})
    );
    assert!(text.contains("| s | 3 | 2 | 1 |"), "{text}");
    assert_eq!(text.lines().next(), Some("eligible 30 / selected 30 / injected 30 / affected 30"));
    assert_eq!(report["summary"], json!({"eligible": 30, "selected": 30, "injected": 30, "affected": 30}));
    let residue = &report["residue"];
    assert_eq!((&residue["held"], &residue["clean"], &residue["proven"]), (&json!(0), &json!(true), &json!(true)));
    assert_eq!(report["ledger"], json!({"injections": 30, "recorded": 30, "lost": 0, "unwritten": 0}));
    assert_eq!(report["expectations"][0]["outcome"], "met");
    assert_eq!(report["forecast"][0]["outcome"], "too_high");
    assert_eq!(report["guards"][0]["fired"], 0);
    let value = &report["faults"][0]["values"][0];
    assert_eq!((&value["what"], &value["count"], &value["early"]), (&json!("delayed"), &json!(30), &json!(0)));
    let error = value["error"]["p99"].as_f64().unwrap();
    assert!((100.0..=100.1).contains(&error), "{error}");
    for part in [
        "## Timeline",
        "fault `late` opens at 1.000 s",
        "## Forecast",
        "pass-through proven: nothing is held",
        "| seed | 7 |",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(rig.plane.names().is_empty() && rig.plane.cell().plan().load().is_empty());
    assert_eq!(rig.doubles.alive.load(Ordering::SeqCst), 0);
}

#[test]
fn the_files_of_a_run() {
    let mut rig = rig();
    let id = rig.start(short());
    rig.go(2.0);
    rig.hit("p", 25, 0);
    rig.go(6.1);
    rig.over(&id);
    let ledger = rig.file(&id, "ledger.jsonl");
    let lines: Vec<Value> = ledger.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 25);
    let first = &lines[0];
    for (field, value) in [("experiment", json!(id)), ("fault", json!("late")), ("unit", json!(0)), ("draw", json!(9))]
    {
        assert_eq!(first[field], value);
    }
    assert_eq!(first["scheduled"], json!(100 * MILLI));
    assert_eq!(first["time"], json!("1970-01-01T00:16:42.000000Z"));
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&rig.file(&id, "report.json")).unwrap(), report);
    assert_eq!(rig.file(&id, "report.md"), text);
    let run: Value = serde_json::from_str(&rig.file(&id, "run.json")).unwrap();
    assert_eq!((&run["over"], &run["verdict"]), (&json!(true), &json!("upheld")));
    assert!(rig.file(&id, "events.jsonl").lines().count() >= 4);
    assert_eq!(rig.file(&id, "scenario.json"), "{}");
}

#[test]
fn what_is_only_near_is_called_so_in_ledger_and_report() {
    let mut rig = rig();
    let id = rig.start(short().fault(fault("gone").losing().window(window(1, 2))));
    rig.go(2.0);
    rig.hit("p", 3, 0);
    rig.go(6.1);
    rig.over(&id);
    let ledger = rig.file(&id, "ledger.jsonl");
    let lines: Vec<Value> = ledger.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    for line in lines {
        let near = (line["fault"] == "gone").then(|| json!("it loses nothing"));
        assert_eq!(line.get("approximated"), near.as_ref(), "{line}");
    }
    let (report, text) = rig.engine.report(&id).unwrap();
    let near: Vec<_> = report["faults"].as_array().unwrap().iter().map(|fault| fault.get("approximated")).collect();
    assert_eq!(near, [None, Some(&json!("it loses nothing"))]);
    assert!(text.contains("- `gone` is approximated: it loses nothing"), "{text}");
}

#[test]
fn a_drill_that_hits_nothing_is_invalid() {
    let mut rig = rig();
    let id = rig.start(short());
    rig.go(8.2);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Invalid));
    assert!(rig.engine.report(&id).unwrap().1.contains("hit nothing"));
    let id = rig.start(short().with(|checked| checked.faults[0].min_hits = 0));
    rig.go(8.2);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Upheld));
}

#[test]
fn delays_that_were_not_kept_make_it_invalid() {
    let mut rig = rig();
    let id = rig.start(short());
    rig.go(2.0);
    rig.hit("p", 30, 6 * MILLI);
    rig.go(6.1);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Invalid));
}

#[test]
fn a_wrong_share_makes_it_invalid() {
    let mut rig = rig();
    let id = rig.start(scenario("s").fault(fault("late").window(window(1, 2)).percentage(10.0)));
    rig.go(2.0);
    rig.hit("p", 30, 0);
    rig.actives("p")[0].tally.eligible.store(3_000, Ordering::SeqCst);
    rig.go(6.1);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Invalid));
    let why = rig.engine.report(&id).unwrap().0["why"].to_string();
    assert!(why.contains("selected 30 of 3000"), "{why}");
}

#[test]
fn a_guard_refutes() {
    let mut rig = rig();
    let id = rig.start(short().guard(guard("slow", Metric::P99, 1e6).then(GuardAction::Abort)));
    rig.go(1.0);
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Stopped, Some(Verdict::Refuted)));
    assert!(view.reason.unwrap().starts_with("guard `slow`: p99 is"));
}

#[test]
fn everything_in_the_way_is_said_at_once() {
    let safety = Safety { max_percentage: Some(50.0), ..Safety::default() };
    let rig = rig_with(safety, state());
    let words = scenario("s")
        .fault(fault("wide").percentage(60.0))
        .fault(fault("first").percentage(60.0).first(3))
        .fault(fault("lost").on("q*").percentage(5.0).window(window(0, 1)))
        .fault(fault("http").percentage(5.0).unavailable("this kind can only be checked"))
        .guard(guard("burn", Metric::ErrorRate, 0.0).burns())
        .guard(guard("down", Metric::ErrorRate, 0.5).then(GuardAction::StepDown))
        .with(|checked| {
            checked.approvals_required = 1;
            checked.environments = vec!["staging".into()];
            checked.proxies.push(proxy("far", "10.0.0.1:80"));
            checked.workloads[0].target = "proxy:gone".into();
            checked.workloads.push(checked.workloads[0].clone());
            checked.workloads[1].target = "10.0.0.2:80".into();
        });
    let id = rig.submit(words);
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Draft);
    let against = against(rig.engine.start(&id, Keep::Owned, &Identity::local()));
    let parts = [
        "this host is `local`, and the scenario may run in: staging",
        "it needs 1 approval(s), and here nobody can be told from anybody",
        "fault `wide` selects up to 60 %; [safety] allows 50 %",
        "10.0.0.1:80 is not in allow_upstreams",
        "workload `w`: there is no `proxy:gone`",
        "workload `w`: target 10.0.0.2:80 is not in allow_upstreams",
        "there is no proxy `q*` (there are: p, far)",
        "fault `http`: this kind can only be checked",
        "guard `burn`: proxy `gone` has no `slo` whose budget could burn",
        "guard `down`: `step_down` needs a fault whose percentage is a ladder",
    ];
    for part in parts {
        assert_eq!(against.iter().filter(|why| why.contains(part)).count(), 1, "{part} in {against:#?}");
    }
    assert_eq!(against.len(), parts.len(), "{against:#?}");
    assert!(rig.plane.log.lock().unwrap().is_empty());
}

#[test]
fn a_plan_without_an_end_and_a_guard_that_sees_nothing_are_refused() {
    let rig = rig();
    let mut endless = scenario("s").fault(fault("late")).checked();
    endless.max_duration = None;
    let endless = rig.engine.submit(endless, &Identity::local()).unwrap().id;
    assert_eq!(
        against(rig.engine.start(&endless, Keep::Owned, &Identity::local())),
        ["to be armed it must have: `max_duration`", "no fault has an end: max_duration is missing"]
    );
    let blind = short().guard(guard("errors", Metric::ErrorRate, 0.1)).with(|checked| checked.workloads.clear());
    let why = against(rig.engine.start(&rig.submit(blind), Keep::Owned, &Identity::local()));
    assert!(why[0].contains("guard `errors`: error_rate needs a workload"), "{why:?}");
}

#[test]
fn what_must_not_be_reached_stops_a_start() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rig = rig_with(Safety { must_not_reach: vec![address.clone()], ..Safety::default() }, state());
    let id = rig.submit(short());
    assert!(against(rig.engine.start(&id, Keep::Owned, &Identity::local()))[0].starts_with(&address));
    drop(listener);
    assert!(rig.engine.start(&id, Keep::Owned, &Identity::local()).is_ok(), "what was in the way is gone");
}

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let mut rig = rig();
    let id = rig.submit(short().with(|checked| checked.proxies.push(proxy("second", "proxy:p"))));
    rig.plane.taken.lock().unwrap().push("second".into());
    assert!(
        against(rig.engine.start(&id, Keep::Owned, &Identity::local()))[0].contains("proxy `second`: can not listen")
    );
    rig.plane.taken.lock().unwrap().clear();
    rig.doubles.broken.store(true, Ordering::SeqCst);
    assert!(
        against(rig.engine.start(&id, Keep::Owned, &Identity::local()))[0]
            .contains("workload `w`: no descriptors left")
    );
    assert!(rig.plane.names().is_empty() && rig.doubles.alive.load(Ordering::SeqCst) == 0);
    assert!(rig.plane.cell().plan().load().is_empty());
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Approved);
    rig.doubles.broken.store(false, Ordering::SeqCst);
    rig.engine.start(&id, Keep::Owned, &Identity::local()).unwrap();
    rig.go(2.0);
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Running);
    let opened: Vec<String> = rig.plane.log.lock().unwrap().iter().rev().take(2).rev().cloned().collect();
    assert_eq!(opened, ["open p to 127.0.0.1:5000", "open second to 127.0.0.1:4000"]);
}

#[test]
fn toxics_are_refused_where_the_environment_asks_for_approvals() {
    let approvals = [("local".to_owned(), squall_core::config::Consent::People(1))].into();
    let rig = rig_with(Safety { approvals, ..Safety::default() }, state());
    let Err(refused) = rig.engine.resident("toxiproxy", None, None) else { panic!("it runs") };
    let why = refused.to_string();
    assert_eq!(why, "here everything needs 1 approval(s), and what clients set one by one can't be approved");
    assert!(rig.engine.list().is_empty());
}

#[test]
fn a_paced_release_is_over_when_nothing_is_held_any_more() {
    let mut rig = rig();
    let (shard, _awake) = rig.plane.worker();
    let id = rig.start(short().with(|checked| checked.release_over = 2 * SECOND));
    rig.go(2.0);
    rig.hit("p", 1, 0);
    let tally = rig.actives("p")[0].tally.clone();
    tally.held.store(3, Ordering::SeqCst);
    let aborting = rig.engine.begin_abort(Some(&id), "enough").unwrap();
    shard.released.store(1, Ordering::SeqCst);
    assert!(aborting.report().permitted_us.is_some(), "all workers know");
    assert_eq!(aborting.report().drained_us, None, "but units still wait for their turn");
    rig.plane.hand.forward(SECOND);
    shard.released.store(4, Ordering::SeqCst);
    shard.drained_at.store(rig.plane.hand.now().mono, Ordering::SeqCst);
    tally.held.store(0, Ordering::SeqCst);
    let report = aborting.report();
    assert_eq!((report.released, report.drained_us), (4, Some(1_000_000)));
    rig.over(&id);
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!(report["release_over_s"], json!(2.0));
    assert!(text.contains("let go over up to 2.0 s"), "{text}");
}

#[test]
fn an_abort_reports_what_the_workers_say() {
    let mut rig = rig();
    let (shard, awake) = rig.plane.worker();
    let id = rig.start(short());
    rig.go(2.0);
    rig.hit("p", 1, 0);
    awake.store(false, Ordering::SeqCst);
    let aborting = rig.engine.begin_abort(Some(&id), "enough").unwrap();
    assert!(!rig.actives("p")[0].switch.is_on(rig.plane.hand.now()), "off before anything else");
    assert_eq!((aborting.report().permitted_us, aborting.report().drained_us), (None, None));
    rig.plane.hand.forward(3 * MILLI);
    shard.released.store(7, Ordering::SeqCst);
    shard.draining.store(2, Ordering::SeqCst);
    rig.plane.acknowledge(&shard);
    let report = aborting.report();
    assert_eq!((report.released, report.permitted_us, report.drained_us), (7, Some(3_000), None));
    rig.plane.hand.forward(2 * MILLI);
    shard.drained_at.store(rig.plane.hand.now().mono, Ordering::SeqCst);
    shard.draining.store(0, Ordering::SeqCst);
    assert_eq!(aborting.report().drained_us, Some(5_000));
    awake.store(true, Ordering::SeqCst);
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Stopped, Some(Verdict::Inconclusive)));
    assert_eq!(view.reason.as_deref(), Some("aborted: enough"));
    assert_eq!(rig.told("drained"), ["7 let go, the last byte written after 5000 us"]);
    assert_eq!(rig.engine.report(&id).unwrap().0["release"]["drained_us"], json!(5_000));
    assert!(matches!(rig.engine.abort(&id, "again", Duration::ZERO), Err(Refusal::State(_))));
}

#[test]
fn an_abort_answers_while_a_worker_is_deaf() {
    let rig = rig();
    let (_, awake) = rig.plane.worker();
    let id = rig.start(short());
    awake.store(false, Ordering::SeqCst);
    let report = rig.engine.abort(&id, "enough", Duration::from_millis(5)).unwrap();
    assert_eq!((report.experiments, report.permitted_us), (vec![id], None));
}

#[test]
fn abort_all_ends_everything_and_later_starts_are_free_of_it() {
    let mut rig = rig();
    rig.plane.worker();
    let own = |name: &str, proxy: &str| {
        let (name, to) = (name.to_owned(), proxy.to_owned());
        scenario(&name).fault(fault("late").on(&to).window(window(1, 2))).with(move |checked| {
            checked.proxies[0].name.clone_from(&to);
            checked.workloads[0].target = format!("proxy:{to}");
        })
    };
    let ids: Vec<String> = (0..4).map(|n| rig.start(own(&format!("e{n}"), &format!("p{n}")))).collect();
    let fifth = rig.submit(own("e5", "p5"));
    assert_eq!(rig.engine.start(&fifth, Keep::Owned, &Identity::local()), Err(Refusal::TooMany(4)));
    rig.go(1.5);
    let report = rig.engine.abort_all("fire", Duration::from_secs(1));
    assert_eq!(report.experiments, ids);
    assert!(report.permitted_us.is_some() && report.drained_us.is_some());
    assert!(rig.plane.cell().plan().load().is_empty());
    for id in &ids {
        assert_eq!(rig.over(id).state, State::Stopped);
    }
    assert_eq!(rig.engine.view(&fifth).unwrap().state, State::Approved, "what had not started is left alone");
    rig.engine.start(&fifth, Keep::Owned, &Identity::local()).unwrap();
    rig.go(1.5);
    assert!(rig.engine.view(&fifth).unwrap().faults[0].active);
}

#[test]
fn one_that_has_not_started_is_cancelled() {
    let rig = rig();
    let id = rig.submit(short());
    rig.engine.abort(&id, "no", Duration::ZERO).unwrap();
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Cancelled);
    assert!(matches!(rig.engine.start(&id, Keep::Owned, &Identity::local()), Err(Refusal::State(_))));
    assert_eq!(rig.engine.view("x-1"), Err(Refusal::Unknown("x-1".into())));
}

#[test]
fn a_pause_lifts_and_shifts_the_timeline() {
    let mut rig = rig();
    let id = rig.start(short());
    rig.go(2.0);
    assert_eq!(rig.engine.pause(&id).unwrap().state, State::Paused);
    assert!(!rig.engine.view(&id).unwrap().faults[0].active);
    assert!(matches!(rig.engine.pause(&id), Err(Refusal::State(_))));
    rig.go(10.0);
    let resumed = rig.engine.resume(&id).unwrap();
    assert_eq!((resumed.state, resumed.faults[0].active), (State::Running, true), "the window goes on where it stood");
    assert!((resumed.elapsed - 2.0).abs() < 1e-6);
    rig.hit("p", 1, 0);
    rig.go(6.2);
    let view = rig.over(&id);
    assert_eq!(view.verdict, Some(Verdict::Upheld));
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!(report["paused_s"], json!(10.0));
    assert!(text.contains("paused: by a person") && text.contains("running again"), "{text}");
}

#[test]
fn a_lease_lives_while_it_is_renewed() {
    let mut rig = rig();
    let id = rig.submit(scenario("s").fault(fault("late").window(window(1, 60))));
    rig.engine.start(&id, Keep::Lease, &Identity::local()).unwrap();
    for _ in 0..3 {
        rig.go(8.0);
        rig.engine.renew(&id).unwrap();
    }
    let switch = rig.actives("p")[0].switch.clone();
    rig.hit("p", 1, 0);
    rig.plane.hand.forward(10 * SECOND - 1);
    assert!(switch.is_on(rig.plane.hand.now()));
    rig.plane.hand.forward(1);
    assert!(!switch.is_on(rig.plane.hand.now()), "the switch needs no engine for it");
    assert!(matches!(rig.engine.renew(&id), Err(Refusal::State(_))), "a lease that has run out stays so");
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Stopped, Some(Verdict::Inconclusive)));
    assert!(view.reason.unwrap().contains("lease ran out"));
}

#[test]
fn a_detached_one_ends_at_its_limit() {
    let mut rig = rig();
    let id = rig.submit(scenario("s").fault(fault("late").window(window(1, 60))).max_duration(100));
    rig.engine.start(&id, Keep::Detached(Duration::from_secs(5)), &Identity::local()).unwrap();
    rig.go(4.0);
    rig.hit("p", 1, 0);
    rig.plane.hand.forward(SECOND);
    assert!(!rig.actives("p")[0].switch.is_on(rig.plane.hand.now()));
    let view = rig.over(&id);
    assert_eq!(
        (view.verdict, view.reason.as_deref()),
        (Some(Verdict::Inconclusive), Some("the time limit was reached"))
    );
}

#[test]
fn what_is_still_held_at_the_end_fails_the_run() {
    let mut rig = rig();
    let id = rig.start(short());
    rig.go(2.0);
    rig.hit("p", 1, 0);
    rig.actives("p")[0].tally.held.store(1, Ordering::SeqCst);
    rig.go(6.2);
    let view = rig.over(&id);
    assert_eq!(view.state, State::Failed);
    assert!(view.reason.unwrap().ends_with("1 units are still held"));
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!(report["residue"]["proven"], json!(false));
    assert!(text.contains("**pass-through not proven: 1 units are still held**"), "{text}");
}

#[test]
fn without_a_state_directory_nothing_starts_and_what_runs_goes_on() {
    let state = state();
    let mut rig = rig_with(Safety::default(), state.clone());
    let id = rig.start(short());
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, "not a directory").unwrap();
    let late =
        rig.submit(scenario("late").fault(fault("late").window(window(0, 1))).with(|checked| checked.proxies.clear()));
    let Err(Refusal::NotArmed(why)) = rig.engine.start(&late, Keep::Owned, &Identity::local()) else {
        panic!("it has started")
    };
    assert!(why[0].starts_with("its evidence can't be kept in "), "{why:?}");
    rig.go(2.0);
    rig.hit("p", 30, 0);
    rig.go(6.2);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Upheld));
    assert_eq!(rig.engine.report(&id).unwrap().0["ledger"]["unwritten"], json!(30));
    std::fs::remove_file(state).unwrap();
}

#[test]
fn runs_of_a_process_that_died_are_closed_and_never_resumed() {
    let first = rig();
    let id = first.start(short());
    let kept = state();
    std::fs::create_dir_all(kept.join("runs")).unwrap();
    std::fs::rename(first.state.join("runs").join(&id), kept.join("runs").join(&id)).unwrap();
    let second = rig_with(Safety::default(), kept);
    let run: Value = serde_json::from_str(&second.file(&id, "run.json")).unwrap();
    assert_eq!((&run["state"], &run["reason"]), (&json!("stopped"), &json!("aborted: crash")));
    assert!(second.engine.report(&id).unwrap().1.contains("inconclusive"));
    assert!(second.engine.list().is_empty() && second.plane.names().is_empty());
    assert_eq!(second.submit(short()), "s-2", "an id is never used twice");
    assert!(second.engine.report("../s-1").is_err());
}

#[test]
fn a_run_that_the_engine_loses_ends() {
    let mut rig = rig();
    rig.start(scenario("s").fault(fault("late").window(window(0, 60))));
    rig.go(0.1);
    let (switch, epoch) = (rig.actives("p")[0].switch.clone(), rig.plane.cell().epoch());
    assert!(switch.is_on(rig.plane.hand.now()));
    rig.runs.clear();
    assert!(switch.is_over(rig.plane.hand.now()) && rig.plane.cell().epoch() > epoch);
}

#[test]
fn dropping_the_engine_ends_what_runs() {
    let rig = rig();
    rig.start(scenario("s").fault(fault("late").window(window(0, 60))));
    let switch = rig.actives("p")[0].switch.clone();
    assert!(switch.is_on(rig.plane.hand.now()));
    let plane = rig.plane.clone();
    drop(rig);
    assert!(!switch.is_on(plane.hand.now()));
}

fn mark(kind: MarkKind, text: &str) -> Mark {
    let text = Some(text.to_owned()).filter(|text| !text.is_empty());
    Mark { kind, text, step: None, by: Some("ann".into()) }
}

#[test]
fn people_mark_a_run_and_the_report_says_how_long_they_took() {
    let mut rig = rig();
    let id = rig.start(short().step(step("fail over", 2, 60)));
    let done = || Mark { step: Some("fail over".into()), ..mark(MarkKind::Step, "moved to b") };
    rig.go(0.5);
    let early = rig.engine.mark(&id, mark(MarkKind::Detected, "")).unwrap();
    assert_eq!((early.counts, early.since_first_fault), (false, None), "no fault had opened");
    assert!(matches!(rig.engine.mark(&id, done()), Err(Refusal::State(why)) if why.contains("waits for no step")));
    rig.go(4.5);
    let view = rig.engine.view(&id).unwrap();
    assert_eq!((view.state, view.elapsed, view.faults[0].active), (State::Running, 2.0, true));
    let waiting = view.waiting.unwrap();
    assert_eq!((waiting.step.as_str(), waiting.within, waiting.waited), ("fail over", 60.0, 3.0));
    rig.hit("p", 30, 0);
    assert_eq!(rig.engine.mark(&id, mark(MarkKind::Detected, "alert")).unwrap().since_first_fault, Some(4.0));
    assert!(!rig.engine.mark(&id, mark(MarkKind::Detected, "again")).unwrap().counts);
    let other = Mark { step: Some("reboot".into()), ..done() };
    assert!(matches!(rig.engine.mark(&id, other), Err(Refusal::State(why)) if why.contains("not for `reboot`")));
    rig.engine.mark(&id, done()).unwrap();
    assert!(matches!(rig.engine.mark(&id, done()), Err(Refusal::State(_))), "once is enough");
    rig.go(0.05);
    assert_eq!(rig.engine.view(&id).unwrap().waiting, None);
    assert!(rig.actives("p")[0].look(rig.plane.hand.now()).open.is_some_and(|open| open.elapsed == SECOND));
    rig.go(1.5);
    assert!(!rig.engine.view(&id).unwrap().faults[0].active, "its window closed after the second that was left");
    rig.engine.mark(&id, mark(MarkKind::Mitigated, "")).unwrap();
    rig.go(5.0);
    let view = rig.over(&id);
    assert_eq!(view.verdict, Some(Verdict::Upheld), "{:?}", view.reason);
    assert!(matches!(rig.engine.mark(&id, mark(MarkKind::Note, "late")), Err(Refusal::State(_))));
    let (report, text) = rig.engine.report(&id).unwrap();
    let people = &report["people"];
    assert_eq!((&people["time_to_detect_s"], &people["steps"][0]["took_s"]), (&json!(4.0), &json!(3.0)));
    assert!((5.5..5.7).contains(&people["time_to_mitigate_s"].as_f64().unwrap()), "{people}");
    assert_eq!((&people["steps"][0]["by"], &people["steps"][0]["text"]), (&json!("ann"), &json!("moved to b")));
    assert_eq!(people["marks"].as_array().unwrap().len(), 5);
    for part in ["## People", "time to detect: 4.0 s", "marked after 3.0 s", "moved to b", "waited 3."] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let steps = rig.told("step");
    assert_eq!(steps[1], "step `fail over` marked after 3.0 s by ann: moved to b");
    assert!(rig.file(&id, "events.jsonl").contains("detected by ann: alert (4.0 s after the first fault opened)"));
}

#[test]
fn a_run_that_waits_still_ends_at_once_when_it_is_aborted() {
    let mut rig = rig();
    let id = rig.start(short().step(step("fail over", 2, 60)));
    rig.go(5.0);
    let active = rig.actives("p")[0].clone();
    assert!(active.switch.is_on(rig.plane.hand.now()));
    rig.engine.begin_abort(Some(&id), "enough").unwrap();
    assert!(!active.switch.is_on(rig.plane.hand.now()));
    assert!(matches!(rig.engine.mark(&id, mark(MarkKind::Step, "")), Err(Refusal::State(_))));
    assert_eq!(rig.over(&id).state, State::Stopped);
    let report = rig.engine.report(&id).unwrap().0;
    assert_eq!(report["people"]["steps"][0]["outcome"], "not marked: the run ended");
}

#[test]
fn a_run_that_was_not_steady_before_is_cancelled_with_nothing_injected() {
    let mut rig = rig();
    let id = rig.start(short().before(steady(Metric::P99, 5e6, 2)));
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Armed);
    rig.go(1.0);
    assert!(rig.actives("p").is_empty(), "no fault is in force yet");
    rig.go(2.0);
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Cancelled, Some(Verdict::Inconclusive)));
    let reason = view.reason.unwrap();
    assert!(reason.starts_with("steady state did not hold before anything was injected: p99 was 10"), "{reason}");
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!(report["before"][0]["outcome"], "did_not_hold");
    assert!(text.contains("## Before anything was injected") && text.contains("did not hold"), "{text}");
    assert!(rig.plane.names().is_empty() && rig.plane.cell().plan().load().is_empty());
}

#[test]
fn turns_are_measured_before_the_first_fault_where_a_condition_reads_them() {
    let mut rig = rig();
    let words = short().before(steady(Metric::P99, 50e6, 1)).with(|checked| checked.workloads.clear());
    let id = rig.start(words);
    rig.go(0.1);
    let plan = rig.plane.cell().plan().load_full();
    assert!(plan.slice("p").is_some_and(|slice| slice.measure_turns && slice.actives.is_empty()));
    rig.engine.begin_abort(Some(&id), "enough").unwrap();
    assert_eq!(rig.over(&id).state, State::Cancelled);
    assert!(rig.plane.cell().plan().load().is_empty());
}

#[test]
fn an_observation_says_what_would_have_been_hit() {
    let mut rig = rig();
    let id = rig.submit(short().guard(guard("slow", Metric::P99, 1e6)));
    let view = rig.engine.observe(&id, Keep::Owned, &Identity::local()).unwrap();
    assert!(view.observed);
    rig.go(2.0);
    assert!(rig.actives("p")[0].observed);
    rig.hit("p", 30, 0);
    rig.go(6.1);
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Completed, Some(Verdict::Inconclusive)));
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!((&report["observed"], &report["summary"]["injected"]), (&json!(true), &json!(30)));
    assert_eq!(report["why"][0], "observed: nothing was injected");
    assert_eq!(report["why"][1], "guard `slow` would have fired (1 times)");
    assert!(text.contains("# s-1: observed") && text.contains("Only observed"), "{text}");
    let ledger = rig.file(&id, "ledger.jsonl");
    assert!(ledger.lines().all(|line| line.contains("\"observed\":true")) && ledger.lines().count() == 30);
    assert!(rig.told("guard")[0].starts_with("would have fired: "));
}

#[test]
fn what_may_be_observed() {
    let needs = |workloads: bool| {
        let rig = rig();
        let id = rig.submit(short().with(|checked| {
            checked.approvals_required = 1;
            if !workloads {
                checked.workloads.clear();
            }
        }));
        assert!(matches!(rig.engine.start(&id, Keep::Owned, &Identity::local()), Err(Refusal::NotArmed(_))));
        rig.engine.observe(&id, Keep::Owned, &Identity::local()).is_err()
    };
    assert_eq!((needs(false), needs(true)), (false, true));
    let rig = rig();
    let datagrams = rig.submit(short().with(|checked| checked.proxies[0].protocol = Protocol::Udp));
    let why = against(rig.engine.observe(&datagrams, Keep::Owned, &Identity::local()));
    assert!(why.iter().any(|why| why.contains("connections and datagrams do not go together")), "{why:?}");
    let datagrams = rig.submit(short().with(|checked| {
        checked.proxies[0].protocol = Protocol::Udp;
        checked.workloads[0].kind = WorkloadKind::Udp { size: 64 };
    }));
    assert!(rig.engine.observe(&datagrams, Keep::Owned, &Identity::local()).is_ok());
    let elsewhere = rig.submit(short().with(|checked| checked.environments = vec!["staging".into()]));
    assert!(rig.engine.observe(&elsewhere, Keep::Owned, &Identity::local()).is_err(), "environments hold for it too");
}

fn person(name: &str) -> Identity {
    Identity::new(name, Role::Admin, Proof::Certificate, "here")
}

#[test]
fn an_experiment_starts_once_somebody_else_has_approved_exactly_it() {
    let rig = rig();
    let needing = || short().with(|checked| checked.approvals_required = 1).checked();
    let (alice, bob, carol) = (person("alice"), person("bob"), person("carol"));
    let view = rig.engine.submit(needing(), &alice).unwrap();
    let (id, digest) = (view.id, view.digest);
    assert_eq!((view.state, view.consent.required), (State::Draft, 1));
    let given = |digest: &str| Approving { digest: digest.into(), holds: HOLDS, max_exposure: None };

    let missing = against(rig.engine.start(&id, Keep::Owned, &alice));
    assert!(missing[0].starts_with("it needs 1 approval(s)"), "{missing:?}");
    assert!(matches!(rig.engine.approve(&id, &given(&digest), &alice), Err(Refusal::Forbidden(_))), "one's own");
    assert!(matches!(rig.engine.approve(&id, &given("else"), &bob), Err(Refusal::State(_))), "something else");
    assert!(matches!(rig.engine.approve(&id, &given(&digest), &Identity::local()), Err(Refusal::State(_))));
    assert_eq!(rig.engine.approve(&id, &given(&digest), &bob).unwrap().state, State::Approved);
    assert!(matches!(rig.engine.approve(&id, &given(&digest), &bob), Err(Refusal::State(_))), "again");

    let own = against(rig.engine.start(&id, Keep::Owned, &bob));
    assert!(own[1].contains("they start it"), "{own:?}");
    let view = rig.engine.start(&id, Keep::Owned, &carol).unwrap();
    assert_eq!(view.consent.started_by.as_deref(), Some("carol"));
    assert!(matches!(rig.engine.start(&id, Keep::Owned, &carol), Err(Refusal::State(_))), "started twice");
    assert!(matches!(rig.engine.approve(&id, &given(&digest), &carol), Err(Refusal::State(_))), "too late");

    let again = rig.engine.submit(needing(), &alice).unwrap();
    assert_eq!(again.consent.approvals, [], "an approval is for one start");
}

#[test]
fn what_was_approved_is_void_once_what_runs_here_has_changed() {
    let rig = rig();
    let view =
        rig.engine.submit(short().with(|checked| checked.approvals_required = 1).checked(), &person("alice")).unwrap();
    let given = Approving { digest: view.digest, holds: HOLDS, max_exposure: None };
    rig.engine.approve(&view.id, &given, &person("bob")).unwrap();
    rig.plane.open(&proxy("new", "127.0.0.1:1")).unwrap();
    rig.submit(short().with(|checked| checked.proxies.push(proxy("new", "127.0.0.1:1")))); // which hides nothing
    let why = against(rig.engine.start(&view.id, Keep::Owned, &person("alice")));
    assert!(why[1].contains("have changed since"), "{why:?}");
    rig.plane.close("new").unwrap();
    assert!(rig.engine.start(&view.id, Keep::Owned, &person("alice")).is_ok());
}

#[test]
fn what_is_taken_in_again_after_a_restart_is_on_record_with_who_approved_it() {
    let words = || short().with(|checked| checked.approvals_required = 1).checked();
    let first = rig();
    let view = first.engine.submit(words(), &person("alice")).unwrap();
    let given = Approving { digest: view.digest, holds: HOLDS, max_exposure: None };
    first.engine.approve(&view.id, &given, &person("bob")).unwrap();
    let kept = state();
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::rename(first.state.join("drafts"), kept.join("drafts")).unwrap();
    let second = rig_with(Safety::default(), kept);
    second.engine.restore(|_| Ok(words()));
    second.engine.start(&view.id, Keep::Owned, &person("carol")).unwrap();
    let told = "approved again, squall was started anew: handed in by alice, approved by bob";
    let logged = logged(&second);
    assert!(logged.iter().any(|(_, object, reason)| *object == view.id && reason == told), "{logged:#?}");
    assert!(!second.state.join("drafts").join(format!("{}.json", view.id)).exists(), "for one start");
}

#[test]
fn what_a_scenario_has_to_say_is_listed_in_one_message() {
    let rig = rig();
    let mut bare = short().checked();
    (bare.owner, bare.hypothesis, bare.max_duration) = (None, Some("  ".into()), None);
    (bare.environments, bare.guards) = (vec![], vec![]);
    let id = rig.engine.submit(bare, &Identity::local()).unwrap().id;
    let list = "to be armed it must have: `owner`, `hypothesis`, `environments`, `max_duration`, a `[[guard]]`";
    assert_eq!(against(rig.engine.start(&id, Keep::Owned, &Identity::local())), [list]);
}

#[test]
fn what_somebody_rejects_does_not_start() {
    let rig = rig();
    let id = rig.submit(short());
    let view = rig.engine.reject(&id, "not today", &person("bob")).unwrap();
    assert_eq!(view.state, State::Cancelled);
    assert_eq!(view.reason.as_deref(), Some("rejected by bob: not today"));
    assert!(matches!(rig.engine.start(&id, Keep::Owned, &person("alice")), Err(Refusal::State(_))));
    assert!(matches!(rig.engine.reject(&id, "again", &person("bob")), Err(Refusal::State(_))));
}

/// What the log says, word by word: action, object, reason.
fn logged(rig: &Rig) -> Vec<(String, String, String)> {
    rig.engine.audit().check().unwrap();
    let told = |record: Logged| (record.action, record.object.unwrap_or_default(), record.reason.unwrap_or_default());
    rig.audit.records().into_iter().map(told).collect()
}

#[test]
fn the_log_has_a_run_from_its_start_to_its_end_and_the_report_where_it_stood() {
    let mut rig = rig();
    let id = rig.start(short().guard(guard("slow", Metric::P99, 1e6).then(GuardAction::Alert)));
    rig.go(2.0);
    rig.hit("p", 30, 0);
    rig.go(6.1);
    rig.over(&id);
    let logged = logged(&rig);
    let of = |action: &str| -> Vec<&str> {
        let own = logged.iter().filter(|(word, object, _)| word == action && *object == id);
        own.map(|(_, _, reason)| reason.as_str()).collect()
    };
    assert_eq!(of("start"), ["it acts; seed 7"]);
    assert_eq!(of("end"), ["completed: upheld; it reached its planned end"]);
    assert_eq!(of("guard").len(), 1);
    let states = [
        "draft, handed in by local",
        "approved: none is required",
        "armed",
        "running",
        "stopping: it reached its planned end",
    ];
    assert_eq!(of("state")[..5], states);
    let place =
        |wanted: &str| logged.iter().position(|(action, _, reason)| action == wanted || reason == wanted).unwrap();
    assert!(place("armed") < place("start") && place("start") < place("running"), "before anything acts: {logged:#?}");
    let point = &rig.engine.report(&id).unwrap().0["audit"];
    let at = usize::try_from(point["size"].as_u64().unwrap()).unwrap();
    assert_eq!((&*logged[at - 1].0, &point["origin"]), ("end", &json!("here")));
    assert_eq!(rig.audit.records()[at - 1].plan_hash.as_deref(), Some("d1"));
}

#[test]
fn without_a_log_nothing_starts_what_runs_ends_and_an_abort_works() {
    let mut rig = rig();
    let id = rig.start(short());
    rig.go(2.0);
    assert!(rig.engine.view(&id).unwrap().faults[0].active);
    rig.engine.audit().check().unwrap(); // what came before is written
    rig.audit.fill(true);
    rig.engine.tell("config", "something happens");
    assert!(rig.engine.audit().check().is_err());
    rig.engine.tick(&mut rig.runs);
    assert!(rig.plane.cell().plan().load().is_empty(), "the next look ends it");
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Stopped, Some(Verdict::Inconclusive)));
    assert!(view.reason.unwrap().starts_with("aborted: the audit log can't be written: memory: "));
    assert!(rig.engine.report(&id).unwrap().1.contains("**the audit log can't be written"));
    let late = rig.submit(short());
    let why = against(rig.engine.start(&late, Keep::Owned, &Identity::local()));
    assert!(why.len() == 1 && why[0].starts_with("the audit log can't be written"), "{why:?}");
    assert!(rig.engine.abort_all("fire", Duration::from_secs(1)).permitted_us.is_some());

    rig.audit.fill(false);
    rig.engine.start(&late, Keep::Owned, &Identity::local()).unwrap();
    let actions: Vec<String> = logged(&rig).into_iter().map(|(action, ..)| action).collect();
    let gap = actions.iter().position(|action| action == "gap").unwrap();
    assert_eq!(actions[gap + 1], "config", "what was kept follows");
    assert!(actions[gap..].contains(&"end".to_owned()), "{actions:?}");
}

#[test]
fn a_start_whose_record_is_not_kept_leaves_nothing_behind() {
    let rig = rig();
    let id = rig.submit(short());
    rig.audit.fill(true); // found out only when the record is written
    assert!(
        matches!(rig.engine.start(&id, Keep::Owned, &Identity::local()), Err(Refusal::NotArmed(why)) if why.len() == 1)
    );
    assert!(rig.plane.names().is_empty() && rig.plane.cell().plan().load().is_empty());
    assert!(!rig.state.join("runs").join(&id).join("run.json").exists());
    assert_eq!(rig.engine.view(&id).unwrap().state, State::Approved);
}

#[test]
fn the_lever_ends_what_runs_and_nothing_starts_until_it_is_released() {
    let mut rig = rig();
    rig.plane.worker();
    let id = rig.start(short());
    rig.go(2.0);
    let switch = rig.actives("p")[0].switch.clone();
    let aborting = rig.engine.engage("the site is down", "ann");
    assert!(!switch.is_on(rig.plane.hand.now()));
    assert_eq!(aborting.report().experiments, std::slice::from_ref(&id));
    rig.engine.keep_lever().unwrap();
    assert_eq!(rig.over(&id).reason.as_deref(), Some("aborted: the safety lever was engaged: the site is down"));

    let late = rig.submit(short());
    let refused = Refusal::Lever("the site is down".into());
    assert_eq!(rig.engine.start(&late, Keep::Owned, &Identity::local()), Err(refused.clone()));
    assert_eq!(rig.engine.observe(&late, Keep::Owned, &Identity::local()), Err(refused.clone()));
    assert_eq!(rig.engine.resident("toxics", None, None).err(), Some(refused.clone()));

    let again = rig_with(Safety::default(), rig.state.clone());
    let late = again.submit(short());
    assert_eq!(again.engine.start(&late, Keep::Owned, &Identity::local()), Err(refused), "it survives a restart");
    again.engine.release_lever("root").unwrap();
    again.engine.start(&late, Keep::Owned, &Identity::local()).unwrap();
    assert!(!rig_with(Safety::default(), again.state.clone()).engine.lever().engaged);
}

#[test]
fn a_fault_that_comes_while_the_lever_is_engaged_is_refused_and_one_that_was_there_is_gone() {
    let rig = rig();
    let resident = rig.engine.resident("toxics", None, None).unwrap();
    let spec = || short().checked().faults.remove(0);
    let serial = resident.add(spec()).unwrap();
    rig.engine.engage("enough", "ann");
    assert!(!resident.renew());
    assert!(resident.add(spec()).is_err() && resident.change(serial, spec()).is_err());
}

#[test]
fn pass_through_that_no_bytes_prove_is_called_so() {
    let mut rig = rig();
    let id = rig.start(short().with(|checked| checked.faults[0].min_hits = 0));
    let unbound = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    rig.plane.deaf.store(true, Ordering::SeqCst);
    *rig.plane.listens.lock().unwrap() = unbound.to_string();
    rig.go(8.2);
    assert_eq!(rig.over(&id).state, State::Completed);
    let residue = rig.engine.report(&id).unwrap().0["residue"].clone();
    let text = residue["text"].as_str().unwrap();
    assert!(
        residue["proven"] == json!(false) && text.starts_with("pass-through not proven: no bytes came back equal: ")
    );
    assert_eq!(rig.told("residue"), [text]);
    let logged = logged(&rig);
    assert!(logged.iter().any(|(action, _, reason)| action == "residue" && reason == text), "{logged:#?}");
}

#[test]
fn a_near_miss_is_in_report_events_and_log() {
    let mut rig = rig();
    let id = rig.start(short().guard(guard("slow", Metric::P99, 12e6)));
    rig.go(2.0);
    rig.hit("p", 30, 0);
    rig.go(6.1);
    assert_eq!(rig.over(&id).verdict, Some(Verdict::Upheld));
    let (report, text) = rig.engine.report(&id).unwrap();
    assert_eq!((&report["guards"][0]["near_miss"], &report["guards"][0]["fired"]), (&json!(true), &json!(0)));
    assert!(text.contains(" %: near miss**"), "{text}");
    assert_eq!(rig.told("near").len(), 1);
    assert!(logged(&rig).iter().any(|(action, object, _)| action == "near" && *object == id));
}

#[test]
fn a_fault_that_panics_ends_its_run_with_its_name_and_leaves_the_others_alone() {
    let mut rig = rig();
    let other = rig.engine.resident("toxics", None, None).unwrap();
    other.add(fault("early").checked_alone()).unwrap();
    let id = rig.start(short());
    rig.go(2.0);
    let fallen = rig.actives("p").into_iter().find(|active| *active.name.experiment == *id).unwrap();
    // what the chain does when a hook panics: the worker's own test has the panic
    fallen.tally.panicked.fetch_add(1, Ordering::SeqCst);
    fallen.switch.end();
    rig.go(0.05);
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Failed, Some(Verdict::Invalid)));
    assert!(view.reason.unwrap().starts_with("fault `late` failed on a connection of `p` (a bug)"));
    assert!(other.renew() && !rig.plane.cell().plan().load().is_empty(), "the other one goes on");
    let ends: Vec<String> = logged(&rig).into_iter().filter(|(action, ..)| action == "end").map(|end| end.2).collect();
    assert!(ends.len() == 1 && ends[0].contains("failed: invalid") && ends[0].contains("`late`"), "{ends:?}");
}

#[test]
fn a_panic_in_one_run_lifts_it_is_on_record_and_leaves_the_others_alone() {
    let mut rig = rig();
    let other = rig.engine.resident("toxics", None, None).unwrap();
    other.add(fault("late").checked_alone()).unwrap();
    let id = rig.start(short());
    rig.go(2.0);
    let switch = rig.actives("p").into_iter().find(|active| *active.name.experiment == *id).unwrap().switch.clone();
    rig.doubles.panics.store(true, Ordering::SeqCst);
    rig.engine.tick(&mut rig.runs);
    assert!(!switch.is_on(rig.plane.hand.now()));
    let view = rig.over(&id);
    assert_eq!((view.state, view.verdict), (State::Failed, Some(Verdict::Invalid)));
    assert!(other.renew() && !rig.plane.cell().plan().load().is_empty(), "the other one goes on");
    let ends: Vec<String> = logged(&rig).into_iter().filter(|(action, ..)| action == "end").map(|end| end.2).collect();
    assert!(ends.len() == 1 && ends[0].starts_with("failed: invalid; squall failed to carry it out"), "{ends:?}");
}
