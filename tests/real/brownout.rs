//! The golden checkout-brownout.toml before two real services: its three faults act on the calls that it names, and on no
//! others. Its times are made shorter, and its `[approval]` is left out: in a drill nobody could give it.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::programs::{free_port, installed, run_within};
use crate::support::{Room, Running, nginx, turn};

const EXPORT: usize = 64 << 10;
/// What curl says when nobody listens: the drill is over, and its proxies with it.
const GONE: i32 = 7;

/// Two services of nginx: the shop, and what it pays with.
fn services(room: &Room, shop: u16, payments: u16) -> Running {
    std::fs::create_dir_all(room.path("www/v1")).unwrap();
    room.file("www/v1/export", &"x".repeat(EXPORT));
    let at = room.directory().display();
    let servers = format!(
        "server {{ listen 127.0.0.1:{shop}; location / {{ return 200 \"a cart\\n\"; }} }}\n\
         server {{ listen 127.0.0.1:{payments}; root {at}/www; location /v1/charges {{ return 200 \"paid\\n\"; }}\n\
         location = /v1/balance {{ return 200 \"42\\n\"; }} }}"
    );
    nginx::start(room, &[shop, payments], &servers)
}

/// The golden file with other ports and shorter times, and without its approval.
fn shortened(at: u16) -> String {
    let golden = include_str!("../golden/checkout-brownout.toml");
    let tables = golden.split("\n[").map(|table| format!("\n[{table}"));
    let kept = tables.filter(|table| !table.starts_with("\n[approval]"));
    let text: String = kept.collect();
    let text = text.trim_start_matches("\n[").to_owned();
    [
        ("hold = \"10s\"", "hold = \"1s\""),
        ("at         = \"10s\"\nfor        = \"90s\"", "at         = \"1s\"\nfor        = \"8s\""),
        ("at         = \"40s\"\nfor         = \"30s\"", "at         = \"2s\"\nfor         = \"6s\""),
        ("at          = \"40s\"\nfor         = \"30s\"", "at          = \"2s\"\nfor         = \"6s\""),
        ("at     = \"10s\"\nfor    = \"90s\"", "at     = \"1s\"\nfor    = \"8s\""),
        ("127.0.0.1:18080", &format!("127.0.0.1:{at}")),
    ]
    .iter()
    .fold(text, |text, (from, to)| text.replace(from, to))
}

fn curl(words: &[&str], url: &str) -> (i32, String) {
    let mut command = Command::new(installed("curl"));
    command.args([
        "--silent",
        "--max-time",
        "20",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{time_total}",
    ]);
    run_within(command.args(words).arg(url), Duration::from_secs(30))
}

/// Whether nobody listens any more: the drill ended while somebody asked.
fn is_over(port: u16) -> bool {
    curl(&[], &format!("http://127.0.0.1:{port}/")).0 == GONE
}

#[test]
fn the_golden_brown_out_acts_on_the_calls_that_it_names() {
    let _turn = turn();
    let room = Room::new();
    let [shop, payments, checkout, charges] = std::array::from_fn(|_| free_port());
    let _nginx = services(&room, shop, payments);
    let config = room.file(
        "squall.toml",
        &format!(
            "environment = \"test\"\n[control]\nlisten = \"127.0.0.1:0\"\nstate = \"state\"\n\
             [[proxy]]\nname = \"checkout\"\nlisten = \"127.0.0.1:{checkout}\"\nupstream = \"127.0.0.1:{shop}\"\nprotocol = \"http\"\n\
             slo = {{ objective = \"99.9%\", window = \"30d\" }}\n\
             [[proxy]]\nname = \"payments\"\nlisten = \"127.0.0.1:{charges}\"\nupstream = \"127.0.0.1:{payments}\"\nprotocol = \"http\"\n"
        ),
    );
    let scenario = room.file("checkout-brownout.toml", &shortened(checkout));
    let report = room.path("report").display().to_string();
    let drill = room.start(&["drill", &scenario, "--config", &config, "--report", &report]);
    drill.wait_for_words("opens at 1.000 s");

    let over = AtomicBool::new(false);
    let base = format!("http://127.0.0.1:{charges}");
    let (cut, refused, other) = std::thread::scope(|scope| {
        let (over, base) = (&over, &base);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let (code, answer) = curl(&[], &format!("http://127.0.0.1:{checkout}/cart"));
                if code == GONE || code != 0 && is_over(checkout) {
                    return;
                }
                assert!(code == 0 && answer.starts_with("200"), "{answer}");
            }
        });
        for tenant in 0..4 {
            scope.spawn(move || {
                for n in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let header = format!("x-tenant: {}", tenant * 1000 + n);
                    let (code, answer) =
                        curl(&["--request", "POST", "--header", &header], &format!("{base}/v1/charges/{n}"));
                    if code == GONE || code != 0 && is_over(charges) {
                        return;
                    }
                    assert!(code == 0 && answer.starts_with("200"), "late, never refused: {answer}");
                }
            });
        }
        let exports: Vec<_> = (0..5).map(|_| curl(&[], &format!("{base}/v1/export")).0).collect();
        let mut refused = 0;
        for _ in 0..50 {
            let (code, answer) = curl(&["--header", "x-experiment: 1"], &format!("{base}/v1/balance"));
            assert_eq!(code, 0);
            refused += u32::from(answer.starts_with("503"));
        }
        let other: Vec<_> = (0..10).map(|_| curl(&[], &format!("{base}/v1/balance")).1).collect();
        drill.wait_for_words("checkout-brownout-1: ");
        over.store(true, Ordering::Relaxed);
        (exports, refused, other)
    });
    // 56: the connection was reset; the first three exports, and no others
    assert_eq!(cut, [56, 56, 56, 0, 0]);
    assert!(other.iter().all(|answer| answer.starts_with("200")), "without the header none is refused: {other:?}");
    let ended = drill.end();
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(std::path::Path::new(&report).join("report.json")).unwrap())
            .unwrap();
    let tally = |fault: usize, count: &str| report["faults"][fault]["tally"][count].as_u64().unwrap();
    assert!(tally(0, "injected") > 0 && tally(0, "selected") < tally(0, "eligible"), "{report}\n{}", ended.out);
    assert_eq!((tally(1, "injected"), tally(2, "injected")), (refused.into(), 3), "{report}");
}
