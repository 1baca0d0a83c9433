//! Single connections, and many of them.

use super::Outage;

const SHORT: &[(&str, &str)] = &[("at", "500ms"), ("recovery", "1s")];

fn run(name: &str, set: &[(&str, &str)]) -> Outage {
    Outage::run(name, &[SHORT, set].concat())
}

#[test]
fn a_pool_of_one_waits_behind_its_slow_connection() {
    let p50 = |connections: &str| {
        run("head-of-line", &[("connections", connections), ("length", "2s")]).measured("p50", "faults")
    };
    let (one, eight) = (p50("1"), p50("8"));
    assert!(one > 400e6 && one > 4.0 * eight, "{one} against {eight} ns");
}

#[test]
fn a_reset_storm_ends_all_connections_and_all_come_back() {
    let outage = run("reset-storm", &[("connections", "60"), ("retries", "100")]);
    let (hit, opened) = (outage.hits("deploy", "affected"), outage.came("orders", "connections"));
    assert!(hit >= 60.0, "{hit} connections were reset");
    assert!(opened >= 120.0, "{opened} connections in all");
    assert!(outage.load("clients").ok > 200.0);
}

#[test]
fn a_slow_loris_holds_its_connections() {
    let outage = run("slow-loris-upstream", &[("length", "2s"), ("timeout", "1s"), ("gap", "100ms")]);
    let clients = outage.load("clients");
    // bytes came all the time; only the limit on the whole answer ended it
    assert!(clients.because("timed out") > 10.0, "{clients:?}");
    assert!(outage.measured("active_connections", "faults") > 10.0, "at 20 per second, each held for a second");
}

#[test]
fn half_an_answer_is_no_answer() {
    let cut = run("truncated-answers", &[("length", "2s"), ("cut", "30%"), ("retries", "0")]).load("clients");
    let early = cut.because("injected: closed early") + cut.because("closed early");
    assert!(early > 20.0, "{cut:?}");
    let again = run("truncated-answers", &[("length", "2s"), ("cut", "30%"), ("retries", "5")]).load("clients");
    assert!(again.retried > 20.0 && again.injected + again.failed < early / 5.0, "{again:?}");
}

#[test]
fn an_idle_connection_that_was_forgotten_is_found_dead() {
    let dropped = |retries: &str| {
        let set = [("idle", "1s"), ("at", "1800ms"), ("length", "2s"), ("timeout", "500ms"), ("retries", retries)];
        Outage::run("idle-connections-dropped", &set).load("clients")
    };
    // each of the twenty costs one request its time-out, or one attempt more
    let naive = dropped("0");
    assert!((15.0..=20.0).contains(&naive.because("timed out")), "{naive:?}");
    let again = dropped("1");
    assert!((15.0..=25.0).contains(&again.retried) && again.failed < 3.0, "{again:?}");
}
