//! Exposure ladders: when they climb, when they do not, and how they come down.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use squall_core::curve::Curve;
use squall_core::draw::DrawKey;
use squall_core::ladder::Ladder;
use squall_core::scenario::{GuardAction, Metric};
use squall_core::select::{Count, Key, Select};
use squall_core::time::{SECOND, Time};
use squall_core::window::Window;

use super::course::{BROKEN, Course, FAIR, course};
use super::words::{GuardWords, ScenarioWords};
use super::{fault, guard, scenario, window};
use crate::ladder::{Ladders, Scene};
use crate::verdict::Cause;

const STEPS: [f64; 4] = [1.0, 5.0, 10.0, 25.0];

/// A ladder from 2 s on, for 100 s.
fn climbing(guard: GuardWords) -> ScenarioWords {
    scenario("s").fault(fault("slow").ladder(&STEPS).window(window(2, 100))).guard(guard)
}

/// Two in ten requests over two seconds.
fn errors() -> GuardWords {
    guard("errors", Metric::ErrorRate, 0.2).over(2)
}

/// Where the ladder was put and when, to the half second.
fn climbs(course: &Course) -> Vec<(f64, usize)> {
    course.climbs.iter().map(|(at, _, step)| ((at * 2.0).round() / 2.0, *step)).collect()
}

fn waits(course: &Course) -> Option<String> {
    let elapsed = course.timeline.elapsed(course.now).unwrap();
    course.run.ladders.view(0, elapsed).unwrap().waits
}

#[test]
fn each_step_is_held_and_the_last_one_stays() {
    let mut course = course(climbing(errors()));
    course.go(60.0, FAIR);
    assert_eq!(climbs(&course), [(12.0, 1), (22.0, 2), (32.0, 3)]);
    assert!(course.climbs[0].0 >= 12.0, "at least its hold: {}", course.climbs[0].0);
    let view = course.run.ladders.view(0, 60 * SECOND).unwrap();
    assert_eq!((view.step, view.steps, view.percentage, view.waits), (4, 4, 25.0, None));
    let up = "fault `slow` goes up to step 2 of 4 (5 %): held, and guards clean";
    assert!(course.told.iter().any(|text| text == up), "{:?}", course.told);
}

#[test]
fn a_guard_that_is_not_clean_holds_it_and_the_hold_begins_anew() {
    let patient = errors().hold(1_000);
    let mut course = course(climbing(patient));
    course.go(8.0, FAIR).go(5.0, BROKEN);
    assert_eq!(waits(&course).unwrap(), "guard `errors` is not clean");
    course.go(30.0, FAIR);
    // clean again when nothing of the storm, which ends at 13 s, is left in two seconds that hold more than a fifth
    let (at, step) = climbs(&course)[0];
    assert!((24.0..=25.5).contains(&at) && step == 1, "{at}");
    let stays = "fault `slow` stays on step 1 of 4 (1 %): guard `errors` is not clean";
    assert_eq!(course.told.iter().filter(|text| *text == stays).count(), 1, "{:?}", course.told);
}

#[test]
fn without_events_it_does_not_climb() {
    let mut course = course(climbing(errors()));
    course.go(2.1, FAIR);
    let quiet = course.figures.clone();
    for _ in 0..400 {
        course.go(0.05, FAIR);
        course.figures = quiet.clone();
    }
    assert_eq!(climbs(&course), []);
    let why = waits(&course).unwrap();
    assert!(why.starts_with("guards have counted ") && why.ends_with(" of 20 events on it"), "{why}");
    course.go(1.0, FAIR);
    assert_eq!(climbs(&course).len(), 1);
}

#[test]
fn what_stands_against_more_exposure_stands_against_a_step() {
    let mut course = course(climbing(errors()));
    course.against = Some("the audit log can't be written".into());
    course.go(40.0, FAIR);
    assert_eq!(climbs(&course), []);
    assert_eq!(waits(&course).unwrap(), "nothing may be exposed more: the audit log can't be written");
    course.against = None;
    course.go(1.0, FAIR);
    assert_eq!(climbs(&course), [(40.0, 1)]);
}

#[test]
fn it_stands_still_in_a_pause() {
    let mut course = course(climbing(errors()));
    course.go(7.0, FAIR);
    course.pause();
    course.go(50.0, FAIR);
    assert_eq!(climbs(&course), []);
    course.resume();
    course.go(6.0, FAIR);
    assert_eq!(climbs(&course), [(12.0, 1)]);
}

#[test]
fn a_guard_that_paused_it_was_not_clean_and_the_hold_begins_anew() {
    let mut course = course(climbing(errors().then(GuardAction::Pause)));
    course.go(10.0, FAIR).go(1.9, BROKEN);
    assert!(course.timeline.still.is_some(), "{:?}", course.told);
    let stood = course.elapsed();
    course.resume();
    course.go(30.0, FAIR);
    let (at, _, step) = course.climbs[0];
    assert!(step == 1 && at >= stood + 10.0 - 1e-6, "{at} after {stood}");
}

#[test]
fn each_opening_begins_on_the_first_step() {
    let every = Window { at: 2 * SECOND, length: Some(15 * SECOND), every: Some(30 * SECOND), times: Some(2) };
    let words = scenario("s").fault(fault("slow").ladder(&STEPS).window(every)).guard(errors());
    let mut course = course(words);
    course.go(34.0, FAIR);
    assert_eq!(climbs(&course), [(12.0, 1)]);
    let elapsed = course.timeline.elapsed(course.now).unwrap();
    let view = course.run.ladders.view(0, elapsed).unwrap();
    assert_eq!((view.step, view.percentage, view.reached), (1, 1.0, 5.0));
    course.go(10.0, FAIR);
    assert_eq!(climbs(&course), [(12.0, 1), (42.0, 1)]);
}

#[test]
fn a_guard_takes_it_down_one_step_and_it_climbs_again_when_all_is_well() {
    let mut course = course(climbing(errors().then(GuardAction::StepDown)));
    course.go(25.0, FAIR).go(1.5, BROKEN).go(4.0, FAIR);
    let down: Vec<_> = climbs(&course).into_iter().skip(2).collect();
    assert!(matches!(&down[..], [(at, 1)] if (25.0..=26.5).contains(at)), "{down:?}");
    let told: Vec<_> = course.told.iter().filter(|text| text.contains("goes down")).collect();
    assert!(
        told[0].starts_with("fault `slow` goes down to step 2 of 4 (5 %): guard `errors`: error_rate is"),
        "{told:?}"
    );
    assert!(course.ending.is_none() && course.run.refuting.is_empty());
    course.go(15.0, FAIR);
    let up = climbs(&course)[3];
    assert!(up.1 == 2 && up.0 >= down[0].0 + 10.0, "{up:?}");
    assert_eq!(course.run.ladders.changes(0).len(), 5);
}

#[test]
fn harm_that_goes_on_takes_it_down_to_the_lowest_step_and_then_ends_it() {
    let mut course = course(climbing(errors().then(GuardAction::StepDown)));
    course.go(25.0, FAIR).go(30.0, BROKEN);
    let steps: Vec<usize> = climbs(&course).into_iter().map(|(_, step)| step).collect();
    assert_eq!(steps, [1, 2, 1, 0]);
    assert_eq!(course.cause(), Some(Cause::Guard));
    let reason = &course.ending.as_ref().unwrap().reason;
    assert!(reason.ends_with("no ladder can go down any further"), "{reason}");
    assert_eq!(course.run.refuting.len(), 1);
}

#[test]
fn steps_that_go_down_need_no_clean_guard_and_down_is_to_what_is_lower() {
    let saw = scenario("s").fault(fault("slow").ladder(&[1.0, 8.0, 3.0, 9.0]).window(window(0, 100)));
    let mut course = course(saw.guard(errors().hold(1_000)));
    course.go(11.0, FAIR).go(12.0, BROKEN);
    assert_eq!(climbs(&course), [(10.0, 1), (20.0, 2)]);
    course.go(25.0, FAIR);
    assert_eq!(climbs(&course).last().unwrap().1, 3);
    let scene = Scene { elapsed: 50 * SECOND, unclean: None, counted: &[0], against: None };
    let mut ladders: Ladders = course.run.ladders.clone();
    let mut down = || ladders.down(&scene, "enough").first().and_then(|turn| turn.to).map(|(_, step)| step);
    assert_eq!((down(), down(), down()), (Some(2), Some(0), None), "8 % would be more than 3 %");
}

/// What happens between two looks.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fair(u8),
    Unclean(u8),
    Quiet(u8),
    Forbidden(u8),
    Down,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..30_u8).prop_map(Event::Fair),
        (1..30_u8).prop_map(Event::Unclean),
        (1..30_u8).prop_map(Event::Quiet),
        (1..30_u8).prop_map(Event::Forbidden),
        Just(Event::Down),
    ]
}

/// Who is selected, of a thousand.
fn members(select: &Select, elapsed: Time) -> BTreeSet<u64> {
    let draws = DrawKey::new(7, "s", "slow");
    (0..1_000).filter(|unit| select.holds(draws.unit(*unit).percentage(), 0, elapsed)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    /// Whatever happens: a step up only after its hold with clean guards, events and leave, only by one; who is in stays in
    /// while it climbs, who leaves on the way down is who came last; and nobody is selected beyond the highest step.
    #[test]
    fn up_and_down_and_up_again_membership_is_monotone(events in prop::collection::vec(event(), 1..60)) {
        let checked = scenario("s").fault(fault("slow").ladder(&STEPS)).guard(errors()).checked();
        let mut ladders = Ladders::new(&checked);
        let word = Arc::new(Ladder::new(&Window::default()));
        let percentage = Curve::Steps { steps: STEPS.to_vec(), hold: 10 * SECOND };
        let select = Select { percentage, ladder: Some(word.clone()), key: Key::Ordinal, count: Count::All, cap: None };
        let all = Curve::Constant(25.0);
        let most = members(&Select { percentage: all, ladder: None, ..select.clone() }, 0);
        let (mut elapsed, mut counted, mut step) = (0, 0_u64, 0);
        let (mut clean, mut seen) = (0, 0);
        for event in events {
            let (looks, unclean, per_look, against) = match event {
                Event::Fair(n) => (n, None, 5, None),
                Event::Unclean(n) => (n, Some("errors"), 5, None),
                Event::Quiet(n) => (n, None, 0, None),
                Event::Forbidden(n) => (n, None, 5, Some("no")),
                Event::Down => (1, None, 0, None),
            };
            for _ in 0..looks {
                elapsed += SECOND;
                counted += per_look;
                let totals = [counted];
                let scene = Scene { elapsed, unclean, counted: &totals, against };
                let turns = match event {
                    Event::Down => ladders.down(&scene, "harm"),
                    _ => ladders.look(&scene),
                };
                if unclean.is_some() {
                    (clean, seen) = (elapsed, counted);
                }
                for (opened, to) in turns.iter().filter_map(|turn| turn.to) {
                    let before = members(&select, elapsed);
                    word.set(opened, to);
                    let after = members(&select, elapsed);
                    if to > step {
                        prop_assert_eq!(to, step + 1);
                        prop_assert!(unclean.is_none() && against.is_none());
                        prop_assert!(elapsed >= clean + 10 * SECOND && counted - seen >= 20);
                        prop_assert!(before.is_subset(&after));
                    } else {
                        prop_assert!(matches!(event, Event::Down) && to + 1 == step);
                        prop_assert!(after.is_subset(&before));
                    }
                    prop_assert!(after.is_subset(&most));
                    (step, clean, seen) = (to, elapsed, counted);
                }
                prop_assert_eq!(word.step(0), step);
            }
        }
    }
}
