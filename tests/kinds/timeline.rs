//! When it acts: at, for, every, times, pauses, leases, limits; all on connections that are open throughout.

use std::time::{Duration, Instant};

use squall_control::app::Format;
use squall_drill::view::{State, Verdict};

use crate::support::{Line, Stage, scenario};

/// Round trips until `end`; when each of those began that took at least `slow`.
fn slow_ones(line: &mut Line, began: Instant, end: Duration, slow: Duration) -> Vec<Duration> {
    let mut slow_ones = Vec::new();
    while began.elapsed() < end {
        let at = began.elapsed();
        line.works();
        if began.elapsed() - at >= slow {
            slow_ones.push(at);
        }
    }
    slow_ones
}

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn at_and_for_bound_it_on_a_live_connection() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let before = Instant::now();
    let trial = stage.start("kind = 'latency'\ndelay = '60ms'\nat = '400ms'\nfor = '500ms'");
    let slow = slow_ones(&mut line, before, MS(1_600), MS(60));
    assert!(slow.len() >= 3, "{slow:?}");
    // `before` is earlier than the start, so that nothing may be slow before `at`; a delay may begin up to the end of `for`
    assert!(slow[0] >= MS(330), "{slow:?}");
    assert!(*slow.last().unwrap() < MS(1_500), "{slow:?}");
    let view = trial.view();
    assert!(!view.faults[0].active && view.state == State::Running, "the recovery is watched: {view:#?}");
    trial.stop();
}

#[test]
fn every_and_times_open_it_again_and_again() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let before = Instant::now();
    let trial = stage.start("kind = 'latency'\ndelay = '40ms'\nfor = '250ms'\nevery = '800ms'\ntimes = 3");
    let slow = slow_ones(&mut line, before, MS(3_000), MS(40));
    trial.stop();
    let mut rounds: Vec<u128> = slow.iter().map(|at| at.as_millis() / 800).collect();
    rounds.dedup();
    assert_eq!(rounds, [0, 1, 2], "{slow:?}");
    assert_eq!(trial.over().faults[0].tally.eligible, 1);
}

#[test]
fn a_pause_lets_go_and_stops_the_timeline_until_it_is_resumed() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let trial = stage.start("kind = 'partition'\nfor = '3s'").has_met(1);
    line.server.say(b"held");
    trial.until("partition", |tally| tally.held == 1);
    assert!(stage.squall(&["pause", &trial.id]).contains("paused"));
    assert_eq!(line.client.hear(4), b"held");
    line.works();
    let stands = trial.view();
    std::thread::sleep(MS(300));
    let still = trial.view();
    assert_eq!((still.state, still.elapsed), (State::Paused, stands.elapsed));
    assert!(!still.faults[0].active);
    let resumed = Instant::now();
    assert!(stage.squall(&["resume", &trial.id]).contains("running"));
    line.server.say(b"again");
    trial.until("partition", |tally| tally.held == 1);
    assert_eq!(line.client.hear(5), b"again");
    let rest = MS(3_000).saturating_sub(Duration::from_secs_f64(still.elapsed));
    assert!(
        resumed.elapsed() + MS(50) >= rest,
        "it acts for 3 s without the pause: {:?} of {rest:?}",
        resumed.elapsed()
    );
    line.works();
    trial.stop();
}

#[test]
fn a_lease_that_nobody_renews_ends_it() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let client = &stage.serve.client;
    let text = scenario("leased", &["kind = 'partition'"]);
    let id = client.submit(&text, Format::Toml, &[]).unwrap().id;
    client.start(&id, None).unwrap();
    line.server.say(b"held");
    let began = Instant::now();
    // renewed for a while it goes on beyond what one lease gives
    while began.elapsed() < MS(4_000) {
        client.renew(&id).unwrap();
        std::thread::sleep(MS(200));
    }
    let renewed = Instant::now();
    assert_eq!(line.client.hear(4), b"held");
    let took = renewed.elapsed();
    assert!((MS(1_700)..MS(8_000)).contains(&took), "a lease is 2 s: {took:?}");
    line.works();
    let view = stage.serve.over(&id);
    assert_eq!((view.state, view.verdict), (State::Stopped, Some(Verdict::Inconclusive)), "{view:#?}");
    assert!(view.reason.unwrap().contains("lease"));
}

#[test]
fn detached_it_needs_nobody_and_ends_at_its_limit() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let file = stage.file("detached.toml", &scenario("detached", &["kind = 'partition'"]));
    let began = Instant::now();
    let said = stage.squall(&["start", &file, "--detach", "--max", "1500ms"]);
    let id = said.split(' ').next().unwrap().to_owned();
    line.server.say(b"held");
    assert_eq!(line.client.hear(4), b"held");
    let took = began.elapsed();
    assert!((MS(1_450)..MS(8_000)).contains(&took), "{took:?}");
    line.works();
    let view = stage.serve.over(&id);
    assert!(view.state.is_over() && view.reason.is_some(), "{view:#?}");
}

#[test]
fn injected_from_the_command_line_it_ends_by_itself() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    let began = Instant::now();
    stage.squall(&["inject", "default", "bandwidth", "rate=0B/s", "--for", "1s", "--detach"]);
    line.server.say(b"held");
    assert_eq!(line.client.hear(4), b"held");
    assert!((MS(950)..MS(8_000)).contains(&began.elapsed()), "{:?}", began.elapsed());
    line.works();
}

#[test]
fn too_few_hits_make_a_run_invalid() {
    let stage = Stage::new();
    let mut line = stage.live_line();
    for (needed, verdict) in [(1, Verdict::Upheld), (500, Verdict::Invalid)] {
        let fault = format!("kind = 'latency'\ndelay = '1ms'\nfor = '300ms'\nmin_hits = {needed}");
        let text = scenario("hits", &[&fault]) + "[[expect]]\nmetric = 'recovery'\nbelow = '200ms'\n";
        let trial = stage.run(&text);
        let began = Instant::now();
        while began.elapsed() < MS(250) {
            line.works();
            std::thread::sleep(MS(10));
        }
        let view = trial.over();
        if verdict == Verdict::Invalid {
            assert_eq!(view.verdict, Some(verdict), "{view:#?}");
        } else {
            assert_ne!(view.verdict, Some(Verdict::Invalid), "{view:#?}");
        }
    }
}
