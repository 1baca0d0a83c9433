//! A stranger's walk through approvals, with the commands that people type.

use std::fs;

use super::support::{as_whom, config, scenario, token};
use crate::support::{Room, echo, round_trip};

#[test]
fn a_strangers_walk() {
    let (room, upstream) = (Room::new(), echo());
    for (name, role) in [("alice", "operator"), ("bob", "approver"), ("eve", "viewer")] {
        token(&room, name, role, &[]);
    }
    let serve = room.serve(&["--config", &config(&room, "staging", "approvals = { staging = 1 }", &upstream)]);
    let (alice, bob, eve) =
        (as_whom(&room, &serve, "alice"), as_whom(&room, &serve, "bob"), as_whom(&room, &serve, "eve"));
    room.squall(&["status", "--control", &serve.control()]).exits(2).says("a token is needed");
    let file = room.file("slow.toml", &scenario("staging", 100));

    // without approval it does not start, and says what to do
    let refused = alice(&["start", &file, "--detach", "--max", "60s"]).exits(2);
    refused.says("it needs 1 approval(s) by people who neither handed it in nor start it: `squall approve slow-1`");
    let id = alice(&["submit", &file]).exits(0).out.trim().to_owned();
    assert_eq!(id, "slow-2");
    alice(&["approve", &id]).exits(2).says("takes the role approver; `alice` is operator");
    eve(&["reject", &id, "--reason", "no"]).exits(2).says("takes the role approver");

    // one's own approval is none
    let own = bob(&["submit", &file]).exits(0).out.trim().to_owned();
    bob(&["approve", &own]).exits(2).says("`bob` handed it in");
    bob(&["approve", &id, "--digest", &"0".repeat(64)]).exits(2).says("is not what was read");
    bob(&["approve", &id, "--expires", "1h"]).exits(0).says("hypothesis: nobody minds").says("slow-2 is approved");
    bob(&["approve", &id]).exits(2).says("has approved it already");
    bob(&["start", &id, "--detach", "--max", "60s"]).exits(2).says("they start it");
    eve(&["status"]).exits(0).says("1 of 1 approvals: bob until");

    // by its name, by the one who handed it in
    alice(&["start", "slow", "--detach", "--max", "60s"]).exits(0).says("slow-2 runs");
    alice(&["start", &id]).exits(2);
    eve(&["list"]).exits(0).says("running");
    // anybody who is known may end it
    eve(&["abort", &id]).exits(0).says("aborted slow-2");
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
    let log = room.path("state/audit.log").display().to_string();
    room.squall(&["audit", "show", &log, "--actor", "alice", "--action", "start"]).exits(0).says("slow-2");
    let report = || fs::read_to_string(room.path("state/runs/slow-2/report.md")).unwrap_or_default();
    crate::support::wait::until("the report", || report().contains("| started by | alice |").then_some(()));
    assert!(
        report().contains("| handed in by | alice |") && report().contains("| approved by | bob at"),
        "{}",
        report()
    );

    // an edit is another experiment, which nobody has approved
    let edited = room.file("slow.toml", &scenario("staging", 99));
    let again = alice(&["submit", &edited]).exits(0).out.trim().to_owned();
    alice(&["start", &again]).exits(2).says("it needs 1 approval(s)");
    bob(&["approve", &again, "--max-exposure", "50%"]).exits(0);
    alice(&["start", &again]).exits(2).says("it allows 50%, and a fault selects up to 99%");
    bob(&["reject", &again, "--reason", "too much at once"]).exits(0).says("cancelled");
    alice(&["start", &again]).exits(2);
    eve(&["list"]).exits(0).says("rejected by bob: too much at once");
}

#[test]
fn where_nobody_can_be_told_from_anybody_a_required_approval_is_refused_with_the_fix() {
    let (room, upstream) = (Room::new(), echo());
    let config = config(&room, "staging", "approvals = { staging = 1 }", &upstream);
    let open = fs::read_to_string(&config).unwrap().replace("tokens =", "# tokens =");
    let serve = room.serve(&["--config", &room.file("squall.toml", &open)]);
    let file = room.file("slow.toml", &scenario("staging", 100));
    let refused = room.squall(&["start", &file, "--control", &serve.control()]).exits(2);
    refused.says("here nobody can be told from anybody: set `tokens = \"tokens.toml\"` in [control]");
}

#[test]
fn what_waits_for_approvals_outlives_a_crash_but_not_an_edit() {
    let (room, upstream) = (Room::new(), echo());
    token(&room, "alice", "operator", &[]);
    token(&room, "bob", "approver", &[]);
    let config = config(&room, "staging", "approvals = { staging = 1 }", &upstream);
    let mut serve = room.serve(&["--config", &config]);
    let (alice, bob) = (as_whom(&room, &serve, "alice"), as_whom(&room, &serve, "bob"));
    for percentage in [100, 99, 98] {
        alice(&["submit", &room.file("slow.toml", &scenario("staging", percentage))]).exits(0);
    }
    bob(&["approve", "slow-1"]).exits(0).says("slow-1 is approved");
    bob(&["approve", "slow-2"]).exits(0);
    alice(&["abort", "slow-3"]).exits(0);
    let kept = |id: &str| room.path(&format!("state/drafts/{id}.json"));
    crate::support::wait::until("the aborted one to be forgotten", || (!kept("slow-3").exists()).then_some(()));
    serve.kill();

    let text = fs::read_to_string(kept("slow-2")).unwrap();
    let edited = text.replace("\\\"percentage\\\":99", "\\\"percentage\\\":100");
    assert_ne!(text, edited);
    fs::write(kept("slow-2"), edited).unwrap();
    let serve = room.serve(&["--config", &config]);
    let (alice, bob) = (as_whom(&room, &serve, "alice"), as_whom(&room, &serve, "bob"));
    let status = alice(&["status"]).exits(0).says("1 of 1 approvals: bob until");
    assert!(
        status.out.contains("slow-1") && !status.out.contains("slow-2") && !status.out.contains("slow-3"),
        "{status:?}"
    );
    alice(&["start", "slow-2"]).exits(2);
    bob(&["approve", "slow-1"]).exits(2).says("has approved it already");
    alice(&["start", "slow-1", "--detach", "--max", "60s"]).exits(0).says("slow-1 runs");
    assert!(!kept("slow-1").exists() && !kept("slow-2").exists(), "no drafts any more");
    alice(&["abort", "slow-1"]).exits(0);
}

#[test]
fn groups_and_production() {
    let (room, upstream) = (Room::new(), echo());
    token(&room, "alice", "operator", &[]);
    token(&room, "sam", "approver", &["--group", "security"]);
    token(&room, "pat", "approver", &["--group", "product"]);
    token(&room, "sid", "approver", &["--group", "security"]);
    let safety = "approvals = { production = [\"security\", \"product\"] }";
    let serve = room.serve(&["--config", &config(&room, "production", safety, &upstream)]);
    let whom = |name: &str| as_whom(&room, &serve, name);
    let elsewhere = room.file("elsewhere.toml", &scenario("staging", 10));
    whom("alice")(&["start", &elsewhere]).exits(2).says("this host is `production`");
    let id = whom("alice")(&["submit", &room.file("slow.toml", &scenario("production", 10))]).exits(0);
    let id = id.says("by security and product").out.trim().to_owned();
    whom("sam")(&["approve", &id]).exits(0).says("draft");
    whom("sid")(&["approve", &id]).exits(0).says("draft");
    whom("alice")(&["start", &id]).exits(2).says("of them one each by security, product");
    whom("pat")(&["approve", &id]).exits(0).says("approved");
    whom("alice")(&["start", &id, "--detach", "--max", "60s"]).exits(0);
    // starts without an approval are refused where production is not configured at all
    assert!(whom("alice")(&["abort"]).exits(0).out.contains("aborted"));
}

#[test]
fn the_governed_example_needs_nothing_more_than_an_approval_once_tokens_are_on() {
    let room = Room::new();
    for (name, role) in [("alice", "operator"), ("bob", "approver")] {
        token(&room, name, role, &[]);
    }
    let golden = fs::read_to_string("tests/golden/squall.toml").unwrap().replace("# tokens  =", "tokens =");
    let listening = ["26379", "18080", "18081", "9090", "7070", "8474"].map(|port| format!("127.0.0.1:{port}"));
    let text = listening.iter().fold(golden, |text, address| text.replace(address, "127.0.0.1:0"));
    let serve = room.serve(&["--config", &room.file("squall.toml", &text)]);
    let (alice, bob) = (as_whom(&room, &serve, "alice"), as_whom(&room, &serve, "bob"));
    let scenario = "tests/golden/checkout-brownout.toml";
    let id = alice(&["submit", scenario]).exits(0).out.trim().to_owned();
    alice(&["start", &id]).exits(2).says("it needs 1 approval(s)");
    bob(&["approve", &id, "--max-exposure", "25%"]).exits(0).says("approved");
    let start = alice(&["start", &id, "--detach", "--max", "3m"]);
    assert!(!start.err.contains("approval"), "{start:?}");
    alice(&["abort"]).exits(0);
}
