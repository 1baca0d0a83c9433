//! Other ways to it: base URLs, shells that are no children, the doctor, a sweep.

use rustix::process::Signal;
use serde_json::Value;

use super::wrapped::{Wrap, saying};
use crate::support::api::header;
use crate::support::{Ended, Running, python};

const HOST: &str = "api.stripe.com";

#[test]
fn a_base_url_leads_there_without_tls_and_faults_act() {
    let api = saying(r#"{"ok":1}"#);
    let wrap = Wrap::of(HOST, &api).with(&["--reverse", "--error", "503", "--first", "1"]);
    let call = "for n in 1 2; do env -u HTTP_PROXY -u http_proxy curl -s -o /dev/null -w '%{http_code} ' $STRIPE_API_BASE/v1/x; done";
    assert_eq!(wrap.run(&["sh", "-c", call]).exits(0).out, "503 200 ");
    let asked = api.news();
    assert_eq!(header(&asked[0].headers, "host"), Some(HOST));
    assert_eq!(asked[0].target, "/v1/x");
}

#[test]
fn a_path_of_the_front_leads_there_too() {
    let api = saying(r#"{"ok":1}"#);
    let wrap = Wrap::of(HOST, &api).with(&["--reverse"]);
    let call =
        "curl -s --noproxy '*' $HTTP_PROXY/api.stripe.com/v1/x?y=1; curl -s --noproxy '*' $HTTP_PROXY/elsewhere.test/";
    let ended = wrap.run(&["sh", "-c", call]).exits(0);
    assert!(ended.out.starts_with(r#"{"ok":1}"#) && ended.out.contains("not a server"), "{ended:?}");
    let asked = api.news();
    assert_eq!((asked.len(), asked[0].target.as_str()), (1, "/v1/x?y=1"));
}

#[test]
fn a_shell_that_is_no_child_is_told_by_env() {
    let api = saying(r#"{"ok":1}"#);
    let wrap = Wrap::of(HOST, &api);
    let state = wrap.room.path("project").display().to_string();
    wrap.room.squall(&["env", "--state", &state]).exits(4).says("no `squall wrap` runs");
    let mut command = wrap.command(&[]);
    let mut running = Running::start(&mut command);
    running.wait_for_words("squall env");
    for format in ["sh", "fish", "docker", "json"] {
        let ended = wrap.room.squall(&["env", "--state", &state, "--format", format]).exits(0);
        ended.says("NODE_EXTRA_CA_CERTS");
    }
    let script =
        format!("eval \"$({} env --state {state})\"; curl -sS https://{HOST}/v1/x", env!("CARGO_BIN_EXE_squall"));
    let mut shell = std::process::Command::new("sh");
    let shell = shell.args(["-c", &script]).env("XDG_RUNTIME_DIR", wrap.room.directory()).output().unwrap();
    assert_eq!(Ended::of(&shell).exits(0).out, r#"{"ok":1}"#);
    running.signal(Signal::TERM);
    assert_eq!(running.code_within(std::time::Duration::from_secs(60)), 0);
    assert!(running.printed().contains("GET /v1/x"), "{}", running.printed());
    wrap.room.squall(&["env", "--state", &state]).exits(4);
}

#[test]
fn the_doctor_tells_who_obeys_and_who_does_not() {
    let wrap = Wrap::new();
    let state = wrap.room.path("project").display().to_string();
    let bin = python::script("client.py").get_program().to_owned();
    let bin = std::path::Path::new(&bin).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut doctor = wrap.room.command(&[
        "doctor",
        "--state",
        &state,
        "curl",
        "git",
        "python-requests",
        "python-httpx",
        "python-aiohttp",
        "node",
        "java",
    ]);
    let ended = Ended::of(&doctor.env("PATH", path).output().unwrap()).exits(1);
    let row = |name: &str| -> Vec<String> {
        let line = ended.out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {ended:?}"));
        line.split("  ").filter(|cell| !cell.is_empty()).map(|cell| cell.trim().to_owned()).collect()
    };
    for name in ["curl", "git", "python-requests", "python-httpx", "java"] {
        assert_eq!(row(name), [name, "yes", "yes"]);
    }
    assert_eq!(row("python-aiohttp")[1], "no");
    assert!(row("python-aiohttp")[3].contains("trust_env=True"));
    let node = String::from_utf8(std::process::Command::new("node").arg("--version").output().unwrap().stdout).unwrap();
    let major: u32 = node.trim_start_matches('v').split('.').next().unwrap().parse().unwrap();
    assert_eq!(row("node")[1], if major >= 24 { "yes" } else { "no" });
    wrap.room.squall(&["doctor", "--state", &state, "cobol"]).exits(2).says("cobol");
}

#[test]
fn a_sweep_runs_the_program_under_each_scenario_about_what_it_calls() {
    let wrap = Wrap::new();
    let [state, report] = ["project", "report"].map(|name| wrap.room.path(name).display().to_string());
    let script = "curl -sf https://api.stripe.com/v1/charges > /dev/null";
    let ended = wrap.room.squall(&["sweep", "--state", &state, "--report", &report, "--", "sh", "-c", script]).exits(0);
    let rows: Vec<Vec<&str>> = ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..2], ["scenario", "exit"]);
    assert_eq!(rows[1][..3], ["(none)", "0", "1"], "{ended:?}");
    assert!(rows.iter().any(|row| row[0] == "stripe/rate-limit"), "{ended:?}");
    let told: Value = serde_json::from_slice(&std::fs::read(wrap.room.path("report/none/wrap.json")).unwrap()).unwrap();
    assert_eq!(told["hosts"][0]["host"], HOST);
    assert!(std::fs::read_to_string(wrap.room.path("report/sweep.md")).unwrap().contains("| stripe/rate-limit | "));
}
