//! The command line: words, messages, exit codes. Those of drills are in `drill`, those of `serve` in `serve`.

use crate::support::Room;

const COMMANDS: [&str; 27] = [
    "abort",
    "approve",
    "check",
    "completions",
    "drill",
    "explain",
    "faults",
    "healthcheck",
    "import",
    "inject",
    "list",
    "man",
    "pause",
    "plan",
    "proxy",
    "record",
    "reject",
    "reload",
    "report",
    "resume",
    "scenarios",
    "schema",
    "serve",
    "start",
    "status",
    "submit",
    "token",
];

#[test]
fn every_command_has_help() {
    let room = Room::new();
    let all = room.squall(&["--help"]).exits(0);
    for command in COMMANDS {
        assert!(all.out.contains(&format!("\n  {command} ")), "{command} is not in the help");
        room.squall(&[command, "--help"]).exits(0).says("Usage: squall");
    }
    all.says("Exit codes: 0 upheld or done");
}

#[test]
fn a_wrong_word_is_bad_input_and_the_right_one_is_named() {
    let room = Room::new();
    room.squall(&["servee"]).exits(2).says("serve");
    room.squall(&["faults", "latenzy"]).exits(2).says("latency");
    room.squall(&["inject", "redis", "latency"]).exits(2).says("--for");
    room.squall(&["start", "no-such-scenario"]).exits(2).says("squall scenarios");
}

#[test]
fn without_a_running_squall_clients_say_so_with_4() {
    let room = Room::new();
    let clients: [&[&str]; 8] = [
        &["status"],
        &["list"],
        &["abort"],
        &["pause", "x-1"],
        &["reload"],
        &["healthcheck"],
        &["proxy", "list"],
        &["inject", "redis", "latency", "delay=1ms", "--for", "1s"],
    ];
    for command in clients {
        room.squall(command).exits(4).says("no running squall found");
    }
    room.squall(&["status", "--control", "http://127.0.0.1:1"]).exits(4).says("127.0.0.1:1");
    room.squall(&["status", "--control", "nonsense"]).exits(2).says("is not a control port");
}

#[test]
fn check_explains_several_mistakes_with_their_places() {
    let room = Room::new();
    let text = "name = \"a\"\n\n[[fault]]\nkind = \"latenzy\"\nproxy = \"redis\"\n\n[[guard]]\nmetric = \"eror_rate\"\nabove = \"5%\"\n";
    let file = room.file("wrong.toml", text);
    let ended = room.squall(&["check", &file]).exits(2);
    ended.says("wrong.toml:4:").says("latency").says("wrong.toml:8:").says("error_rate");
}

#[test]
fn the_kinds_are_told_with_fields_and_an_example() {
    let room = Room::new();
    let list = room.squall(&["faults"]).exits(0);
    for kind in ["latency", "bandwidth", "cut", "reset", "limit_data", "blackhole", "slicer", "partition", "corrupt"] {
        assert!(list.out.lines().any(|line| line.starts_with(kind)), "{kind} in {}", list.out);
        let one = room.squall(&["faults", kind]).exits(0);
        assert!(one.out.contains("[[fault]]") || one.out.contains("kind"), "{}", one.out);
    }
}

#[test]
fn presets_are_told_with_figures_and_source_and_planned_as_their_parts() {
    let room = Room::new();
    let list = room.squall(&["faults"]).exits(0);
    for preset in ["slow-3g", "geo-satellite", "aws:within-region", "aws:REGION/REGION"] {
        assert!(list.out.lines().any(|line| line.starts_with(preset)), "{preset} in {}", list.out);
    }
    let one = room.squall(&["faults", "slow-3g"]).exits(0);
    for word in ["400ms round trip", "source: Chrome", "latency-up", "delay = \"200ms\"", "rate = \"500kbit\""] {
        assert!(one.out.contains(word), "{word} in {}", one.out);
    }
    room.squall(&["faults", "aws:eu-west-1/us-east-1"]).exits(0).says("70ms round trip");
    room.squall(&["faults", "slow-4gg"]).exits(2).says("slow-4g");
    room.squall(&["inject", "api", "preset=slow-3gg", "--for", "1s"]).exits(2).says("preset=slow-3g");
    room.squall(&["inject", "api", "preset=slow-3g", "--for", "1s"]).exits(4).says("no running squall found");
    let file = room.path("slow.toml").to_str().unwrap().to_owned();
    room.squall(&["inject", "api", "preset=slow-3g", "percentage=50", "--for", "60s", "--save", &file]).exits(0);
    let plan = room.squall(&["plan", &file]).exits(0).out;
    for part in
        ["slow-3g-latency-up: latency on api (upstream)", "slow-3g-bandwidth-down: bandwidth on api (downstream)"]
    {
        assert!(plan.contains(part), "{part} in {plan}");
    }
}

#[test]
fn the_library_is_in_the_binary() {
    let room = Room::new();
    room.squall(&["scenarios", "stripe"]).exits(0).says("stripe/rate-limit");
    room.squall(&["scenarios"]).exits(0).says("first-drill");
    let told = room.squall(&["scenarios", "kubernetes/too-many-requests", "--set", "retry_after=7"]).exits(0).out;
    let answer = "\n    HTTP/1.1 429 Too Many Requests\n    content-type: text/plain; charset=utf-8\n    retry-after: 7\n    \
                  x-content-type-options: nosniff\n    x-squall-fault: kubernetes-too-many-requests/full\n    content-length: 43\n\n    \
                  Too many requests, please try again later.\n";
    assert!(told.contains(answer) && told.contains("teaches") && told.contains("expected"), "{told}");
    room.squall(&["scenarios", "no-such", "--set", "a=b"]).exits(2).says("brings no scenario");
    room.squall(&["scenarios", "--show", "stripe-rate-limit"]).exits(0).says("too-many-requests");
}

#[test]
fn plan_tells_the_same_decisions_every_time() {
    let room = Room::new();
    let plan = || room.squall(&["plan", "scenarios/first-drill.toml"]).exits(0).out;
    assert_eq!(plan(), plan());
    assert!(plan().contains("seed 7"), "{}", plan());
    let json = room.squall(&["plan", "scenarios/first-drill.toml", "--json"]).exits(0).out;
    assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["faults"].is_array());
}

#[test]
fn parameters_are_set_on_the_command_line() {
    let room = Room::new();
    let file = "scenarios/stripe/rate-limit.toml";
    let digest = |args: &[&str]| room.squall(&[&["check", file], args].concat()).exits(0).out;
    assert_ne!(digest(&[]), digest(&["--set", "rate=25%"]));
    room.squall(&["check", file, "--set", "rat=25%"]).exits(2).says("rate");
}

#[test]
fn completions_and_manual_know_every_command() {
    let room = Room::new();
    let manual = room.squall(&["man"]).exits(0).out;
    let completions = room.squall(&["completions", "bash"]).exits(0).out;
    for command in COMMANDS {
        assert!(manual.contains(command) && completions.contains(command), "{command}");
    }
    room.squall(&["man", "--dir", room.path("pages").to_str().unwrap()]).exits(0);
    assert!(room.path("pages/squall-serve.1").exists());
}

#[test]
fn explain_tells_who_is_hit_and_why_not() {
    let room = Room::new();
    let scenario = "tests/golden/checkout-brownout.toml";
    let with = ["explain", scenario, "--config", "tests/golden/squall.toml", "--seed", "7"];
    let explain = |more: &[&str]| room.squall(&[&with[..], more].concat()).exits(0).out;
    let text = explain(&["--method", "POST", "--path", "/v1/%63harges", "--header", "X-Tenant: 7"]);
    for told in [
        "path /v1/charges",
        "phase     before_upstream",
        "selected  by header:x-tenant, 1 %, 5 %, 10 %, 25 %, each for 10s at least: draw ",
        "`headers.x-experiment`: there is none, and \"*\" is wanted",
        "`path`: `/v1/charges` is not \"/v1/export\"",
        "count     the first 3 of those that match",
        "by ordinal, 100 %: every one",
        "window    from 10s for 90s",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    let missed = explain(&["--path", "/v1/charges", "--header", "x-experiment: a", "--unit", "0/3"]);
    assert!(missed.contains("`method`: GET is not POST") && missed.contains("by ordinal, 5 %: draw "), "{missed}");
    let spared = explain(&["--path", "//healthz"]);
    assert!(spared.contains("`never_fault` of the configuration has this path"), "{spared}");
    let json: serde_json::Value = serde_json::from_str(&explain(&["--path", "/v1/export", "--json"])).unwrap();
    assert_eq!((&json["faults"][0]["holds"], &json["faults"][2]["holds"]), (&false.into(), &true.into()));
    room.squall(&["explain", scenario, "--path", "v1"]).exits(2).says("begins with `/`");
    room.squall(&["explain", scenario, "--path", "/", "--header", "a"]).exits(2).says("expected 'name: value'");
    room.squall(&["explain", "tests/golden/squall.toml", "--path", "/"]).exits(2).says("one scenario");
}

#[test]
fn import_writes_a_scenario_that_passes_the_check() {
    let room = Room::new();
    let service = "kind: VirtualService\nmetadata: { name: ratings }\nspec:\n  hosts: [ratings]\n  http:\n  - match: [{ uri: { prefix: /v1 } }]\n    \
                   fault:\n      delay: { fixedDelay: 2s, percentage: { value: 25 } }\n      abort: { http2Error: CANCEL }\n";
    let istio = room.file("Ratings.yaml", service);
    let ended = room.squall(&["import", "istio", &istio, "--max-duration", "3m"]).exits(0);
    let ended =
        ended.says("name = \"ratings\"").says("max_duration = \"3m\"").says("# left out: ratings.http[0].fault.abort");
    let scenario = room.file("ratings.toml", &ended.out);
    room.squall(&["check", &scenario]).exits(0).says("1 faults");
    room.squall(&["explain", &scenario, "--path", "/v1/a", "--unit", "0"]).exits(0).says("match     holds");

    let filter =
        r#"{ "abort": { "http_status": 503, "percentage": { "numerator": 5 } }, "upstream_cluster": "payments" }"#;
    let envoy = room.file("fault.json", filter);
    room.squall(&["import", "envoy", &envoy]).exits(0).says("proxy = \"payments\"").says("http_status = 503");
    room.squall(&["import", "envoy", &envoy, "--proxy", "web"]).exits(0).says("proxy = \"web\"");
    room.squall(&["import", "envoy", &istio]).exits(2).says("no fault filter");
    let lost = room.file("lost.yaml", "abort: { http_status: 503 }");
    room.squall(&["import", "envoy", &lost]).exits(2).says("at 0 %").says("nothing of it can be carried over");
    room.squall(&["import", "nginx", &envoy]).exits(2).says("envoy");
}
