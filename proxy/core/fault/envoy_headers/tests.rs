#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::draw::DrawKey;
use crate::fault::driver::Driver;
use crate::http::Request;
use crate::time::SECOND;

fn made(text: &str) -> EnvoyHeaders {
    EnvoyHeaders::build(toml::from_str(text).unwrap()).unwrap_or_else(|misfit| panic!("{}", misfit.message))
}

const ALL_OF_THEM: &str = "max_delay = '1s'\nabort = true\nmin_throughput = '2KiB/s'";

/// A request with these fields at the fault: how long it was held, what came of it, and the driver.
fn ask(text: &str, fields: &[(&str, &str)]) -> (Vec<Time>, Ruling, Driver<EnvoyHeaders>) {
    let request = Request { fields: fields.iter().copied().collect(), ..Request::default() };
    let mut driver = Driver::new(made(text), Flow::Downstream).of(request, None);
    let (holds, ruling) = driver.rule(Phase::BeforeUpstream);
    (holds, ruling.unwrap(), driver)
}

fn removed(ruling: &Ruling) -> Vec<&str> {
    match ruling {
        Ruling::Patch(patch) => patch.remove.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

fn replied(ruling: &Ruling) -> Option<(u16, Option<&str>)> {
    let Ruling::Answer { reply, upstream: super::super::Upstream::Never } = ruling else { return None };
    Some((reply.head.status.as_u16(), reply.head.fields.text("grpc-status")))
}

#[test]
fn a_delay_is_as_long_as_asked_for_up_to_the_limit_and_its_headers_go() {
    let (holds, ruling, driver) = ask(ALL_OF_THEM, &[(DELAY, "300"), ("x-other", "1")]);
    assert_eq!((holds, removed(&ruling)), (vec![300 * MILLI], vec![DELAY, "x-envoy-fault-delay-request-percentage"]));
    let figures: Vec<_> = driver.injected.iter().map(|i| (i.what, i.drawn, i.scheduled, i.achieved)).collect();
    assert_eq!(figures, [(What::Delayed, 300 * MILLI, 300 * MILLI, 300 * MILLI)]);
    let (holds, _, driver) = ask(ALL_OF_THEM, &[(DELAY, "18446744073709551615")]);
    assert_eq!(holds, [SECOND]);
    assert_eq!((driver.injected[0].drawn, driver.injected[0].scheduled), (u64::MAX, SECOND), "both are on record");
}

#[test]
fn an_abort_comes_behind_the_delay_and_reaches_nobody() {
    let (holds, ruling, driver) = ask(ALL_OF_THEM, &[(DELAY, "10"), (ABORT, "418")]);
    assert_eq!((holds, replied(&ruling)), (vec![10 * MILLI], Some((418, None))));
    let what: Vec<_> = driver.injected.iter().map(|i| (i.what, i.achieved)).collect();
    assert_eq!(what, [(What::Delayed, 10 * MILLI), (What::Replied, 418)]);
    assert_eq!(replied(&ask(ALL_OF_THEM, &[(ABORT_GRPC, "14")]).1), Some((200, Some("14"))));
    assert_eq!(replied(&ask(ALL_OF_THEM, &[(ABORT_GRPC, "14"), (ABORT, "503")]).1), Some((503, None)));
}

#[test]
fn an_answer_is_as_slow_as_asked_for_and_never_slower_than_the_limit() {
    for (asked, took) in [("4", SECOND), ("1", 2 * SECOND)] {
        let (_, ruling, mut driver) = ask(ALL_OF_THEM, &[(THROUGHPUT, asked)]);
        assert_eq!(removed(&ruling), [THROUGHPUT, "x-envoy-fault-throughput-response-percentage"]);
        assert_eq!(driver.fault.follows(Phase::BeforeUpstream), Some(Phase::MidBody));
        driver.state = std::mem::take(&mut driver.memory);
        driver.at(0).push(&[b'x'; 4096]);
        driver.run_until(10 * SECOND);
        let last = driver.arrivals().last().unwrap().0;
        assert!(last.abs_diff(took) <= SECOND / 100, "{asked} KiB/s: {last}");
        assert!(driver.injected.iter().all(|i| i.what == What::Paced) && !driver.injected.is_empty());
    }
    assert_eq!(made("abort = true").follows(Phase::BeforeUpstream), None);
}

#[test]
fn a_percentage_of_the_request_lowers_and_what_it_leaves_out_loses_its_headers_all_the_same() {
    let of = |percentage: &str| {
        ask(ALL_OF_THEM, &[(ABORT, "500"), ("x-envoy-fault-abort-request-percentage", percentage)]).1
    };
    assert_eq!(removed(&of("0")), [ABORT, ABORT_GRPC, "x-envoy-fault-abort-request-percentage"]);
    assert!(replied(&of("100")).is_some() && replied(&of("4294967296")).is_some());
    let share = DrawKey::new(1, "experiment", "fault").unit(9).percentage(); // the driver's
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = share as u32;
    assert!(replied(&of(&below.to_string())).is_none() && replied(&of(&(below + 1).to_string())).is_some());
}

#[test]
fn what_cant_be_read_or_is_not_obeyed_goes_on_as_it_is() {
    let bad = [
        (DELAY, "soon"),
        (DELAY, "-1"),
        (DELAY, ""),
        (ABORT, "199"),
        (ABORT, "600"),
        (ABORT_GRPC, "17"),
        (THROUGHPUT, "0"),
        (THROUGHPUT, "99999999999999999999999"),
    ];
    for field in bad {
        let (holds, ruling, driver) = ask(ALL_OF_THEM, &[field]);
        assert!(
            holds.is_empty() && matches!(ruling, Ruling::Pass) && driver.injected.is_empty(),
            "{field:?} {ruling:?}"
        );
        assert_eq!(EnvoyHeaders::unread(&driver.shared), 1, "{field:?}");
    }
    let twice = ask(ALL_OF_THEM, &[(DELAY, "1"), (DELAY, "2")]);
    assert!(matches!(twice.1, Ruling::Pass) && EnvoyHeaders::unread(&twice.2.shared) == 1);
    let (holds, ruling, driver) = ask("abort = true", &[(DELAY, "100"), (THROUGHPUT, "1")]);
    assert!(holds.is_empty() && matches!(ruling, Ruling::Pass) && EnvoyHeaders::unread(&driver.shared) == 0);
}

#[test]
fn it_is_for_requests_that_ask_for_what_it_obeys() {
    let names = |text: &str| -> Vec<String> {
        let rules = made(text).asked_for().unwrap().any.unwrap();
        rules.into_iter().flat_map(|rule| rule.headers.into_keys()).collect()
    };
    assert_eq!(names("abort = true"), [ABORT, ABORT_GRPC]);
    assert_eq!(names(ALL_OF_THEM), [DELAY, ABORT, ABORT_GRPC, THROUGHPUT]);
}

#[test]
fn limits_that_limit_to_nothing_are_refused() {
    for text in ["", "abort = false", "max_delay = '0s'", "min_throughput = '0'"] {
        assert!(EnvoyHeaders::build(toml::from_str(text).unwrap()).is_err(), "{text}");
    }
}
