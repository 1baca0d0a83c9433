//! Faults from the command line and from scenarios, on real clients.

use rustix::process::Signal;

use super::wrapped::{Wrap, saying};

const HOST: &str = "api.stripe.com";
const URL: &str = "https://api.stripe.com/v1/charges";

fn calls(n: usize) -> String {
    format!("for n in $(seq {n}); do curl -s -o /dev/null -w '%{{http_code}} ' {URL}?n=$n; done")
}

#[test]
fn the_first_two_calls_are_errors_and_never_reach_the_service() {
    let api = saying("{}");
    let wrap = Wrap::of(HOST, &api).with(&["--error", "503", "--first", "2"]);
    let ended = wrap.run(&["sh", "-c", &calls(4)]).exits(0);
    assert_eq!(ended.out, "503 503 200 200 ");
    assert_eq!(api.news().len(), 2);
    ended.says("owner ").says("error-1").says("2 injections");
}

#[test]
fn every_third_call_and_a_share_of_calls() {
    let api = saying("{}");
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
    let api = saying("{}");
    let wrap = Wrap::of(HOST, &api).with(&["--quantiles", "p50=300ms,p99=300ms"]);
    let ended = wrap.run(&["curl", "-s", "-o", "/dev/null", "-w", "%{time_total}", URL]).exits(0);
    let took: f64 = ended.out.parse().unwrap();
    assert!(took >= 0.3, "{took}");
}

#[test]
fn a_shipped_scenario_acts_by_its_name_and_parameter() {
    let api = saying("{}");
    let wrap = Wrap::of(HOST, &api).with(&["--with", "stripe/rate-limit", "--set", "rate=100%"]);
    let ended = wrap.run(&["curl", "-s", "-D", "-", URL]).exits(0);
    assert!(ended.out.contains("stripe-rate-limited-reason: global-rate"), "{ended:?}");
    assert!(ended.out.contains(r#""code":"rate_limit""#) && api.news().is_empty(), "{ended:?}");
}

#[test]
fn a_file_s_hosts_are_opened() {
    let api = saying("{}");
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
    let api = saying("{}");
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
    let api = saying("{}");
    let ended = Wrap::of(HOST, &api).set("STRIPE_KEY", "sk_live_abcdefgh").run(&["true"]).exits(2);
    assert!(ended.err.contains("STRIPE_KEY") && !ended.err.contains("abcdefgh"), "{ended:?}");
    // one that only the program knows
    let script = format!("curl -s -w '%{{http_code}}' -u $(echo c2tfbGl2ZV9hYmNkZWZnaDo= | base64 -d) {URL}");
    let ended = Wrap::of(HOST, &api).run(&["sh", "-c", &script]).exits(0);
    assert!(ended.out.contains("403") && ended.out.contains("live key"), "{ended:?}");
    assert!(api.news().is_empty());
    let ended = Wrap::of(HOST, &api).with(&["--allow-live"]).run(&["sh", "-c", &script]).exits(0);
    assert!(ended.out.contains("200") && api.news().len() == 1, "{ended:?}");
}

#[test]
fn a_parameter_may_name_the_host() {
    let api = saying("{}");
    let host = "bucket.s3.eu-west-1.amazonaws.com";
    let set = format!("host={host}");
    let wrap = Wrap::of(host, &api).with(&["--with", "aws/s3-slow-down", "--set", "rate=100%", "--set", &set]);
    let ended = wrap.run(&["curl", "-s", "-w", "%{http_code}", &format!("https://{host}/key")]).exits(0);
    assert!(ended.out.contains("<Code>SlowDown</Code>") && ended.out.ends_with("503"), "{ended:?}");
    // by its default it is opened without being named
    let wrap = Wrap::of("s3.us-east-1.amazonaws.com", &api).with(&["--with", "aws/s3-slow-down", "--set", "rate=100%"]);
    let call = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "https://s3.us-east-1.amazonaws.com/b/k"];
    assert_eq!(wrap.run(&call).exits(0).out, "503");
}

#[test]
fn every_shipped_scenario_about_a_host_can_be_wrapped_around_a_program() {
    let api = saying("{}");
    let wrap = Wrap::of(HOST, &api);
    let scenarios = squall::library::all().filter(|it| !squall::wrap::hosts::named(it.text).is_empty());
    let mut tried = 0;
    for scenario in scenarios {
        let mut command = wrap.command(&["true"]);
        let words: Vec<_> = command.get_args().map(|word| word.to_owned()).collect();
        command = wrap.room.command(&["wrap", "--with", scenario.path]);
        let ended = crate::support::Ended::of(&command.args(&words[1..]).output().unwrap());
        assert_eq!(ended.code, Some(0), "{}: {ended:#?}", scenario.path);
        tried += 1;
    }
    assert!(tried >= 30, "{tried}");
}
