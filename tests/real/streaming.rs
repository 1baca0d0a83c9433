//! PostgreSQL's streaming replication through squall.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::postgres::Postgres;
use crate::support::{Room, Serve, wait};

/// Rows written, each in a transaction that waits until the standby has applied it.
const ROWS: u32 = 10;

/// A primary and its synchronous standby, which receives its log through squall.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    serve: Serve,
    _rooms: [Room; 3],
}

impl Pair {
    fn new() -> Pair {
        let rooms = [Room::new(), Room::new(), Room::new()];
        let primary = Postgres::start(&rooms[0]);
        let serve = Serve::before(&rooms[1], primary.address);
        let standby = primary.standby(&rooms[2], serve.address);
        wait::until("the standby to be synchronous", || {
            let state = primary.ask("select state || ' ' || sync_state from pg_stat_replication");
            (state == "streaming sync").then_some(())
        });
        primary.ask("create table entries (id serial primary key, text text)");
        Pair { primary, standby, serve, _rooms: rooms }
    }

    /// Writes rows that the standby has to apply first; how long it took.
    fn write(&self) -> Duration {
        let mut statements = vec!["set synchronous_commit = remote_apply".to_owned()];
        let insert =
            "insert into entries (text) select string_agg(md5(random()::text), '') from generate_series(1, 100)";
        statements.extend((0..ROWS).map(|_| insert.to_owned()));
        let begun = Instant::now();
        self.primary.ask_all(&statements);
        begun.elapsed()
    }

    /// Both have the same rows in the end, and as many as were written.
    #[track_caller]
    fn is_equal(&self, rows: u32) {
        let sum = "select count(*) || ' ' || md5(string_agg(id || text, ',' order by id)) from entries";
        let on_primary = self.primary.ask(sum);
        assert!(on_primary.starts_with(&format!("{rows} ")), "{on_primary}");
        wait::until("the standby to have it all", || (self.standby.ask(sum) == on_primary).then_some(()));
    }

    /// The ledger's lines of a run, with what was drawn, scheduled and achieved in ns, as the report sums them up.
    #[track_caller]
    fn record(&self, id: &str, fault: &str) -> Vec<[u64; 3]> {
        self.serve.over(id);
        let of = |line: &Value| ["drawn", "scheduled", "achieved"].map(|field| line[field].as_u64().unwrap());
        let ledger: Vec<[u64; 3]> = self.serve.ledger(id, fault).iter().map(of).collect();
        assert!(!ledger.is_empty());
        let report = self.serve.client.report(id).unwrap();
        let story = &report["faults"][0];
        assert_eq!(story["tally"]["injected"].as_u64(), Some(ledger.len() as u64), "{report:#}");
        for value in story["values"].as_array().unwrap() {
            assert!(["drawn", "scheduled", "achieved"].iter().all(|field| value[field]["p99"].is_number()), "{value}");
        }
        ledger
    }
}

#[test]
fn commits_wait_for_a_late_standby_and_nothing_is_lost() {
    let pair = Pair::new();
    let before = pair.write();
    let late = "[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndirection = \"both\"\ndelay = \"60ms\"\n";
    let id = pair.serve.start(late);
    let during = pair.write();
    pair.serve.stop(&id);
    let after = pair.write();
    // the log goes to the standby and its answer comes back
    assert!(during >= ROWS * Duration::from_millis(120), "{during:?} for {ROWS} commits; {before:?} before");
    pair.is_equal(3 * ROWS);
    let ledger = pair.record(&id, "latency");
    assert!(ledger.len() as u32 >= 2 * ROWS, "{} delays", ledger.len());
    println!("{ROWS} commits: {before:?} before, {during:?} behind 2 x 60 ms, {after:?} afterwards");
    let ms = 1_000_000;
    assert!(ledger.iter().all(|[drawn, scheduled, _]| *drawn == 60 * ms && scheduled >= drawn), "{ledger:?}");
    // never early, except for what the end of the run let go
    let whole = ledger.iter().filter(|[_, scheduled, achieved]| achieved >= scheduled).count();
    assert!(whole as u32 >= 2 * ROWS && ledger.len() - whole <= 2, "{ledger:?}");
}

#[test]
fn commits_wait_for_log_that_is_sent_again_and_nothing_is_lost() {
    let pair = Pair::new();
    let before = pair.write();
    let id = pair.serve.start("[[fault]]\nkind = \"loss\"\nproxy = \"default\"\nshare = \"20%\"\nhow = \"stall\"\n");
    let during = pair.write();
    pair.serve.stop(&id);
    let after = pair.write();
    pair.is_equal(3 * ROWS);
    let ledger = pair.record(&id, "loss");
    let ms = 1_000_000;
    assert!(ledger.iter().all(|[drawn, scheduled, _]| *drawn >= 200 * ms && scheduled >= drawn), "{ledger:?}");
    // the log stood still so long in all, and no commit goes on while it does
    let stalls = stood_still(&pair.serve.ledger(&id, "loss"));
    println!("{ROWS} commits: {before:?} before, {during:?} with {stalls} s of stalls, {after:?} afterwards");
    let story = &pair.serve.client.report(&id).unwrap()["faults"][0];
    assert!(story["approximated"].is_string(), "TCP itself loses nothing: {story:#}");
    assert!(stalls >= 0.2 && during.as_secs_f64() + 0.01 >= stalls, "{during:?}, {stalls} s of stalls");
}

/// How long at least one of these waits was under way, seconds.
fn stood_still(ledger: &[Value]) -> f64 {
    let wait = |line: &Value| {
        let (date, time) = line["time"].as_str().unwrap().split_once('T').unwrap();
        let day: f64 = date.rsplit('-').next().unwrap().parse().unwrap();
        let parts: Vec<f64> = time.trim_end_matches('Z').split(':').map(|part| part.parse().unwrap()).collect();
        let end = day * 86_400.0 + parts[0] * 3600.0 + parts[1] * 60.0 + parts[2];
        (end - line["achieved"].as_f64().unwrap() / 1e9, end)
    };
    let mut waits: Vec<(f64, f64)> = ledger.iter().map(wait).collect();
    waits.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut until) = (0.0, f64::MIN);
    for (from, to) in waits {
        sum += (to - from.max(until)).max(0.0);
        until = until.max(to);
    }
    sum
}
