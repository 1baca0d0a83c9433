//! Faults from the command line and from scenarios, on real clients.

use rustix::process::Signal;

use super::api::Api;
use super::wrapped::Wrap;

const HOST: &str = "api.stripe.com";
const URL: &str = "https://api.stripe.com/v1/charges";

fn calls(n: usize) -> String {
    format!("for n in $(seq {n}); do curl -s -o /dev/null -w '%{{http_code}} ' {URL}?n=$n; done")
}

#[test]
fn the_first_two_calls_are_errors_and_never_reach_the_service() {
    let api = Api::saying("{}");
    let wrap = Wrap::of(HOST, &api).with(&["--error", "503", "--first", "2"]);
    let ended = wrap.run(&["sh", "-c", &calls(4)]).exits(0);
    assert_eq!(ended.out, "503 503 200 200 ");
    assert_eq!(api.asked().len(), 2);
    ended.says("owner ").says("error-1").says("2 injections");
}

#[test]
fn every_third_call_and_a_share_of_calls() {
    let api = Api::saying("{}");
    let each = Wrap::of(HOST, &api).with(&["--error", "429", "--each", "3"]).run(&["sh", "-c", &calls(6)]);
    assert_eq!(each.exits(0).out, "200 200 429 200 200 429 ");
    let share = |seed| {
        let options = ["--error", "500", "--percentage", "50%", "--seed", seed];
        Wrap::of(HOST, &api).with(&options).run(&["sh", "-c", &calls(12)]).exits(0).out
    };
    let first = share("7");
    assert!(first.contains("500") && first.contains("200"), "{first}");
    assert_eq!(first, share("7"), "the same seed decides the same");
}

#[test]
fn delays_are_felt_and_told() {
    let api = Api::saying("{}");
    let wrap = Wrap::of(HOST, &api).with(&["--quantiles", "p50=300ms,p99=300ms"]);
    let ended = wrap.run(&["curl", "-s", "-o", "/dev/null", "-w", "%{time_total}", URL]).exits(0);
    let took: f64 = ended.out.parse().unwrap();
    assert!(took >= 0.3, "{took}");
}

#[test]
fn a_shipped_scenario_acts_by_its_name_and_parameter() {
    let api = Api::saying("{}");
    let wrap = Wrap::of(HOST, &api).with(&["--with", "stripe/rate-limit", "--set", "rate=100%"]);
    let ended = wrap.run(&["curl", "-s", "-D", "-", URL]).exits(0);
    assert!(ended.out.contains("stripe-rate-limited-reason: global-rate"), "{ended:?}");
    assert!(ended.out.contains(r#""code":"rate_limit""#) && api.asked().is_empty(), "{ended:?}");
}

#[test]
fn a_file_s_hosts_are_opened() {
    let api = Api::saying("{}");
    let wrap = Wrap::of("api.example.com", &api);
    let text = format!(
        "name = 'mine'\n{}max_duration = '5m'\n[[fault]]\nkind = 'error'\nproxy = 'host:api.example.com'\nhttp_status = 418\n",
        crate::support::GOVERNED
    );
    let file = wrap.room.file("mine.toml", &text);
    let wrap = wrap.with(&["--with", &file]);
    let ended = wrap.run(&["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "https://api.example.com/"]).exits(0);
    assert_eq!(ended.out, "418");
}

#[test]
fn mistakes_on_the_command_line_are_told_before_anything_runs() {
    let told = |options: &[&str], words: &str| {
        Wrap::new().with(options).run(&["touch", "/nonexistent/x"]).exits(2).says(words);
    };
    told(&["--first", "2"], "there is none");
    told(&["--set", "rate=1%"], "--with says which");
    told(&["--with", "no-such-scenario"], "squall scenarios");
    told(&["--error", "503", "--percentage", "200%"], "percentage");
    told(&["--fault", "no-such-kind"], "no-such-kind");
    told(&["--expect", "speed<3"], "expected one of");
}

#[test]
fn ctrl_c_lifts_the_faults_and_the_program_lives() {
    let api = Api::saying("{}");
    let script =
        format!("once() {{ curl -s -o /dev/null -w '%{{http_code}}\\n' {URL}; }}; once; read line; once; exit 5");
    let wrap = Wrap::of(HOST, &api).with(&["--error", "503"]);
    let go = wrap.room.path("go");
    rustix::fs::mknodat(rustix::fs::CWD, &go, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let mut program =
        wrap.start(&["sh", "-c", &format!("exec < {}; {script}", go.display()).replace("exec <", "exec 0<>")]);
    program.wait_for("503");
    program.signal(Signal::INT);
    program.wait_for_words("stopped injecting");
    std::fs::write(&go, "go\n").unwrap();
    program.wait_for("200");
    assert_eq!(program.code_within(std::time::Duration::from_secs(60)), 5);
}

#[test]
fn live_keys_go_nowhere_unless_that_is_meant() {
    let api = Api::saying("{}");
    let ended = Wrap::of(HOST, &api).set("STRIPE_KEY", "sk_live_abcdefgh").run(&["true"]).exits(2);
    assert!(ended.err.contains("STRIPE_KEY") && !ended.err.contains("abcdefgh"), "{ended:?}");
    // one that only the program knows
    let script = format!("curl -s -w '%{{http_code}}' -u $(echo c2tfbGl2ZV9hYmNkZWZnaDo= | base64 -d) {URL}");
    let ended = Wrap::of(HOST, &api).run(&["sh", "-c", &script]).exits(0);
    assert!(ended.out.contains("403") && ended.out.contains("live key"), "{ended:?}");
    assert!(api.asked().is_empty());
    let ended = Wrap::of(HOST, &api).with(&["--allow-live"]).run(&["sh", "-c", &script]).exits(0);
    assert!(ended.out.contains("200") && api.asked().len() == 1, "{ended:?}");
}
