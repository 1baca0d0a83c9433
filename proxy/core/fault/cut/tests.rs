#![allow(clippy::unwrap_used)]

use super::*;
use crate::fault::driver::Driver;
use crate::time::SECOND;
use crate::unit::Duration;

fn amount(n: u64, how: How) -> Cut {
    Cut { after: After::Amount(Bytes(n)), delay: None, how }
}

fn time(seconds: u64, how: How) -> Cut {
    Cut { after: After::Time(Duration(seconds * SECOND)), delay: None, how }
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
