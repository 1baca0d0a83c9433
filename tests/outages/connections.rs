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

#[test]
fn nobody_says_that_the_other_end_is_gone() {
    let set = [("outage", "2s"), ("timeout", "400ms"), ("connections", "10")];
    let outage = run("half-open", &set);
    let clients = outage.load("clients");
    // silence, as long as it lasts: whoever finds out does so by a time-out
    assert!(clients.because("timed out") >= 10.0, "{clients:?}");
    assert_eq!(clients.because("refused") + clients.because("closed early"), 0.0, "{clients:?}");
    assert!(outage.measured("throughput", "recovery") > 25.0);
}

#[test]
fn too_many_connections_are_refused_or_wait() {
    let set = [("length", "2s"), ("max", "5")];
    let refused = run("connection-exhaustion", &set);
    let clients = refused.load("clients");
    assert!(clients.injected > 20.0 && clients.ok > 50.0, "{clients:?}");
    let waiting = run("connection-exhaustion", &[&set[..], &[("how", "hang"), ("timeout", "20s")]].concat());
    let clients = waiting.load("clients");
    assert_eq!(clients.failed + clients.injected, 0.0, "{clients:?}");
    assert!(waiting.hits("limit", "affected") > 20.0, "they have waited");
}

#[test]
fn without_an_address_new_connections_fail_and_old_ones_live() {
    let outage = run("dns-brown-out", &[("outage", "2s")]);
    let (fresh, kept) = (outage.load("fresh"), outage.load("kept"));
    assert!(fresh.injected > 50.0, "{fresh:?}");
    assert!(kept.failed + kept.injected < 0.05 * kept.intended, "{kept:?}");
}

#[test]
fn during_a_restart_clients_are_refused_by_the_kernel() {
    let outage = run("restart", &[("outage", "1s"), ("recovery", "2s")]);
    let clients = outage.load("clients");
    assert!(clients.because("injected: refused") > 20.0, "{clients:?}");
    assert!(outage.measured("throughput", "recovery") > 25.0);
}

#[test]
fn connections_that_close_late_pile_up() {
    let open = |linger: &str| {
        run("slow-close", &[("length", "2s"), ("linger", linger)]).measured("active_connections", "faults")
    };
    let (late, soon) = (open("1s"), open("1ms"));
    assert!(late > 30.0 && late > 2.0 * soon, "{late} open at one moment, {soon} else");
}
