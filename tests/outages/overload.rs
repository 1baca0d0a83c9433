//! Too much work for what is there to do it.

use super::Outage;

/// 3 x 10 ms serve 300 per second; 150 are offered, with three retries up to 600.
const STORM: &[(&str, &str)] =
    &[("rate", "150"), ("timeout", "300ms"), ("at", "500ms"), ("outage", "1500ms"), ("recovery", "3s")];

#[test]
fn a_retry_storm_outlives_its_trigger_and_no_retries_end_it() {
    let naive = Outage::run("retry-storm", &[STORM, &[("retries", "3")]].concat());
    let patient = Outage::run("retry-storm", &[STORM, &[("retries", "0")]].concat());
    let goodput = |outage: &Outage| outage.measured("throughput", "recovery");
    assert!(goodput(&naive) < 15.0, "{} answers per second after the outage", goodput(&naive));
    assert!(goodput(&patient) > 60.0, "{} answers per second after the outage", goodput(&patient));
    // nobody lacks work: the stand-in did what its clients no longer waited for
    let (done, heard) =
        (naive.came("orders", "requests") - naive.came("orders", "turned_away"), naive.load("clients").ok);
    assert!(done > 3.0 * heard, "{done} done, {heard} heard of");
}

#[test]
fn retries_multiply_over_layers() {
    let calls = |tries: &str| {
        let set = [("rate", "3"), ("at", "1ms"), ("outage", "3s"), ("tries", tries)];
        let outage = Outage::run("retry-amplification", &set);
        let users = outage.load("users");
        assert!(users.because("status 502") >= 1.0, "{users:?}");
        (outage.hits("outage", "selected"), users)
    };
    // those that were under way when the fault ended may have been tried in vain more than once too
    let (connections, users) = calls("3");
    let possible = 243.0 * users.because("status 502")..=243.0 * users.intended;
    assert!(possible.contains(&connections), "{connections} connections, {users:?}");
    let (connections, users) = calls("1");
    assert_eq!(connections, users.because("status 502"), "one connection for each request");
}

#[test]
fn without_its_cache_a_database_gets_everything() {
    let set = [("cached", "180"), ("uncached", "20"), ("timeout", "300ms"), ("at", "500ms"), ("recovery", "1s")];
    let lost = Outage::run("cache-loss", &[&set[..], &[("outage", "2s")]].concat());
    let (came, uncached) = (lost.came("orders", "requests"), lost.load("uncached"));
    // 2 s of 3.5 s with ten times the load: nearly six times as much on the whole
    assert!(came > 3.0 * uncached.intended, "{came} requests, {} of them never cached", uncached.intended);
    assert!(uncached.failed > 0.2 * uncached.intended, "those suffer who never used the cache: {uncached:?}");
}

#[test]
fn everybody_who_waited_comes_at_once() {
    let set = [("rate", "250"), ("at", "500ms"), ("outage", "2s"), ("recovery", "1s")];
    let herd = |queue: &str| {
        let outage = Outage::run("thundering-herd", &[&set[..], &[("queue", queue)]].concat());
        (outage.came("orders", "turned_away"), outage.load("clients"))
    };
    // 20 are served and 64 may wait; some 500 come
    let (turned_away, clients) = herd("64");
    assert!(turned_away > 100.0, "{turned_away} turned away; {clients:?}");
    assert_eq!(clients.because("status 503"), turned_away, "{clients:?}");
    let (turned_away, clients) = herd("10000");
    assert_eq!((turned_away, clients.failed), (0.0, 0.0), "{clients:?}");
}

#[test]
fn a_slow_dependency_uses_up_all_threads_unless_calls_have_a_deadline() {
    let set = [("at", "500ms"), ("length", "2s"), ("recovery", "500ms")];
    let share = |patience: &str| {
        let outage = Outage::run("slow-dependency", &[&set[..], &[("patience", patience)]].concat());
        (outage.measured("error_rate", "faults"), outage.came("copy", "requests"))
    };
    let (failed, copies) = share("10s");
    assert!(failed > 0.2 && copies == 0.0, "{failed} failed, {copies} answered from the copy");
    let (failed, copies) = share("60ms");
    assert!(failed < 0.1 && copies > 20.0, "{failed} failed, {copies} answered from the copy");
}
