#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::fault::Upstream;
use crate::fault::driver::Driver;
use crate::http::{Request, Response, StatusCode};
use crate::time::SECOND;
use crate::unit::Duration;

fn amount(n: u64, how: How) -> Cut {
    cut(After::Amount(Bytes(n)), how)
}

fn time(seconds: u64, how: How) -> Cut {
    cut(After::Time(Duration(seconds * SECOND)), how)
}

fn driver(fault: Cut) -> Driver<Cut> {
    Driver::new(fault, Flow::Upstream)
}

#[test]
fn it_cuts_at_the_exact_byte_whatever_the_reads() {
    for reads in [vec![1000], vec![512, 488], vec![511, 1, 1], vec![1; 513], vec![512]] {
        let mut driver = driver(amount(512, How::Reset));
        for (i, n) in reads.iter().enumerate() {
            driver.at(i as u64).push(&vec![1; *n]);
        }
        driver.run_until(SECOND);
        assert_eq!(driver.out.len(), 512, "{reads:?}");
        assert_eq!(driver.ended.unwrap().1, End::Reset);
        let injection = driver.injected[0];
        assert_eq!((driver.injected.len(), injection.what, injection.achieved), (1, What::Reset, 512));
    }
}

#[test]
fn the_last_byte_is_enough_nobody_has_to_send_more() {
    let mut driver = driver(amount(10, How::Fin));
    driver.at(7).push(&[1; 10]);
    driver.run_until(SECOND);
    assert_eq!(driver.ended, Some((7, End::Fin)));
}

#[test]
fn an_amount_that_has_passed_before_acts_at_the_next_byte() {
    let mut driver = driver(amount(10, How::Reset)).attached(SECOND, 100);
    driver.run_until(2 * SECOND);
    assert_eq!(driver.ended, None);
    driver.at(3 * SECOND).push(&[1]);
    driver.run_until(4 * SECOND);
    assert_eq!((driver.ended.clone(), driver.out.len()), (Some((3 * SECOND, End::Reset)), 0));
    assert_eq!((driver.injected[0].scheduled, driver.injected[0].achieved), (10, 100));
}

#[test]
fn a_window_that_opens_again_waits_for_the_next_byte_too() {
    let mut driver = driver(amount(10, How::Reset));
    driver.at(0).push(&[1; 5]);
    driver.run_until(SECOND);
    let mut driver = driver.attached(5 * SECOND, 20);
    driver.run_until(6 * SECOND);
    assert_eq!(driver.ended, None);
}

#[test]
fn a_time_needs_no_traffic_and_counts_from_the_beginning_of_the_connection() {
    let mut early = driver(time(5, How::Fin)).attached(2 * SECOND, 0);
    early.at(3 * SECOND).push(&[1; 10]);
    early.run_until(9 * SECOND);
    assert_eq!((early.ended, early.out.len()), (Some((5 * SECOND, End::Fin)), 10));

    let mut late = driver(time(5, How::Fin)).attached(6 * SECOND, 0);
    late.at(8 * SECOND).push(&[1]);
    late.run_until(9 * SECOND);
    assert_eq!(late.ended, Some((8 * SECOND, End::Fin)));
}

#[test]
fn a_stall_passes_what_comes_before_and_tells_nobody() {
    for fault in [amount(5, How::Stall), time(1, How::Stall)] {
        let mut driver = driver(fault);
        driver.at(0).push(&[1; 5]);
        driver.at(2 * SECOND).push(&[2; 5]);
        driver.at(3 * SECOND).fin();
        driver.run_until(9 * SECOND);
        assert_eq!((driver.out.len(), driver.ended, driver.closed_at), (5, None, None));
        assert_eq!((driver.injected.len(), driver.injected[0].what), (1, What::Stalled));
    }
}

#[test]
fn a_connection_that_ends_before_is_left_alone() {
    let mut driver = driver(amount(50, How::Stall));
    driver.at(0).push(&[1; 5]);
    driver.at(1).fin();
    driver.run_until(SECOND);
    assert_eq!((driver.closed_at, driver.injected.len()), (Some(1), 0));
}

#[test]
fn more_room_lets_a_stalled_flow_go_on_and_counts_from_the_beginning() {
    let mut driver = driver(amount(5, How::Stall));
    driver.at(0).push(&[1; 30]);
    driver.run_until(SECOND);
    driver.fault = amount(20, How::Stall);
    driver.run_until(2 * SECOND);
    assert_eq!((driver.out.len(), driver.injected.len()), (20, 2));
}

fn gate(fault: &Cut, flow: Flow) -> Gate {
    let (mut state, span, mut injected) = (Memory::default(), crate::fault::Span::default(), Vec::new());
    let mut cx = Cx {
        state: &mut state,
        shared: &(),
        draw: crate::draw::DrawKey::new(1, "e", "f").unit(0),
        span: &span,
        now: 0,
        elapsed: 0,
        flow,
        exchange: None,
        injected: &mut injected,
    };
    let gate = fault.open(&mut cx, &Opening::Accepted(None));
    assert_eq!(injected.len(), usize::from(gate != Gate::Pass));
    gate
}

#[test]
fn nothing_at_all_means_refused_unless_only_the_answer_is_cut() {
    assert_eq!(gate(&amount(0, How::Reset), Flow::Upstream), Gate::Refuse(End::Reset));
    assert_eq!(gate(&amount(0, How::Fin), Flow::Upstream), Gate::Refuse(End::Fin));
    assert_eq!(gate(&amount(0, How::Stall), Flow::Upstream), Gate::Pass);
    assert_eq!(gate(&amount(1, How::Reset), Flow::Upstream), Gate::Pass);
    assert_eq!(gate(&amount(0, How::Reset), Flow::Downstream), Gate::Pass);
}

#[test]
fn amounts_and_times_are_told_apart_by_their_unit() {
    let parse = |text: &str| text.parse::<After>();
    assert_eq!(parse("1KiB"), Ok(After::Amount(Bytes(1024))));
    assert_eq!(parse("5m"), Ok(After::Time(Duration(300 * SECOND))));
    assert_eq!(parse("0"), Ok(After::default()));
    for (text, words) in [
        ("1kib", "did you mean `1KiB`"),
        ("-5s", "is negative"),
        ("5 S", "an amount such as"),
        ("soon", "an amount such as \"4KiB\" or a time such as \"5s\""),
    ] {
        assert!(parse(text).unwrap_err().contains(words), "{text}: {}", parse(text).unwrap_err());
    }
}

#[test]
fn limit_data_takes_one_word_for_its_amount() {
    let build = |text: &str| LimitData::build(toml::from_str(text).unwrap());
    assert_eq!(build("bytes = '5B'").unwrap(), amount(5, How::Fin));
    assert_eq!(build("after = '5B'").unwrap(), amount(5, How::Fin));
    assert!(build("after = '5B'\nbytes = '5B'").unwrap_err().message.contains("one of them"));
    assert!(build("").unwrap_err().message.contains("give `bytes`"));
    assert_eq!(LimitData::summary(&amount(5, How::Fin)), "fin after 5B");
}

#[test]
fn with_a_delay_the_first_byte_waits_and_then_the_end_comes() {
    let fault = Cut { delay: Some(2 * SECOND), ..amount(0, How::Reset) };
    let mut driver = driver(fault.clone());
    driver.run_until(SECOND);
    assert_eq!((driver.ended.clone(), driver.injected.len()), (None, 0), "nothing has come yet");
    driver.at(SECOND).push(&[1; 10]);
    driver.at(2 * SECOND).push(&[1; 10]);
    driver.run_until(10 * SECOND);
    assert_eq!((driver.ended.clone(), driver.out.len()), (Some((3 * SECOND, End::Reset)), 0));
    assert_eq!(Cut::summary(&fault), "reset after 0B, 2s later");
}

#[test]
fn with_a_delay_what_came_before_the_place_arrives_at_once() {
    let mut driver = driver(Cut { delay: Some(SECOND), ..amount(10, How::Fin) });
    driver.at(5).push(&[1; 10]);
    driver.run_until(9 * SECOND);
    assert_eq!(driver.arrivals(), [(5, 10)]);
    assert_eq!(driver.ended, Some((SECOND + 5, End::Fin)));
}

fn config(text: &str) -> Result<Cut, Misfit> {
    Cut::build(toml::from_str(text).unwrap())
}

/// What it rules in a phase of an exchange whose answer has the status 201.
fn ruling(fault: Cut, phase: Phase) -> (Option<Ruling>, Vec<(What, u64)>) {
    let response = Response { status: StatusCode::CREATED, ..Response::default() };
    let mut driver = driver(fault).of(Request::default(), Some(response));
    let (_, ruling) = driver.rule(phase);
    (ruling, driver.injected.iter().map(|i| (i.what, i.achieved)).collect())
}

#[test]
fn an_exchange_ends_in_the_phase_in_which_it_is_cut_and_the_upstream_fares_accordingly() {
    for (text, phase, end, fate, what) in [
        ("", Phase::BeforeConnect, End::Reset, Upstream::Never, (What::Reset, 0)),
        ("how = 'fin'", Phase::BeforeUpstream, End::Fin, Upstream::Never, (What::Closed, 0)),
        ("how = 'goaway'\ncode = 11", Phase::AfterUpstreamHead, End::GoAway(11), Upstream::Cancel, (What::Closed, 0)),
        ("how = 'rst_stream'", Phase::AfterUpstream, End::Code(2), Upstream::Finish, (What::Unheard, 201)),
    ] {
        let (ruling, injected) = ruling(config(text).unwrap(), phase);
        let Some(Ruling::End { how, upstream }) = ruling else { panic!("{text}: {ruling:?}") };
        assert_eq!((how, upstream, injected), (end, fate, vec![what]), "{text}");
    }
    let (stalled, injected) = ruling(config("how = 'stall'").unwrap(), Phase::BeforeUpstream);
    assert!(stalled.is_none() && injected == [(What::Stalled, 0)], "{stalled:?} {injected:?}");
}

#[test]
fn a_wrong_length_is_a_change_of_the_head_and_the_body_passes() {
    let fault = config("content_length_off_by = -3").unwrap();
    let mut body = driver(fault.clone()).of(Request::default(), None);
    body.at(0).push(&[1; 500]);
    body.at(1).fin();
    body.run_until(SECOND);
    assert_eq!((body.out.len(), body.closed_at, body.ended), (500, Some(1), None));
    let (ruling, injected) = ruling(fault, Phase::MidBody);
    assert!(matches!(ruling, Some(Ruling::Patch(patch)) if patch.length_off_by == -3), "{injected:?}");
    assert_eq!(injected, [(What::Patched, 0)]);
}

#[test]
fn a_body_ends_as_it_is_told_to() {
    for (text, out, end) in [
        ("after = '4B'\nhow = 'complete'", 4, End::Complete),
        ("after = '4B'\nhow = 'short_chunk'", 4, End::Short),
        ("after = '4B'\nhow = 'rst_stream'\ncode = 'CANCEL'", 4, End::Code(8)),
        ("how = 'no_terminator'", 10, End::Fin),
        ("", 0, End::Reset),
    ] {
        let mut body = driver(config(text).unwrap()).of(Request::default(), None);
        body.at(5).push(&[1; 10]);
        body.at(6).fin();
        body.run_until(SECOND);
        assert_eq!((body.out.len(), body.ended.map(|(_, end)| end)), (out, Some(end)), "{text}");
        assert_eq!(body.injected.len(), 1, "{text}");
    }
    assert!(config("how = 'complete'").unwrap().resizes() && !config("how = 'fin'").unwrap().resizes());
}

#[test]
fn a_time_in_an_answer_counts_from_its_head() {
    let answered = Driver::new(config("after = '5s'").unwrap(), Flow::Downstream).attached(SECOND, 0);
    let mut answer = answered.of(Request::default(), Some(Response::default()));
    answer.at(2 * SECOND).push(&[1; 10]);
    answer.run_until(20 * SECOND);
    assert_eq!((answer.ended, answer.out.len()), (Some((6 * SECOND, End::Reset)), 10));
}

#[test]
fn what_does_not_fit_a_phase_or_a_protocol_is_named() {
    let misfit = |text: &str, phase| config(text).unwrap().misfit_in(phase).map(|(field, _)| field);
    assert_eq!(misfit("after = '1B'", Phase::BeforeUpstream), Some("after"));
    assert_eq!(misfit("how = 'complete'", Phase::AfterUpstream), Some("how"));
    assert_eq!(misfit("content_length_off_by = 1", Phase::BeforeUpstream), Some("content_length_off_by"));
    assert_eq!((misfit("after = '1B'", Phase::MidBody), misfit("", Phase::BeforeUpstream)), (None, None));
    let on_tcp = |text: &str| config(text).unwrap().misfit(Carrier::Stream).map(|(field, _)| field);
    assert_eq!((on_tcp(""), on_tcp("after = '1B'")), (Some("after"), None));
    assert_eq!(on_tcp("after = '1B'\nhow = 'complete'"), Some("how"));
    let reset = |text: &str| Reset::build(toml::from_str(text).unwrap()).unwrap();
    assert_eq!((reset("").misfit(Carrier::Stream), reset("").usual_phase()), (None, Some(Phase::BeforeUpstream)));
    assert_eq!(reset("after = '1B'").usual_phase(), Some(Phase::MidBody));
    for (text, field) in [
        ("code = 1", "code"),
        ("how = 'no_terminator'\nafter = '1B'", "after"),
        ("content_length_off_by = 1\nhow = 'fin'", "how"),
        ("content_length_off_by = 0", "content_length_off_by"),
    ] {
        assert_eq!(config(text).unwrap_err().field, Some(field), "{text}");
    }
}
