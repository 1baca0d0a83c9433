#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use squall_core::call::Asked;
use squall_core::fault::What;
use squall_core::plan::FaultRef;
use squall_core::time::SECOND;

use super::*;

fn call(same: u64, started: Time, status: u16) -> Call {
    Call {
        proxy: "host:api.test".into(),
        connection: 0,
        number: 0,
        client: None,
        asked: Asked { method: "GET".into(), path: "/v1/x".into(), same, ..Asked::default() },
        started,
        answered: Some(started + 10 * MILLI),
        ended: started + 20 * MILLI,
        status: Some(status),
        retry_after: None,
        faults: Vec::new(),
        outcome: Outcome::Whole,
    }
}

fn faulted(what: What, call: Call) -> Call {
    let fault = FaultRef {
        experiment: "e-1".into(),
        experiment_name: "e".into(),
        fault: "f".into(),
        kind: "error",
        proxy: call.proxy.clone(),
    };
    Call { faults: vec![(Arc::new(fault), what)], ..call }
}

fn of(calls: &[Call], exit: u8) -> Host {
    hosts(calls, exit).pop().unwrap()
}

#[test]
fn a_retry_that_succeeds_has_recovered() {
    let calls = [
        faulted(What::Replied, call(1, 0, 503)),
        faulted(What::Replied, call(1, SECOND, 503)),
        call(1, 3 * SECOND, 200),
    ];
    let host = of(&calls, 0);
    assert_eq!((host.calls, host.faults, host.operations, host.retried, host.recovered), (3, 2, 1, 1, 1));
    assert_eq!((host.amplification, host.attempts), (Some(3.0), 3));
    let back_off = host.back_off.unwrap();
    assert_eq!((back_off.min_ms, back_off.max_ms), (980.0, 1980.0));
    assert_eq!((host.surfaced, host.swallowed, host.unknown), (0, 0, 0));
}

#[test]
fn other_requests_and_requests_at_the_same_time_are_no_retries() {
    let calls = [
        call(1, 0, 503),
        call(2, SECOND, 200),
        call(3, 0, 503),
        call(3, MILLI, 200),
        call(4, 0, 200),
        call(4, SECOND, 200),
    ];
    let host = of(&calls, 0);
    assert_eq!((host.operations, host.retried, host.unknown), (6, 0, 2));
}

#[test]
fn only_what_is_proven_is_called_swallowed_or_surfaced() {
    let failed = [call(1, 0, 500)];
    let judged = |calls: &[Call], exit| {
        let host = of(calls, exit);
        (host.surfaced, host.swallowed, host.unknown)
    };
    assert_eq!(judged(&failed, 1), (1, 0, 0));
    assert_eq!(judged(&failed, 0), (0, 0, 1));
    assert_eq!(judged(&failed, 143), (0, 0, 1), "a signal proves nothing");
    let short = [faulted(What::Truncated, call(1, 0, 200))];
    assert_eq!(judged(&short, 0), (0, 1, 0));
    assert_eq!(judged(&short, 1), (1, 0, 0));
    let retried = [faulted(What::Truncated, call(1, 0, 200)), call(1, SECOND, 200)];
    assert_eq!(judged(&retried, 0), (0, 0, 0), "it was noticed");
    let spoiled = [faulted(What::Replied, call(1, 0, 200))];
    assert_eq!((judged(&spoiled, 0), judged(&spoiled, 1)), ((0, 0, 1), (1, 0, 0)), "an error within a 200");
    let slow = [faulted(What::Delayed, call(1, 0, 200))];
    assert_eq!(judged(&slow, 0), (0, 0, 0));
}

#[test]
fn whoever_was_asked_to_wait_waits_or_does_not() {
    let asked = |call: Call| Call { retry_after: Some(2 * SECOND), ..call };
    let calls = [asked(call(1, 0, 429)), asked(call(1, SECOND, 429)), call(1, 4 * SECOND, 200), asked(call(2, 0, 429))];
    assert_eq!(of(&calls, 0).retry_after, Honoured { honoured: 1, of: 2 });
}

#[test]
fn ports_of_a_host_are_one_host_and_paths_are_told_without_identifiers() {
    let mut other = call(1, 0, 200);
    (other.proxy, other.asked.path) = ("host:api.test:80".into(), "/v1/things/12345".into());
    let hosts = hosts(&[call(2, 0, 200), other], 0);
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].paths.keys().collect::<Vec<_>>(), ["GET /v1/things/*", "GET /v1/x"]);
}
