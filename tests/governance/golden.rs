//! A stranger's walk with the golden files: checkout-brownout.toml on squall.toml, with its tokens line switched on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use super::support::{as_whom, token};
use crate::audit::log::records;
use crate::support::api::{Api, Says, ask};
use crate::support::programs::free_port;
use crate::support::wait::{PATIENCE, until};
use crate::support::{Ended, Room, turn};

/// The services behind the golden configuration's proxies, and where it has them listen here.
struct Town {
    shop: Api,
    payments: Api,
    checkout: SocketAddr,
    charges: SocketAddr,
}

impl Town {
    fn new() -> Town {
        let here = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        Town {
            shop: Api::answering(|asked| match asked.target.as_str() {
                "/bad" => Says::Whole(500, "text/plain".into(), b"no".to_vec()),
                _ => Says::Whole(200, "text/plain".into(), b"a cart".to_vec()),
            }),
            payments: Api::answering(|_| Says::json("{\"paid\":true}")),
            checkout: here(),
            charges: here(),
        }
    }

    /// A golden text with the addresses that are free here.
    fn settle(&self, text: &str) -> String {
        let checkout = self.checkout.to_string();
        let moved = [
            ("127.0.0.1:18080", checkout.as_str()),
            ("127.0.0.1:18081", &self.charges.to_string()),
            ("127.0.0.1:8080", &self.shop.address.to_string()),
            ("127.0.0.1:8081", &self.payments.address.to_string()),
            ("127.0.0.1:7070", "127.0.0.1:0"),
            ("127.0.0.1:8474", "127.0.0.1:0"),
            ("127.0.0.1:9090", "127.0.0.1:0"),
            ("127.0.0.1:26379", "127.0.0.1:0"),
        ];
        moved.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

/// The golden scenario with a ladder that is climbed in seconds.
fn quickened(text: &str) -> String {
    [
        ("hold = \"10s\"", "hold = \"1s\""),
        ("at         = \"10s\"", "at         = \"1s\""),
        ("at     = \"10s\"", "at     = \"1s\""),
        ("at          = \"40s\"", "at          = \"2s\""),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// Selected and eligible units of the ladder's fault.
fn exposure(list: &Ended, id: &str) -> (f64, f64) {
    let views: Value = serde_json::from_str(&list.out).unwrap();
    let view = views.as_array().unwrap().iter().find(|view| view["id"] == id).unwrap();
    assert_eq!(view["state"], "running", "{view:#}");
    let count = |name: &str| view["faults"][0]["tally"][name].as_f64().unwrap();
    (count("selected"), count("eligible"))
}

#[test]
fn the_golden_brown_out_is_approved_climbs_and_ends_on_the_request_that_spends_its_allowance() {
    let _turn = turn();
    let (room, town) = (Room::new(), Town::new());
    for (name, role) in [("alice", "operator"), ("bob", "approver")] {
        token(&room, name, role, &[]);
    }
    let config = town.settle(include_str!("../golden/squall.toml")).replace("# tokens ", "tokens ");
    assert!(config.contains("\ntokens  = \"tokens.toml\""));
    let serve = room.serve(&["--config", &room.file("squall.toml", &config)]);
    let (alice, bob) = (as_whom(&room, &serve, "alice"), as_whom(&room, &serve, "bob"));

    // as it stands: refused without approval, one's own is none, somebody else's lets it start
    let golden = town.settle(include_str!("../golden/checkout-brownout.toml"));
    let file = room.file("checkout-brownout.toml", &golden);
    let refused = alice(&["start", &file, "--detach", "--max", "60s"]).exits(2);
    refused.says("it needs 1 approval(s) by people who neither handed it in nor start it");
    let own = bob(&["submit", &file]).exits(0).out.trim().to_owned();
    bob(&["approve", &own]).exits(2).says("`bob` handed it in");
    let id = alice(&["submit", &file]).exits(0).out.trim().to_owned();
    bob(&["approve", &id]).exits(0);
    alice(&["start", &id, "--detach", "--max", "60s"]).exits(0);
    alice(&["abort", &id]).exits(0);

    // the same in seconds
    let file = room.file("quick.toml", &quickened(&golden));
    let id = alice(&["submit", &file]).exits(0).out.trim().to_owned();
    bob(&["approve", &id]).exits(0);
    alice(&["start", &id, "--detach", "--max", "120s"]).exits(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, town) = (&over, &town);
        for thread in 0..4_u32 {
            scope.spawn(move || {
                for n in 0_u32.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let tenant = (thread * 1_000_000 + n).to_string();
                    ask(town.charges, "POST /v1/charges/7", &[("x-tenant", &tenant)], PATIENCE);
                    ask(town.checkout, "GET /cart", &[], PATIENCE);
                }
            });
        }
        let _ends = Ends(over);
        // the ladder: more and more of the tenants, up to a quarter
        let list = || exposure(&alice(&["list", "--json"]).exits(0), &id);
        let mut before = list();
        let mut shares = Vec::new();
        until("the ladder's top", || {
            let now = list();
            if now.1 - before.1 < 200.0 {
                return None;
            }
            let share = (now.0 - before.0) / (now.1 - before.1);
            before = now;
            shares.push(share);
            (share > 0.15).then_some(())
        });
        assert!(shares[0] < 0.1, "it began with few: {shares:?}");

        // harm: users of checkout, where no fault acts
        for n in 1..=50 {
            assert_eq!(ask(town.checkout, "GET /bad", &[], PATIENCE).status, 500);
            if n == 49 {
                list(); // it runs
            }
        }
        let report = room.path(&format!("state/runs/{id}/report.json"));
        let report: Value = until("the report", || serde_json::from_slice(&std::fs::read(&report).ok()?).ok());
        over.store(true, Ordering::Relaxed);
        assert_eq!(report["state"], "stopped", "{report:#}");
        assert_eq!(report["timeline"].to_string().matches("stopping: guard `harm allowance`").count(), 1, "{report:#}");
        // where the machine is too busy for the delays themselves, that comes first
        let is_late = report["why"][0].as_str().is_some_and(|why| why.contains("of its delays were off by"));
        assert_eq!(report["verdict"], if is_late { "invalid" } else { "refuted" }, "{report:#}");
        let guards = report["guards"].as_array().unwrap();
        let harm = guards.iter().find(|guard| guard["name"] == "harm allowance").unwrap();
        assert_eq!((&harm["fired"], &harm["worst"], &harm["source"]), (&1.into(), &50.0.into(), &"request".into()));
        assert!(guards.iter().all(|guard| guard == harm || guard["fired"] == 0), "{guards:#?}");
    });

    // what is on record, and that one byte of it is missed
    serve.signal(Signal::TERM);
    serve.end().exits(0);
    let log = room.path("state/audit.log");
    let of_run: Vec<_> = records(&log).into_iter().filter(|record| record.object.as_deref() == Some(&id)).collect();
    let find = |action: &str, reason: &str| {
        let says = |said: &Option<String>| said.as_deref().is_some_and(|said| said.contains(reason));
        let found = of_run.iter().position(|record| record.action == action && says(&record.reason));
        found.unwrap_or_else(|| panic!("no {action} with {reason:?} in {of_run:#?}"))
    };
    let order = [
        find("approval", "approved by bob"),
        find("start", ""),
        find("guard", "guard `harm allowance`: harm is 50, limit 50"),
        find("end", "harm allowance"),
    ];
    assert!(order.is_sorted(), "{order:?}");
    let name = log.display().to_string();
    room.squall(&["audit", "verify", &name]).exits(0).says("records are in order");
    room.squall(&["audit", "show", &name]).exits(0).says("harm allowance");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.windows(14).position(|word| word == b"harm allowance").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    room.squall(&["audit", "verify", &name]).exits(1).says("its bytes hash to");
}

/// Ends the load, also of a test that fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
