//! `kill -9` at random moments: traffic in pass-through, the orphan on record, nothing lost from the log.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use squall_control::app::Format;
use squall_control::client::Client;
use squall_core::draw::hash;
use squall_drill::audit::read;

use super::log::{records, sidecar};
use crate::support::{GOVERNED, Room, round_trip, wait};

/// How often: `tests/kill` says more.
fn kills() -> u64 {
    std::env::var("SQUALL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(10)
}

const RESET: &str = "name = \"killed\"\nmax_duration = \"60s\"\n[[fault]]\nkind = \"reset\"\nproxy = \"a\"\n";
const HELD: &str =
    "name = \"held\"\nmax_duration = \"60s\"\n[[fault]]\nkind = \"latency\"\nproxy = \"a\"\ndelay = \"30s\"\n";

/// Starts and aborts one run after another until squall is gone.
fn keep_busy(client: &Client, proxy: &str, started: &AtomicU64, gone: &AtomicBool) {
    for n in 0.. {
        let text = if n % 2 == 0 { RESET } else { HELD };
        let Ok(view) = client.submit(&format!("{GOVERNED}{text}"), Format::Toml, &[]) else { break };
        if client.start(&view.id, Some("60s")).is_err() {
            break;
        }
        started.fetch_add(1, Ordering::SeqCst);
        if n % 2 == 0 {
            let _ = round_trip(proxy);
        }
        if n % 3 != 2 && client.abort(&view.id).is_err() {
            break;
        }
    }
    assert!(gone.load(Ordering::SeqCst), "it refused while it ran");
}

#[test]
fn kill_9_at_any_moment_leaves_pass_through_and_a_whole_log() {
    let room = Room::new();
    let (mut serve, log) = sidecar(&room, "[safety]\nmax_experiments = 1000000");
    let config = room.path("squall.toml").display().to_string();
    let (mut torn, mut orphans, mut runs, mut whole_records) = (0, 0, 0, 0);
    for n in 0..kills() {
        let client = Client::new(serve.control().parse().unwrap()).patience(Duration::from_secs(5));
        let (proxy, started, gone) = (serve.proxy("a"), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| keep_busy(&client, &proxy, &started, &gone));
            wait::until("a first start", || (started.load(Ordering::SeqCst) > 0).then_some(()));
            std::thread::sleep(Duration::from_micros(hash(format!("kill {n}").as_bytes()) % 60_000));
            gone.store(true, Ordering::SeqCst);
            serve.kill();
            busy.join().unwrap();
        });
        runs += started.load(Ordering::SeqCst);
        let left = std::fs::read(&log).unwrap();
        let found = read(&*left, |_, _| ()).unwrap();
        assert_eq!(found.broken, None, "kill {n}");
        torn += u64::from(found.torn > 0);
        let before = unfinished(&room.path("state/runs"));
        orphans += before.len();

        serve = room.serve(&["--config", &config]);
        assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello", "kill {n}");
        let recovered = wait::until("the log to go on", || {
            let now = std::fs::read(&log).unwrap();
            let (is_longer, found) = (now.len() as u64 > found.bytes, read(&*now, |_, _| ()).unwrap());
            (is_longer && found.torn == 0 && found.broken.is_none() && is_closed(&log)).then_some(now)
        });
        let whole = usize::try_from(found.bytes).unwrap();
        assert!(recovered[..whole] == left[..whole], "kill {n}: something was lost from the log");
        assert!(unfinished(&room.path("state/runs")).is_empty());
        for id in before {
            let run = run(&room.path("state/runs"), &id);
            assert_eq!((&run["state"], &run["reason"]), (&"stopped".into(), &"aborted: crash".into()), "kill {n}");
        }
        if n % 20 == 19 {
            // a state that only grows would be most of the work
            whole_records += records(&log).len();
            serve.kill();
            std::fs::remove_dir_all(room.path("state")).unwrap();
            serve = room.serve(&["--config", &config]);
        }
    }
    whole_records += records(&log).len();
    println!(
        "{} kills: {runs} runs started, {orphans} orphans closed, {torn} torn records cut off, {whole_records} records whole",
        kills()
    );
    assert!(orphans > 0, "no kill met a run");
}

/// Whether every start in the log has its end.
fn is_closed(log: &Path) -> bool {
    let records = records(log);
    let of = |action: &str| {
        let mut ids: Vec<&str> = records
            .iter()
            .filter(|record| record.action == action)
            .filter_map(|record| record.object.as_deref())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let ends = of("end");
    of("start").iter().all(|id| ends.contains(id))
}

fn run(runs: &Path, id: &str) -> Value {
    serde_json::from_slice(&std::fs::read(runs.join(id).join("run.json")).unwrap()).unwrap()
}

/// Runs that are not over, as far as their files say.
fn unfinished(runs: &Path) -> Vec<String> {
    let ids = std::fs::read_dir(runs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    ids.filter(|id| runs.join(id).join("run.json").exists() && run(runs, id)["over"] == false).collect()
}
