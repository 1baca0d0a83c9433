//! PostgreSQL and pgbench.

use crate::support::postgres::{Postgres, pgbench};
use crate::support::{Room, Serve};

/// The figure after a label in pgbench's report.
#[track_caller]
fn figure(report: &str, label: &str) -> f64 {
    let line = report.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("{label}\n{report}"));
    let number = line.trim_start_matches([':', '=', ' ']);
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    number[..end].parse().unwrap()
}

#[test]
fn pgbench_counts_the_same_through_squall_as_the_database_does() {
    let room = Room::new();
    let postgres = Postgres::start(&room);
    let squall = Serve::before(&room, postgres.address);
    pgbench(squall.address, 0, &["--initialize", "--scale", "1", "--quiet"]);
    assert_eq!(postgres.ask("select count(*) from pgbench_accounts"), "100000");

    let plain = pgbench(squall.address, 0, &["-c", "4", "-j", "2", "-t", "250", "--no-vacuum"]);
    assert_eq!(figure(&plain, "number of transactions actually processed"), 1000.0);
    assert_eq!(figure(&plain, "number of failed transactions"), 0.0);

    let id = squall.start("[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndelay = \"10ms\"\n");
    let late = pgbench(squall.address, 0, &["-c", "4", "-j", "2", "-t", "10", "--no-vacuum"]);
    assert_eq!(figure(&late, "number of transactions actually processed"), 40.0);
    // seven statements, each one round trip
    let (before, after) = (figure(&plain, "latency average"), figure(&late, "latency average"));
    assert!(after >= 70.0, "{after} ms for seven round trips of 10 ms and more");
    assert!(after < 70.0 + 4.0 * before + 60.0, "{after} ms, and {before} ms without fault");

    // what is cut is cut for pgbench too, and the database keeps whole transactions only
    squall.stop(&id);
    squall.start("[[fault]]\nkind = \"reset\"\nproxy = \"default\"\nafter = \"6KiB\"\npercentage = 50\nat = \"0s\"\n");
    let cut = pgbench(squall.address, 2, &["-c", "8", "-j", "2", "-t", "100", "--no-vacuum"]);
    let done = figure(&cut, "number of transactions actually processed") as u64;
    assert!(done < 800, "{cut}");

    let history: u64 = postgres.ask("select count(*) from pgbench_history").parse().unwrap();
    // a connection may be cut after its commit and before the answer
    assert!((1040 + done..=1040 + done + 8).contains(&history), "{history} kept, {done} told");
    assert_eq!(
        postgres.ask("select (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts)"),
        "t"
    );
}
