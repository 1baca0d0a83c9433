//! The core of a run on a clock moved by hand, with figures as the test writes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use squall_core::scenario::{BeforeSpec, Checked, GuardAction, Metric, ProbeCheck, ProbeMode, ProbeSpec};
use squall_core::time::{MILLI, NEVER, Now, SECOND, Time};

use super::fakes::latencies;
use super::words::ScenarioWords;
use super::{expect, fault, guard, probe, scenario, steady, step, window};
use crate::arm::{Ground, resolve};
use crate::engine::Keep;
use crate::metrics::Figures;
use crate::probe::Found;
use crate::run::{Effect, Ending, Inputs, Run, Timeline};
use crate::steps::StepMark;
use crate::verdict::{Cause, Outcome};

/// What clients feel: the latency of their requests in ms, and how many in five fail.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    latency: u64,
    failing: u64,
}

pub(super) const FAIR: Weather = Weather { latency: 10, failing: 0 };
const SLOW: Weather = Weather { latency: 100, failing: 0 };
pub(super) const BROKEN: Weather = Weather { latency: 10, failing: 3 };

/// A run that a test takes through its time.
pub(super) struct Course {
    checked: Checked,
    pub(super) run: Run,
    pub(super) now: Time,
    pub(super) timeline: Timeline,
    pub(super) figures: Figures,
    blind: bool,
    pub(super) is_on: bool,
    lease: Time,
    limit: Time,
    aborted: Option<Ending>,
    asked: Vec<String>,
    marked: Option<StepMark>,
    answers: Result<(), String>,
    back: Vec<Found>,
    pub(super) told: Vec<String>,
    checks: Vec<f64>,
    lifted: bool,
    pub(super) ending: Option<Ending>,
    /// Why nothing may be exposed more than it is.
    pub(super) against: Option<String>,
    /// Where ladders were put: when, s on the timeline, the fault and its step.
    pub(super) climbs: Vec<(f64, usize, usize)>,
}

pub(super) fn course(words: ScenarioWords) -> Course {
    course_of(words, false)
}

fn course_of(words: ScenarioWords, observed: bool) -> Course {
    let checked = words.checked();
    let safety = Default::default();
    let ground = Ground {
        environment: "local",
        safety: &safety,
        proxies: &[],
        keep: Keep::Owned,
        observed,
        drops: Ok(()),
        consent: vec![],
        wall: std::time::UNIX_EPOCH,
    };
    let resolved = resolve(&checked, &ground).unwrap();
    let run = Run::new(&checked, resolved.schedule, &resolved.watching, observed);
    Course {
        checked,
        run,
        now: 1000 * SECOND,
        timeline: Timeline::default(),
        figures: Figures::default(),
        blind: false,
        is_on: true,
        lease: NEVER,
        limit: NEVER,
        aborted: None,
        asked: Vec::new(),
        marked: None,
        answers: Ok(()),
        back: Vec::new(),
        told: Vec::new(),
        against: None,
        climbs: Vec::new(),
        checks: Vec::new(),
        lifted: false,
        ending: None,
    }
}

impl Course {
    /// This many seconds of this weather, in ticks of 50 ms with five requests each.
    pub(super) fn go(&mut self, seconds: f64, weather: Weather) -> &mut Course {
        let mut left = seconds;
        while left > 1e-9 && self.ending.is_none() {
            self.tick();
            left -= 0.05;
            self.now += 50 * MILLI;
            let ok = 5 - weather.failing;
            self.figures.failed += weather.failing;
            self.figures.ok += ok;
            self.figures.latency.merge(&latencies(ok, weather.latency));
        }
        self
    }

    pub(super) fn tick(&mut self) {
        let now = Now { mono: self.now, boot: self.now };
        let watches = self.run.phases.len();
        let inputs = Inputs {
            timeline: self.timeline,
            figures: vec![Some(self.figures.clone()).filter(|_| !self.blind); watches],
            found: std::mem::take(&mut self.back),
            ended: self.aborted.clone(),
            is_on: self.is_on,
            lease: self.lease,
            limit: self.limit,
            marked: self.marked.clone(),
            against: self.against.clone(),
        };
        for effect in self.run.tick(now, &inputs) {
            match effect {
                Effect::Measure => {}
                Effect::Begin(stop) => (self.timeline.origin, self.timeline.stop) = (Some(self.now), stop),
                Effect::Ask(spec) => self.asked.push(spec.name),
                Effect::GoOn(next) => {
                    self.timeline.go_on(self.timeline.standing(self.now).unwrap(), next);
                    self.marked = None;
                }
                Effect::Climb { fault, step, .. } => self.climbs.push((self.elapsed(), fault, step)),
                Effect::Pause(_) => self.pause(),
                Effect::Check(probe) => {
                    self.checks.push(self.elapsed());
                    let asks_absent =
                        matches!(*self.run.probes[probe].question(), ProbeCheck::Alertmanager { absent: true, .. });
                    // for an alert `answers` says whether it fires
                    let passed = match &self.answers {
                        Ok(()) if asks_absent => Err("it fires".into()),
                        Err(_) if asks_absent => Ok(()),
                        answers => answers.clone(),
                    };
                    self.back.push(Found { probe, passed });
                }
                Effect::Tell(_, text) => self.told.push(text),
                Effect::Lift => self.lifted = true,
                Effect::End(ending) => self.ending = Some(ending),
            }
        }
    }

    pub(super) fn pause(&mut self) {
        self.timeline.still = Some(self.now);
        self.is_on = false;
    }

    pub(super) fn resume(&mut self) {
        self.timeline.resume(self.now);
        self.is_on = true;
    }

    /// The person that it waits for says that it is done.
    fn mark(&mut self) {
        let took = self.timeline.standing(self.now).unwrap();
        self.marked = Some(StepMark { took, by: Some("ann".into()), text: None });
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn elapsed(&self) -> f64 {
        self.timeline.elapsed(self.now).map_or(-1.0, |ns| ns as f64 / 1e9)
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        self.ending.as_ref().map(|ending| ending.cause)
    }

    fn outcomes(&mut self) -> Vec<Outcome> {
        self.run.settle(self.now, &[Some(self.figures.clone())]);
        let elapsed = self.timeline.elapsed(self.now).unwrap_or(0);
        assert_eq!(self.run.expects.len(), self.checked.expects.len());
        self.run.judge(elapsed).into_iter().map(|(_, _, outcome)| outcome).collect()
    }
}

/// A fault from 2 to 4 s.
fn short() -> ScenarioWords {
    scenario("s").fault(fault("late").window(window(2, 2)))
}

#[test]
fn it_tells_its_windows_and_ends_when_planned() {
    let mut course = course(short());
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Planned));
    assert!((course.elapsed() - 9.05).abs() < 0.1, "{}", course.elapsed());
    assert_eq!(course.told, ["fault `late` opens at 2.000 s", "fault `late` closes at 4.000 s"]);
}

#[test]
fn a_guard_ends_it() {
    let mut course = course(short().guard(guard("errors", Metric::ErrorRate, 0.2).hold(1).over(2)));
    course.go(2.0, FAIR).go(7.0, BROKEN);
    assert_eq!(course.cause(), Some(Cause::Guard));
    assert!((3.0..4.5).contains(&course.elapsed()), "{}", course.elapsed());
    assert_eq!(course.run.refuting.len(), 1);
}

#[test]
fn an_alert_is_told_and_ends_nothing() {
    let mut course = course(short().guard(guard("slow", Metric::P99, 50e6).over(1).then(GuardAction::Alert)));
    course.go(2.0, FAIR).go(3.0, SLOW).go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Planned));
    assert_eq!(course.told.iter().filter(|text| text.starts_with("guard `slow`: p99 is")).count(), 1);
    assert!(course.run.refuting.is_empty());
}

#[test]
fn a_guard_pauses_it_and_a_person_resumes() {
    let mut course = course(short().guard(guard("slow", Metric::P99, 50e6).over(1).then(GuardAction::Pause)));
    course.go(2.0, FAIR).go(30.0, SLOW);
    assert!(course.timeline.still.is_some() && course.ending.is_none());
    let stood = course.elapsed();
    course.go(10.0, FAIR);
    assert!((course.elapsed() - stood).abs() < 1e-9, "the timeline stands still");
    course.resume();
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Planned));
    assert!((course.elapsed() - 9.05).abs() < 0.1, "{}", course.elapsed());
}

#[test]
fn what_happens_in_a_pause_is_in_no_phase() {
    let mut course = course(short().expect(expect(Metric::P99, 50e6)));
    course.go(3.0, FAIR);
    course.pause();
    course.go(5.0, SLOW);
    course.resume();
    course.go(60.0, FAIR);
    assert_eq!(course.outcomes(), [Outcome::Met]);
}

#[test]
fn the_time_limit_goes_on_in_a_pause() {
    let mut course = course(short());
    course.limit = course.now + 12 * SECOND;
    course.go(3.0, FAIR);
    course.pause();
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Limit));
    assert!((course.elapsed() - 3.0).abs() < 0.1);
}

#[test]
fn the_lease_runs_out_in_a_pause_too() {
    let mut course = course(short());
    course.lease = course.now + 5 * SECOND;
    course.go(1.0, FAIR);
    course.pause();
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Lease));
}

#[test]
fn the_master_switch_and_a_person_end_it() {
    let mut off = course(short());
    off.go(1.0, FAIR);
    off.is_on = false;
    off.go(1.0, FAIR);
    assert_eq!(off.cause(), Some(Cause::Person));
    let mut person = course(short());
    person.go(1.0, FAIR);
    person.aborted = Some(Ending { cause: Cause::Person, reason: "aborted: enough".into(), at: 1 });
    person.go(1.0, FAIR);
    assert_eq!(person.ending, person.aborted);
}

#[test]
fn a_source_that_cannot_be_read_ends_a_guarded_run_and_spoils_an_expectation() {
    let mut guarded = course(short().guard(guard("errors", Metric::ErrorRate, 0.2)));
    guarded.go(1.0, FAIR);
    guarded.blind = true;
    guarded.go(1.0, FAIR);
    assert_eq!(guarded.cause(), Some(Cause::Data));
    assert_eq!(guarded.run.missing.len(), 1);
    let mut expecting = course(short().expect(expect(Metric::P99, 50e6)));
    expecting.run.guards.clear(); // the one that every scenario has
    expecting.blind = true;
    expecting.go(60.0, FAIR);
    assert_eq!((expecting.cause(), expecting.run.missing.len()), (Some(Cause::Planned), 1));
}

#[test]
fn expectations_hold_for_their_phase() {
    let words = || short().expect(expect(Metric::P99, 50e6)).expect(expect(Metric::ErrorRate, 0.01));
    let mut good = course(words());
    good.go(60.0, FAIR);
    assert_eq!(good.outcomes(), [Outcome::Met, Outcome::Met]);
    let mut before = course(words());
    before.go(1.9, SLOW).go(60.0, FAIR);
    assert_eq!(before.outcomes(), [Outcome::Met, Outcome::Met], "the baseline is no part of it");
    let mut during = course(words());
    during.go(2.5, FAIR).go(1.0, BROKEN).go(1.0, SLOW).go(60.0, FAIR);
    let missed = during.outcomes();
    assert!(matches!(&missed[0], Outcome::Missed(why) if why.starts_with("p99 was 1")), "{missed:?}");
    assert!(matches!(&missed[1], Outcome::Missed(_)), "{missed:?}");
    let mut early = course(words());
    early.go(1.0, FAIR);
    early.aborted = Some(Ending { cause: Cause::Person, reason: "enough".into(), at: 1 });
    early.go(1.0, FAIR);
    assert!(early.outcomes().iter().all(|outcome| matches!(outcome, Outcome::TooFew(_))));
}

#[test]
fn recovery_is_the_time_to_a_second_as_good_as_the_baseline() {
    let recovery = |slow: f64| {
        let mut course = course(short().recovers_within(3));
        course.go(2.0, FAIR).go(2.0 + slow, SLOW).go(60.0, FAIR);
        assert_eq!(course.cause(), Some(Cause::Planned));
        let outcome = course.outcomes().remove(0);
        (course.run.phases[0].recovered, outcome)
    };
    let (at_once, outcome) = recovery(0.0);
    assert!((900 * MILLI..=1_200 * MILLI).contains(&at_once.unwrap()), "{at_once:?}");
    assert_eq!(outcome, Outcome::Met);
    let (later, outcome) = recovery(1.0);
    assert!((1_900 * MILLI..=2_200 * MILLI).contains(&later.unwrap()), "{later:?}");
    assert_eq!(outcome, Outcome::Met);
    let (never, outcome) = recovery(9.0);
    assert_eq!(never, None);
    assert_eq!(outcome, Outcome::Missed("recovery: not back within 3.00 s".into()));
}

#[test]
fn recovery_without_a_baseline_is_not_told() {
    let mut course = course(scenario("s").fault(fault("late").window(window(0, 2))).recovers_within(3));
    course.go(60.0, FAIR);
    assert!(matches!(&course.outcomes()[0], Outcome::TooFew(why) if why.contains("before the first fault")));
}

#[test]
fn probes_run_in_their_mode() {
    let checks = |mode| {
        let mut course = course(short().probe(probe("p", mode)));
        course.go(60.0, FAIR);
        assert_eq!(course.cause(), Some(Cause::Planned));
        let rounded = course.checks.iter().map(|at| (at * 2.0).round() / 2.0).collect::<Vec<_>>();
        (rounded, course.lifted)
    };
    assert_eq!(checks(ProbeMode::Start), (vec![-1.0], false));
    assert_eq!(checks(ProbeMode::End), (vec![9.0], true));
    assert_eq!(checks(ProbeMode::Edge), (vec![-1.0, 9.0], true));
    assert_eq!(checks(ProbeMode::During).0, [2.0, 3.0]);
    assert_eq!(checks(ProbeMode::Continuous).0, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
}

#[test]
fn a_probe_that_fails_before_the_first_fault_keeps_it_from_beginning() {
    let mut course = course(short().probe(probe("up", ProbeMode::Start)));
    course.answers = Err("refused".into());
    course.go(60.0, FAIR);
    assert_eq!((course.cause(), course.timeline.origin), (Some(Cause::Unsteady), None));
    let reason = &course.ending.unwrap().reason;
    assert_eq!(reason, "steady state did not hold before anything was injected: probe `up` failed: refused");
    assert_eq!(course.told, ["probe `up` failed: refused"]);
}

#[test]
fn a_failing_probe_is_told_once_and_counted_each_time() {
    let mut course = course(short().probe(probe("up", ProbeMode::Continuous)));
    course.answers = Err("refused".into());
    course.go(3.0, FAIR);
    course.answers = Ok(());
    course.go(60.0, FAIR);
    assert_eq!(course.run.probes[0].failed, 3);
    let told: Vec<_> = course.told.iter().filter(|text| text.starts_with("probe")).collect();
    assert_eq!(told, ["probe `up` failed: refused", "probe `up` passes again"]);
}

#[test]
fn a_step_holds_the_timeline_until_it_is_marked() {
    let mut course = course(short().step(step("fail over", 3, 60)));
    course.go(20.0, FAIR);
    assert_eq!(course.asked, ["fail over"]);
    assert!((course.elapsed() - 3.0).abs() < 1e-9, "the timeline stands: {}", course.elapsed());
    assert_eq!(course.told.last().unwrap(), "step `fail over` (up to 1 min): do it");
    course.mark();
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Planned));
    assert!((course.elapsed() - 9.05).abs() < 0.1, "{}", course.elapsed());
    let done = course.run.steps.all[0].done.clone().unwrap();
    assert!(done.mark.is_some() && (17 * SECOND..=18 * SECOND).contains(&done.waited), "{done:?}");
    assert_eq!(course.told[2], format!("step `fail over` marked after {:.1} s by ann", 17.0), "{:?}", course.told);
    assert_eq!(course.told[3], "fault `late` closes at 4.000 s", "nothing closed meanwhile");
}

#[test]
fn a_step_that_nobody_marks_is_waited_for_as_long_as_it_says() {
    let mut course = course(short().step(step("one", 1, 5)).step(step("two", 3, 4)));
    course.go(60.0, FAIR);
    assert_eq!((course.cause(), course.asked.len()), (Some(Cause::Planned), 2));
    let told: Vec<_> = course.told.iter().filter(|text| text.contains("not marked")).collect();
    assert_eq!(told, ["step `one` not marked within 5.0 s", "step `two` not marked within 4.0 s"]);
    let lived = course.timeline.lived(course.now).unwrap();
    assert!((18 * SECOND..19 * SECOND).contains(&lived), "{lived}");
}

#[test]
fn guards_probes_and_the_time_limit_go_on_while_a_step_is_waited_for() {
    let waits = || short().step(step("one", 3, 600));
    let mut guarded = course(waits().guard(guard("errors", Metric::ErrorRate, 0.2).over(2)));
    guarded.go(5.0, FAIR).go(7.0, BROKEN);
    assert_eq!(guarded.cause(), Some(Cause::Guard));
    let mut limited = course(waits());
    limited.limit = limited.now + 12 * SECOND;
    limited.go(60.0, FAIR);
    assert_eq!((limited.cause(), limited.elapsed()), (Some(Cause::Limit), 3.0));
    assert_eq!(limited.run.steps.all[0].outcome(), "not marked: the run ended");
    let mut leased = course(waits());
    leased.lease = leased.now + 12 * SECOND;
    leased.go(60.0, FAIR);
    assert_eq!(leased.cause(), Some(Cause::Lease));
    let mut probed = course(waits().probe(probe("up", ProbeMode::During)));
    probed.go(20.0, FAIR);
    assert!((16..=19).contains(&probed.run.probes[0].runs), "{}", probed.run.probes[0].runs);
}

#[test]
fn a_pause_in_a_wait_counts_for_neither() {
    let mut course = course(short().step(step("one", 3, 10)));
    course.go(5.0, FAIR);
    course.pause();
    course.go(100.0, FAIR);
    assert!(course.ending.is_none() && course.run.steps.all[0].done.is_none());
    course.resume();
    course.go(2.0, FAIR);
    assert!(course.run.steps.all[0].done.is_none());
    course.mark();
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Planned));
    let waited = course.run.steps.all[0].done.clone().unwrap().waited;
    assert!((3 * SECOND..5 * SECOND).contains(&waited), "{waited}");
}

#[test]
fn what_people_take_to_bring_it_back_is_time_to_recover() {
    let mut course = course(short().recovers_within(30).step(step("restart it", 5, 60)));
    course.go(2.0, FAIR).go(12.0, SLOW);
    course.mark();
    course.go(60.0, FAIR);
    let recovered = course.run.phases[0].recovered.unwrap();
    assert!((10 * SECOND..12 * SECOND).contains(&recovered), "{recovered}");
    assert_eq!(course.outcomes(), [Outcome::Met]);
}

#[test]
fn a_run_whose_faults_have_no_end_ends_at_its_limit_as_planned_with_waits_counted_in() {
    let words = scenario("s").fault(fault("late")).max_duration(10).step(step("one", 3, 4));
    let mut course = course(words);
    course.limit = course.now + 10 * SECOND;
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Planned));
    assert!((course.elapsed() - 6.0).abs() < 0.2, "{}", course.elapsed());
}

#[test]
fn what_is_steady_lets_it_begin() {
    let mut course = course(short().before(steady(Metric::P99, 50e6, 3)));
    course.go(2.9, FAIR);
    assert_eq!(course.timeline.origin, None);
    course.go(60.0, FAIR);
    assert_eq!(course.cause(), Some(Cause::Planned));
    assert!(course.told[0].starts_with("must hold before anything is injected: p99 below 50.0 ms over 3.0 s"));
    assert_eq!(course.run.before.story(&[])[0].outcome, "held");
}

#[test]
fn what_is_not_steady_keeps_it_from_beginning() {
    let unsteady = |words: ScenarioWords, weather, answers: Result<(), String>| {
        let mut course = course(words);
        course.answers = answers;
        course.go(60.0, weather);
        assert_eq!((course.cause(), course.timeline.origin), (Some(Cause::Unsteady), None));
        let reason = course.ending.unwrap().reason;
        reason.strip_prefix("steady state did not hold before anything was injected: ").unwrap().to_owned()
    };
    let fast = short().before(steady(Metric::P99, 50e6, 3));
    assert!(unsteady(fast, SLOW, Ok(())).starts_with("p99 was 10"));
    let quiet = short().before(steady(Metric::ErrorRate, 0.1, 3));
    assert_eq!(unsteady(quiet, BROKEN, Ok(())), "error_rate was 60.00 %, not below 10.00 %");
    let probed = short().probe(probe("up", ProbeMode::Continuous)).before(BeforeSpec::Probe("up".into()));
    assert_eq!(unsteady(probed, FAIR, Err("refused".into())), "probe `up` failed: refused");
}

#[test]
fn without_events_nothing_is_known_to_be_steady() {
    let mut course = course(short().before(steady(Metric::P99, 50e6, 3)));
    for _ in 0..100 {
        course.tick();
        course.now += 50 * MILLI;
    }
    assert!(course.ending.unwrap().reason.ends_with("p99: nothing happened that could tell"));
}

#[test]
fn guards_of_an_observation_only_say_what_they_would_have_done() {
    let words = short().guard(guard("errors", Metric::ErrorRate, 0.2).over(2));
    let words = words.guard(guard("slow", Metric::ErrorRate, 0.2).over(2).then(GuardAction::Pause));
    let mut course = course_of(words, true);
    course.go(2.0, FAIR).go(60.0, BROKEN);
    assert_eq!(course.cause(), Some(Cause::Planned));
    assert!(course.run.refuting.is_empty() && course.timeline.paused == 0);
    assert_eq!(course.told.iter().filter(|text| text.starts_with("would have fired: guard `errors`")).count(), 1);
    assert_eq!(course.run.would_have_fired().len(), 2);
}

/// Fails so many checks of a continuous probe (one each second, nine in all), passes one, and so on in turn.
fn rows(failures: u64, tolerance: f64, rows: &[u8]) -> Course {
    let spec = ProbeSpec { failures, tolerance, ..probe("up", ProbeMode::Continuous) };
    let mut course = course(short().probe(spec));
    for row in rows {
        course.answers = Err("refused".into());
        course.go(f64::from(*row), FAIR);
        course.answers = Ok(());
        course.go(1.0, FAIR);
    }
    course.go(60.0, FAIR);
    assert_eq!(course.run.probes[0].runs, 9);
    course
}

fn counted(course: &Course) -> (u64, u64, bool) {
    let probe = &course.run.probes[0];
    (probe.failed, probe.counted, probe.has_failed())
}

#[test]
fn failures_count_from_a_row_as_long_as_it_takes() {
    assert_eq!(counted(&rows(1, 0.0, &[1])), (1, 1, true));
    assert_eq!(counted(&rows(3, 0.0, &[2, 2])), (4, 0, false));
    assert_eq!(counted(&rows(3, 0.0, &[2, 3])), (5, 3, true));
    let longer = rows(2, 0.0, &[1, 4]);
    assert_eq!(counted(&longer), (5, 4, true));
    let told: Vec<_> = longer.told.iter().filter(|text| text.starts_with("probe")).collect();
    assert_eq!(told, ["probe `up` failed: refused", "probe `up` passes again"]);
    assert_eq!(longer.run.probes[0].first_failure.as_deref(), Some("refused"));
}

#[test]
fn a_share_of_the_checks_may_fail() {
    assert_eq!(counted(&rows(1, 0.34, &[1, 2])), (3, 3, false)); // a third of nine
    assert_eq!(counted(&rows(1, 0.33, &[1, 2])), (3, 3, true));
    assert_eq!(counted(&rows(2, 0.3, &[1, 2])), (3, 2, false), "one alone is no row of two");
}

#[test]
fn a_probe_that_runs_once_is_asked_again_as_often_as_it_may_fail() {
    let spec = || ProbeSpec { failures: 3, ..probe("up", ProbeMode::Edge) };
    let mut slow = course(short().probe(spec()));
    slow.answers = Err("refused".into());
    slow.go(1.5, FAIR);
    assert_eq!((slow.checks.len(), slow.timeline.origin), (2, None), "it waits for the next second");
    slow.answers = Ok(());
    slow.go(60.0, FAIR);
    assert_eq!((slow.cause(), slow.checks.len()), (Some(Cause::Planned), 4));
    assert!(!slow.run.probes[0].has_failed());

    let mut down = course(short().probe(spec()));
    down.answers = Err("refused".into());
    down.go(60.0, FAIR);
    assert_eq!((down.cause(), down.checks.len()), (Some(Cause::Unsteady), 3));
    assert!(down.run.probes[0].has_failed());

    let mut end = course(short().probe(spec()));
    end.go(8.5, FAIR);
    end.answers = Err("refused".into());
    end.go(60.0, FAIR);
    assert_eq!((end.cause(), end.checks.len()), (Some(Cause::Planned), 4));
    assert!(end.run.probes[0].has_failed());
}

/// An alert about the fault that opens after 2 s; the run takes 9 s.
fn alert(within: Option<u64>, absent: bool) -> Course {
    let check = ProbeCheck::Alertmanager {
        url: "http://127.0.0.1:1".into(),
        alert: "High".into(),
        labels: BTreeMap::new(),
        within: within.map(|seconds| seconds * SECOND),
        absent,
        token: None,
    };
    let spec = ProbeSpec { check: Arc::new(check), ..probe("pages", ProbeMode::Continuous) };
    let mut course = course(short().probe(spec));
    course.answers = Err("it does not fire".into());
    course
}

#[test]
fn an_alert_is_awaited_from_the_first_opening() {
    let mut fires = alert(Some(4), false);
    fires.go(4.0, FAIR);
    assert_eq!(counted(&fires), (0, 0, false), "not yet is no failure");
    fires.answers = Ok(());
    fires.go(60.0, FAIR);
    assert_eq!((fires.cause(), counted(&fires)), (Some(Cause::Planned), (0, 0, false)));
    assert!(fires.told.contains(&"probe `pages`: the alert fires".to_owned()), "{:?}", fires.told);
    assert!(fires.checks.iter().all(|at| *at < 0.0 || (2.0..5.2).contains(at)), "{:?}", fires.checks);

    let mut late = alert(Some(4), false);
    late.go(7.0, FAIR);
    late.answers = Ok(());
    late.go(60.0, FAIR);
    assert_eq!((late.cause(), counted(&late)), (Some(Cause::Planned), (1, 1, true)));
    assert_eq!(late.run.probes[0].first_failure.as_deref(), Some("it does not fire, 4s after the first fault opened"));
}

#[test]
fn an_alert_without_a_time_is_awaited_until_the_planned_end() {
    let mut never = alert(None, false);
    never.go(60.0, FAIR);
    assert_eq!((never.cause(), counted(&never)), (Some(Cause::Planned), (1, 1, true)));
    let mut last = alert(None, false);
    last.go(8.8, FAIR);
    last.answers = Ok(());
    last.go(60.0, FAIR);
    assert_eq!(counted(&last), (0, 0, false));
}

#[test]
fn an_alert_that_fires_before_the_first_fault_would_tell_nothing() {
    let mut course = alert(Some(4), false);
    course.answers = Ok(());
    course.go(60.0, FAIR);
    assert_eq!((course.cause(), course.timeline.origin), (Some(Cause::Unsteady), None));
}

#[test]
fn an_alert_may_be_one_that_must_not_fire() {
    let mut quiet = alert(None, true);
    quiet.go(60.0, FAIR);
    assert!(!quiet.run.probes[0].has_failed() && quiet.run.probes[0].runs > 5);
    let mut fires = alert(None, true);
    fires.go(5.0, FAIR);
    fires.answers = Ok(());
    fires.go(60.0, FAIR);
    assert!(fires.run.probes[0].has_failed());
    let mut later = alert(Some(2), true);
    later.go(4.5, FAIR);
    later.answers = Ok(());
    later.go(60.0, FAIR);
    assert!(!later.run.probes[0].has_failed(), "after its time it may");
}
