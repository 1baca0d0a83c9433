//! What lies between a client and a service.

use super::Outage;

const SHORT: &[(&str, &str)] = &[("at", "500ms"), ("recovery", "1s")];

fn run(name: &str, set: &[(&str, &str)]) -> Outage {
    Outage::run(name, &[SHORT, set].concat())
}

#[test]
fn a_partition_costs_its_own_length() {
    let outage = run("partition", &[("outage", "1500ms"), ("timeout", "300ms"), ("recovery", "2s")]);
    let clients = outage.load("clients");
    assert!(clients.failed > 10.0, "those within it fail: {clients:?}");
    assert!(clients.ok > 40.0, "those before and after it do not: {clients:?}");
    assert!(outage.measured("throughput", "recovery") > 25.0);
}

#[test]
fn one_way_the_work_is_done_and_nobody_hears_of_it() {
    let unheard = |direction: &str| {
        let set = [("direction", direction), ("outage", "1500ms"), ("timeout", "200ms")];
        let outage = run("one-way-partition", &set);
        let clients = outage.load("clients");
        assert!(clients.failed + clients.injected > 40.0, "{clients:?}");
        (outage.came("orders", "requests") - clients.ok) / (clients.failed + clients.injected)
    };
    let (downstream, upstream) = (unheard("downstream"), unheard("upstream"));
    assert!(downstream > 0.8, "{downstream} of what failed was done, the answers being lost");
    assert!(upstream < 0.2, "{upstream} of what failed was done, the requests being lost");
}

#[test]
fn a_flapping_service_is_bad_in_turns() {
    let outage = run("flapping", &[("bad", "400ms"), ("period", "1s"), ("times", "3")]);
    let clients = outage.load("clients");
    // 1.2 s of the 2.4 s between first and last
    assert!(clients.injected + clients.failed > 30.0 && clients.ok > 60.0, "{clients:?}");
    let ledger = outage.report["timeline"].as_array().unwrap();
    let openings = ledger.iter().filter(|moment| moment["text"].as_str().unwrap().contains("opens")).count();
    assert_eq!(openings, 3, "{ledger:#?}");
}

#[test]
fn a_gray_failure_is_seen_by_users_alone() {
    let set = [("lost", "10%"), ("timeout", "300ms"), ("length", "3s")];
    let outage = run("gray-failure", &set);
    let (clients, health) = (outage.load("clients"), outage.load("health"));
    let lost = clients.failed / clients.intended;
    assert!((0.02..0.25).contains(&lost), "{clients:?}");
    assert_eq!(clients.because("timed out"), clients.failed, "{clients:?}");
    assert_eq!((health.failed, health.injected), (0.0, 0.0), "every check is green: {health:?}");
    let tried_again = run("gray-failure", &[&set[..], &[("retries", "2")]].concat()).load("clients");
    assert!(tried_again.retried > 5.0 && tried_again.failed < clients.failed / 3.0, "{tried_again:?}");
}

#[test]
fn a_full_link_is_a_queue() {
    let full = run("saturated-link", &[("length", "2s")]);
    let wide = run("saturated-link", &[("length", "2s"), ("link", "1gbit")]);
    let p50 = |outage: &Outage| outage.measured("p50", "faults");
    assert!(p50(&full) > 150e6 && p50(&full) > 3.0 * p50(&wide), "{} against {} ns", p50(&full), p50(&wide));
    let carried = full.load("clients").ok;
    assert!(carried > 0.0, "it is slow, not down");
}

#[test]
fn a_corrupted_answer_differs() {
    let outage = run("corrupted-bytes", &[("length", "2s"), ("one_per", "1KiB")]);
    let clients = outage.load("clients");
    // about a tenth of 110 bytes of each answer
    let differs = clients.because("answer differs");
    assert!(differs > 5.0 && differs == clients.failed, "{clients:?}");
    assert!(outage.hits("flips", "injected") >= differs, "every flip is on record");
    assert!(clients.ok > 100.0, "{clients:?}");
}

#[test]
fn a_partial_partition_has_a_way_round() {
    let outage = run("partial-partition", &[("outage", "2s"), ("patience", "150ms")]);
    let (users, direct) = (outage.load("users"), outage.hits("partial", "selected"));
    assert!(direct > 30.0, "{direct} connections on the direct way were cut");
    // all that go round come to cart; what came to orders is what users asked for, whichever way
    assert!(outage.came("cart", "requests") > 0.8 * direct, "{direct} cut, the rest by way of cart");
    assert!(users.failed < 0.1 * users.intended, "{users:?}");
}

#[test]
fn a_region_away_costs_its_round_trip() {
    let p50 = |route: &str| run("region-away", &[("length", "2s"), ("route", route)]).measured("p50", "faults");
    let (near, far) = (p50("us-east-1/us-west-2"), p50("us-east-1/ap-southeast-1"));
    assert!(near >= 64e6 && far >= 220e6, "{near} and {far} ns");
    assert!(far > near + 100e6, "{near} and {far} ns");
}

#[test]
fn on_a_mobile_link_it_is_the_size_that_counts() {
    let p50 = |link: &str| run("mobile-link", &[("length", "3s"), ("link", link)]).measured("p50", "faults");
    let (slow, fast) = (p50("slow-3g"), p50("fast-4g"));
    // 20 KiB at 500 kbit/s take 328 ms, and the round trip 400 ms
    assert!(slow >= 728e6 && slow > 2.0 * fast, "{slow} and {fast} ns");
}

#[test]
fn a_little_loss_uses_up_all_threads() {
    let set = [("length", "2s"), ("loss", "40%")];
    let web = run("packet-loss-saturation", &set);
    assert!(web.measured("error_rate", "faults") > 0.2 && web.came("web", "turned_away") > 20.0);
    // the database has nothing to do with it
    assert_eq!(web.came("orders", "turned_away"), 0.0);
}

#[test]
fn losses_in_bursts_are_felt_by_few_and_long() {
    let outage = run("burst-loss", &[("length", "5s")]);
    let (p50, p99) = (outage.measured("p50", "faults"), outage.measured("p99", "faults"));
    assert!(p99 > 200e6 && p99 > 3.0 * p50, "p50 {p50}, p99 {p99} ns");
    assert_eq!(outage.load("clients").failed, 0.0, "late, not lost");
}

#[test]
fn a_call_loses_what_the_link_loses() {
    let lost = |loss: &str| {
        let outage = run("voice-loss", &[("length", "4s"), ("loss", loss)]);
        let calls = outage.load("calls");
        let datagrams = &outage.named("workloads", "calls")["datagrams"];
        assert!(datagrams["lost"].as_f64().unwrap() >= 0.9 * calls.failed && calls.ok > 500.0, "{calls:?} {datagrams}");
        assert_eq!((&datagrams["corrupted"], &datagrams["duplicated"]), (&0.into(), &0.into()));
        outage.measured("error_rate", "faults")
    };
    // of 2000: five standard deviations of losses in bursts of three
    let (some, more) = (lost("20%"), lost("40%"));
    assert!((0.1..0.3).contains(&some) && (0.27..0.53).contains(&more), "{some} of 20 %, {more} of 40 %");
}
