//! Every kind of mistake is told, at its place.

use super::*;

/// A fault table, and what must be told about it.
const FAULTS: &[(&str, &str)] = &[
    ("kind = \"latenzy\"\nproxy = \"redis\"", "there is no fault of the kind `latenzy`; did you mean `latency`?"),
    ("kind = \"latency\"\nproxy = \"redis\"\ndelai = \"5ms\"", "unknown field `delai`; did you mean `delay`?"),
    ("kind = \"latency\"\nproxy = \"redis\"\ndelay = \"5ms\"\njiter = \"1ms\"", "did you mean `jitter`?"),
    ("kind = \"latency\"\nproxy = \"redis\"\ndelay = \"5 ms\"\nat = \"-5s\"", "negative"),
    ("kind = \"latency\"\nproxy = \"redis\"\ndelay = \"99999999h\"", "too long"),
    ("kind = \"latency\"\nproxy = \"redis\"\ndelay = \"nan\"", "is not a duration"),
    ("kind = \"latency\"\nproxy = \"redis\"\ndelay = 5", "needs a unit"),
    ("kind = \"latency\"\ndelay = \"5ms\"", "`proxy` is missing"),
    ("proxy = \"redis\"\ndelay = \"5ms\"", "`kind` is missing"),
    ("kind = \"reset\"\nproxy = \"redis\"\npercentage = 101", "101 is not a percentage"),
    ("kind = \"reset\"\nproxy = \"redis\"\npercentage = nan", "NaN is not a number"),
    ("kind = \"reset\"\nproxy = \"redis\"\npercentage = inf", "inf is not a number"),
    ("kind = \"reset\"\nproxy = \"redis\"\npercentage = 0", "can do nothing"),
    (
        "kind = \"reset\"\nproxy = \"redis\"\npercentage = { steps = [1, 200], hold = \"1s\" }",
        "200 is not a percentage",
    ),
    ("kind = \"reset\"\nproxy = \"redi\"", "there is no proxy `redi`; did you mean `redis`?"),
    ("kind = \"reset\"\nproxy = \"db-*\"", "no proxy matches `db-*`; expected `redis`"),
    ("kind = \"reset\"\nproxy = \"Redis!\"", "is not the name of a proxy"),
    ("kind = \"reset\"\nproxy = \"redis\"\nname = \"A b\"", "is out of range"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfor = \"0s\"", "can do nothing"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfor = \"2s\"\nevery = \"2s\"", "`every` must be longer than `for`"),
    ("kind = \"reset\"\nproxy = \"redis\"\nevery = \"2s\"", "`every` needs `for`"),
    ("kind = \"reset\"\nproxy = \"redis\"\ntimes = 2", "`times` needs `every`"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfor = \"1s\"\nevery = \"2s\"\ntimes = 0", "`times` counts from 1"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfor = \"1s\"\nevery = \"2d\"\ntimes = 9999999999999", "ten years"),
    ("kind = \"reset\"\nproxy = \"redis\"\nat = \"3000d\"\nfor = \"3000d\"", "ten years"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfirst = 0", "`first` counts from 1"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfirst = -1", "the number -1 is out of range"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfirst = 1\neach = 2", "`each` and `first` exclude each other"),
    ("kind = \"down\"\nproxy = \"redis\"\npercentage = 50", "`percentage` says nothing here: `down` is for everybody"),
    ("kind = \"down\"\nproxy = \"redis\"\nfirst = 3", "`first` says nothing here"),
    ("kind = \"down\"\nproxy = \"redis\"\nkey = \"client\"", "`key` says nothing here"),
    (
        "kind = \"connect\"\nproxy = \"redis\"\nhow = \"hang\"\ndirection = \"upstream\"",
        "`direction` says nothing here: `connect` is for whole connections",
    ),
    ("kind = \"connect\"\nproxy = \"redis\"\nhow = \"hang\"\ndelay = \"1s\"", "`delay` goes with how = \"delay\" only"),
    ("kind = \"connect\"\nproxy = \"redis\"\nhow = \"delay\"", "says no delay"),
    ("kind = \"connection_limit\"\nproxy = \"redis\"\nmax = 0", "a limit of 0 lets nobody in"),
    ("kind = \"pad\"\nproxy = \"redis\"\nmin = \"1ms\"\ndelay = \"1ms\"", "unknown field `delay`"),
    ("kind = \"half_open\"\nproxy = \"redis\"\nafter = \"1s\"", "unknown field `after`"),
    ("kind = \"reset\"\nproxy = \"redis\"\nkey = \"path:0\"", "is out of range"),
    ("kind = \"reset\"\nproxy = \"redis\"\nkey = \"header:x\"", "the key `header:x` needs HTTP"),
    ("kind = \"reset\"\nproxy = \"redis\"\nmatch = { path = \"/a\" }", "`match` needs HTTP"),
    ("kind = \"reset\"\nproxy = \"redis\"\nphase = \"mid_bodi\"", "did you mean `mid_body`?"),
    ("kind = \"reset\"\nproxy = \"redis\"\ndirection = \"downstraem\"", "did you mean `downstream`?"),
    ("kind = \"reset\"\nproxy = \"redis\"\nfor = \"58s\"", "the plan takes 63s, longer than `max_duration`"),
    ("kind = \"reset\"\nproxy = \"redis\"\nat = \"60s\"", "never act"),
    (
        "kind = \"dns\"\nproxy = \"redis\"\nanswer = \"empty\"\ndirection = \"both\"",
        "`dns` acts downstream only: answers come downstream",
    ),
    ("kind = \"dns\"\nproxy = \"redis\"\nanswer = \"nxdomian\"", "did you mean `nxdomain`?"),
    ("kind = \"latency\"\nproxy = \"redis\"", "a.toml:7:1"),
    ("kind = \"partition\"\nproxy = \"redis\"\nconnections = \"nwe\"", "did you mean `new`?"),
    ("kind = \"partition\"\nproxy = \"redis\"\ngroups = [[\"redis\"]]", "at least two groups"),
    ("kind = \"partition\"\nproxy = \"redis\"\none_way = true", "`one_way` needs `groups`"),
    ("kind = \"partition\"\nproxy = \"*\"\ngroups = [[\"redis\"], [\"web\"]]", "`web` is no node: expected `redis`"),
    ("kind = \"partition\"\nproxy = \"*\"\ngroups = [[\"redis\"], [\"redis\"]]", "`redis` is in two groups"),
    ("kind = \"latency\"\nproxy = \"redis\"\njitter = \"5ms\"", "says no delay"),
];

#[test]
fn a_wrong_fault_is_told() {
    for (fault, expected) in FAULTS {
        let text = told(&around(&format!("[[fault]]\n{fault}")));
        assert!(text.contains(expected), "{fault}\n-> {text}");
        assert_eq!(text.lines().count(), 1, "one mistake, one message: {fault}\n-> {text}");
    }
}

/// Other tables beside a good fault.
const OTHERS: &[(&str, &str)] = &[
    ("[[proxy]]\nname = \"redis\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"", "there is a proxy `redis` already"),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"localhost:1\"\nupstream = \"a:1\"",
        "proxy `redis` listens on 127.0.0.1:1 already",
    ),
    ("[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:9\"\nupstream = \"localhost:9\"", "would be routed to itself"),
    ("[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"proxy:b\"", "would be routed to itself"),
    (
        "[[proxy]]\nname = \"web-to-db\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\n[[fault]]\nkind = \"partition\"\n\
         proxy = \"*\"\nfor = \"1s\"\ngroups = [[\"db\"], [\"redis\"]]",
        "no proxy leads from one group to another, so nothing would be cut; a proxy says with `from`",
    ),
    (
        "[[proxy]]\nname = \"web-to-db\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\n[[fault]]\nkind = \"partition\"\n\
         proxy = \"*\"\nfor = \"1s\"\ngroups = [[\"web\"], [\"db\"]]\ndirection = \"upstream\"",
        "`direction` speaks of one proxy, and between groups proxies lead both ways",
    ),
    ("[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nfrom = \"N 1\"", "is out of range"),
    ("[[proxy]]\nname = \"b\"\nlisten = \"example.com:1\"\nupstream = \"a:1\"", "not on a host name"),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nprotocol = \"htp\"",
        "did you mean `http`?",
    ),
    ("[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"service:x\"", "there is no service `x`"),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nproxy_protocol = {}",
        "neither whom to take headers from",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nproxy_protocol = { sent = \"v1\" }",
        "did you mean `send`?",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nproxy_protocol = { send = \"v3\" }",
        "did you mean `v1`?",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\n\
         proxy_protocol = { accept_from = [\"10.0.0.0/8\", \"10.0.0.0/33\"] }",
        "did you mean `10.0.0.0/32`",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\n\
         proxy_protocol = { accept_from = [\"localhost\"] }",
        "did you mean `127.0.0.1`?",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nproxy_protocol = { accept_from = [] }",
        "from nobody",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\n\
         proxy_protocol = { accept_from = [\"fd00::/8\"] }",
        "no client of 127.0.0.1:0 comes from an IPv6 network",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"unix:/b\"\nupstream = \"a:1\"\n\
         proxy_protocol = { accept_from = [\"::1\"] }",
        "in no network",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nhttp = { upstream = \"2\" }",
        "`http` is for proxies with `protocol = \"http\"`",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nprotocol = \"http\"\nhttp = { upstream = \"3\" }",
        "did you mean `2`?",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"original\"",
        "`original` is the upstream of transparent proxies",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\ntransparent = \"redirect\"",
        "write `original`",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"original\"\ntransparent = \"redirekt\"",
        "did you mean `redirect`?",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"unix:/b\"\nupstream = \"original\"\ntransparent = \"tproxy\"",
        "nothing is redirected to a unix socket",
    ),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"original\"\ntransparent = \"tproxy\"\n\
         [[proxy]]\nname = \"c\"\nlisten = \"127.0.0.1:0\"\nupstream = \"proxy:b\"",
        "proxy `b` is transparent",
    ),
    ("[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nmark = 0", "a mark lies between 1"),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"unix:/a\"\nsource = \"client\"",
        "not for unix sockets",
    ),
    ("[[service]]\nname = \"b\"\nkind = \"echo\"\nanswers = { status = 200 }", "`answers` is for http services"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\nanswers = { status = 200, sise = 1 }", "did you mean `size`?"),
    ("[[service]]\nname = \"b\"\nkind = \"echo\"\ncapacity = 3", "`capacity` is for http services"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\ncapacity = 0", "between 1 and 16384 requests"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\nqueue = 3", "without a `capacity`"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\ncapacity = 1\nqueue = 99999", "at most 16384 requests wait"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\ntries = 3", "for a service that `calls` others"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\ncalls = []", "between 1 and 16 to ask"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\ncalls = [\"proxy:redi\"]", "did you mean `redis`?"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\ncalls = [\"a.b:80\"]", "a service calls `service:NAME` or"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\ncalls = [\"service:b\"]\ntries = 0", "between 1 and 100 attempts"),
    ("[[service]]\nname = \"b\"\nkind = \"http\"\nanswers = { latency = { jitter = \"1ms\" } }", "delay"),
    (
        "[[workload]]\nname = \"w\"\nkind = \"tcp\"\ntarget = \"proxy:redis\"\nrate = 1\nsend = \"x\"",
        "a tcp workload needs `expect`",
    ),
    ("[[workload]]\nname = \"w\"\nkind = \"http\"\ntarget = \"proxy:redis\"\nrate = -1", "a rate lies between"),
    ("[[guard]]\nmetric = \"error_rat\"\nabove = \"5%\"", "did you mean `error_rate`?"),
    ("[[guard]]\nmetric = \"error_rate\"\nabove = \"5%\"", "`error_rate` counts requests, and `redis` carries bytes"),
    ("[[guard]]\nmetric = \"p99\"\nabove = \"5%\"", "is not a duration"),
    ("[[guard]]\nmetric = \"p99\"", "needs `above` or `below`"),
    ("[[guard]]\nname = \"x\"", "a guard needs `metric`, `burn` or `harm`"),
    ("[[guard]]\nharm = 1\nmetric = \"p99\"", "a guard has one of"),
    ("[[guard]]\nburn = \"14x\"\nproxy = \"redis\"", "has no `slo`"),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nslo = { objective = \"90%\", window = \
         \"30d\" }\n[[guard]]\nburn = \"10x\"\nproxy = \"b\"",
        "proxy `b`: the budget of 90% burns at most 10.000000x: 10x can never fire",
    ),
    ("[[guard]]\nharm = 0", "an allowance of nothing"),
    ("[[guard]]\nharm = 3\nover = \"5s\"", "a harm allowance is for the whole run"),
    (
        "[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nslo = { objective = \"90%\", window = \
         \"30d\" }\n[[guard]]\nburn = \"2x\"\nproxy = \"b\"\nmin_events = 3",
        "at least 10 bad events",
    ),
    ("[[guard]]\nmetric = \"recovery\"\nabove = \"5s\"", "no guard can watch it"),
    ("[[expect]]\nmetric = \"waiting\"\nbelow = 3", "only a guard can watch it"),
    ("[[before]]\nmetric = \"waiting\"\nbelow = 3", "only a guard can watch it"),
    ("[[expect]]\nmetric = \"p99\"\nbelow = \"1s\"\nabove = \"2s\"", "nothing is both"),
    ("[[before]]\nfor = \"5s\"", "either a `metric` or a `probe`"),
    ("[[before]]\nmetric = \"p99\"\nprobe = \"up\"", "either a `metric` or a `probe`"),
    ("[[before]]\nmetric = \"p98\"\nbelow = \"1s\"", "did you mean"),
    ("[[before]]\nmetric = \"p99\"", "needs `below` or `above`"),
    ("[[before]]\nmetric = \"p99\"\nbelow = 5", "needs a unit"),
    ("[[before]]\nmetric = \"p99\"\nbelow = \"1s\"\nabove = \"2s\"", "nothing is both"),
    ("[[before]]\nmetric = \"p99\"\nbelow = \"1s\"\nfor = \"1ms\"", "watched for 100 ms to 10 min"),
    ("[[before]]\nmetric = \"p99\"\nbelow = \"1s\"\nproxy = \"redi\"", "there is no proxy `redi`; did you mean"),
    ("[[before]]\nmetric = \"p99\"\nbelow = \"1s\"\nduring = \"all\"", "unknown field `during`"),
    ("[[before]]\nmetric = \"error_rate\"\nbelow = \"1%\"", "`error_rate` counts requests"),
    ("[[before]]\nmetric = \"recovery\"\nbelow = \"1s\"", "nothing has recovered yet"),
    ("[[before]]\nprobe = \"upp\"\n[[probe]]\nname = \"up\"\ntcp = { address = \"a:1\" }", "there is no probe \"upp\""),
    (
        "[[before]]\nprobe = \"up\"\nfor = \"5s\"\n[[probe]]\nname = \"up\"\ntcp = { address = \"a:1\" }",
        "`for` goes with `metric`",
    ),
    ("[[step]]\nat = \"1s\"\nmanual = \"go\"", "`name` is missing"),
    ("[[step]]\nname = \"a\"\nmanual = \"go\"", "`at` is missing"),
    ("[[step]]\nname = \"a\"\nat = \"1s\"", "`manual` is missing"),
    ("[[step]]\nname = \"a\"\nat = \"1s\"\nmanual = \" \"\nwithin = \"1s\"", "what the person is to do"),
    ("[[step]]\nname = \"a\"\nat = 1\nmanual = \"go\"", "needs a unit"),
    ("[[step]]\nname = \"a\"\nat = \"1s\"\nmanual = \"go\"\nwithin = \"0s\"", "longer than 0"),
    ("[[step]]\nname = \"a\"\nat = \"1s\"\nmanual = \"go\"\nwithn = \"1s\"", "did you mean `within`?"),
    (
        "[[step]]\nname = \"a\"\nat = \"6s\"\nmanual = \"go\"\nwithin = \"1s\"",
        "never be asked for: the run ends after 6s",
    ),
    (
        "[[step]]\nname = \"a\"\nat = \"1s\"\nmanual = \"go\"\nwithin = \"1s\"\n[[step]]\nname = \"a\"\nat = \"2s\"\nmanual = \"go\"\nwithin = \"1s\"",
        "there is a step \"a\" already",
    ),
    (
        "[[step]]\nname = \"a\"\nat = \"1s\"\nmanual = \"go\"\nwithin = \"2m\"",
        "with steps that nobody marks it would take 126s",
    ),
    ("[forecast]\np99 = [\"2s\", \"1s\"]", "a low and a high figure"),
    ("[forecast]\np98 = [\"2s\", \"1s\"]", "unknown field `p98`"),
    ("[runbook]\nobserv = \"x\"", "did you mean `observe`?"),
    ("[[faults]]", "unknown field `faults`; did you mean `fault`?"),
    ("[[fault]]\nkind = \"reset\"\nproxy = \"redis\"", "two faults of the kind `reset` without a name"),
    (
        "[[fault]]\nname = \"reset\"\nkind = \"cut\"\nproxy = \"redis\"\nafter = \"1B\"",
        "there is a fault `reset` already",
    ),
];

#[test]
fn other_wrong_tables_are_told() {
    for (table, expected) in OTHERS {
        let text = told(&around(&format!("[[fault]]\nkind = \"reset\"\nproxy = \"redis\"\nfor = \"1s\"\n{table}")));
        assert!(text.contains(expected), "{table}\n-> {text}");
        assert_eq!(text.lines().count(), 1, "one mistake, one message: {table}\n-> {text}");
    }
}

#[test]
fn several_mistakes_are_told_at_once_in_order() {
    let text = told(&around(
        "[[fault]]\nkind = \"latency\"\nproxy = \"redis\"\ndelay = \"5\"\njitter = \"-1s\"\nnme = \"x\"\nfor = \"x\"\n[[fault]]\nkind = \
         \"cutt\"\nproxy = \"redi\"",
    ));
    let lines: Vec<_> = text.lines().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    let places = ["a.toml:10:9", "a.toml:11:10", "a.toml:12:1", "a.toml:13:7", "a.toml:15:8", "a.toml:16:9"];
    for place in places {
        assert!(lines.iter().any(|line| line == place), "{place}\n{text}");
    }
}

#[test]
fn a_message_looks_like_this() {
    let outcome = check_all(
        &[source(&around(
            "[[fault]]\nkind = \"latency\"\nproxy = \"redis\"\ndelay = \"5ms\"\nfor = \"5s\"\ndirection = \"up\"",
        ))],
        &Options::default(),
    );
    let expected = "\
error: `up` is not one of the words that may stand here
  --> a.toml:12:13
   |
12 | direction = \"up\"
   |             ^^^^ expected one of `upstream`, `downstream`, `both`
";
    assert_eq!(render(&outcome.diagnostics, false), expected);
    assert_eq!(outcome.diagnostics[0].field.as_deref(), Some("fault[latency].direction"));
}

#[test]
fn json_is_told_by_field() {
    let json = serde_json::json!({
        "name": "a", "max_duration": "1m",
        "fault": [{ "kind": "latency", "name": "late", "proxy": "redis", "delay": -5, "jiter": "1ms" }]
    });
    let messages = scenario_json(&json, &Options::default()).unwrap_err();
    let fields: Vec<_> = messages.iter().filter_map(|message| message.field.as_deref()).collect();
    assert!(fields.contains(&"fault[late].delay") && fields.contains(&"fault[late].jiter"), "{fields:?}");
    assert!(scenario_json(&serde_json::json!([]), &Options::default()).is_err());
}

#[test]
fn unknown_proxies_are_notes_until_somebody_defines_proxies() {
    let lone = source("name = \"a\"\n[[fault]]\nkind = \"reset\"\nproxy = \"payments\"\nfor = \"1s\"\n");
    let (_, notes) = scenario(&lone, &Options::default()).unwrap();
    assert_eq!(notes[0].message, "proxy `payments` is defined in none of the files: resolved at start");
    let outcome = check_all(&[lone.clone(), golden("squall.toml")], &Options::default());
    assert_eq!(render(&outcome.diagnostics, false), "");
    let outcome = check_all(&[lone.clone(), golden("redis-slow.toml")], &Options::default());
    assert!(outcome.has_errors());
    let started = Options { proxies: Some(Vec::new()), ..Options::default() };
    assert!(scenario(&lone, &started).is_err());
}

#[test]
fn limits_of_the_host_hold() {
    let fault = |percentage, more| {
        let body =
            format!("[[fault]]\nkind = \"reset\"\nproxy = \"redis\"\nfor = \"1s\"\npercentage = {percentage}\n{more}");
        format!("max_percentage = 20\n{}", around(&body))
    };
    assert!(told(&fault("25", "")).contains("`max_percentage` is 20 %"));
    assert_eq!(told(&fault("25", "first = 3")), "");
    assert_eq!(told(&fault("20", "")), "");
    let safety = Safety { max_percentage: Some(10.0), ..Safety::default() };
    let options = Options { safety: Some(safety), ..Options::default() };
    assert!(scenario(&source(&fault("15", "")), &options).is_err());
}

#[test]
fn what_is_never_faulted_is_held_against_rules() {
    let never = |paths: &[&str]| Safety {
        never_fault: paths.iter().map(|path| (*path).to_owned()).collect(),
        ..Safety::default()
    };
    let fault = |path: &str| {
        let proxy = "[[proxy]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"\nprotocol = \"http\"";
        let fault = "[[fault]]\nkind = \"latency\"\nproxy = \"web\"\ndelay = \"1s\"\nfor = \"1s\"";
        source(&format!("name = \"e\"\n{proxy}\n{fault}\nmatch = {{ path = \"{path}\" }}"))
    };
    let options = Options { safety: Some(never(&["/healthz", "/admin/**"])), ..Options::default() };
    assert!(scenario(&fault("/v1/**"), &options).is_ok());
    for path in ["/healthz", "/admin/users/*"] {
        let messages = scenario(&fault(path), &options).unwrap_err();
        assert!(messages.iter().any(|one| one.message.contains("`never_fault` of the configuration")), "{path}");
    }
    for (path, why) in [("healthz", "begins with `/`"), ("/a/../b", "protects nothing"), ("/a?b", "without its query")]
    {
        let text = told(&format!("[safety]\nnever_fault = [{path:?}]"));
        assert!(text.contains(why), "{path}: {text}");
    }
}

#[test]
fn guards_that_see_only_what_is_faulted_are_warned_of() {
    let warned = |guards: &str| {
        let front = "[[proxy]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nupstream = \"a:1\"";
        let fault = "[[fault]]\nkind = \"reset\"\nproxy = \"redis\"\nfor = \"1s\"";
        let text = told(&around(&format!("{front}\n{fault}\n{guards}")));
        assert!(text.lines().count() <= 1, "{text}");
        text.contains("every guard watches only a proxy that is faulted")
    };
    let guard = |more: &str| format!("[[guard]]\nname = '{more}.'\nmetric = \"p99\"\nabove = \"1s\"\n{more}\n");
    assert!(warned(&guard("")));
    assert!(warned(&(guard("proxy = \"redis\"") + &guard(""))));
    assert!(!warned(&(guard("proxy = \"web\"") + &guard(""))));
    assert!(!warned(""));
    let load = "[[workload]]\nname = \"w\"\ntarget = \"proxy:redis\"\nkind = \"tcp\"\nrate = 1\nsend = \"a\"\nexpect = \"a\"\n";
    assert!(!warned(&(load.to_owned() + &guard(""))));
}

#[test]
fn rings_of_proxies_are_told() {
    let text = told(
        "[[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\nupstream = \"localhost:2\"\n[[proxy]]\nname = \"b\"\nlisten = \
         \"0.0.0.0:2\"\nupstream = \"proxy:a\"\n",
    );
    assert!(text.contains("proxy `a` would be routed to itself: a → b → a"), "{text}");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn broken_and_oversized_texts_are_refused_soon() {
    let many = format!("name = \"a\"\n{}", "[[fault]]\n".repeat(100_000));
    assert!(told(&many).contains("100000 times `fault`: at most 10000 are taken"));
    for text in ["[".repeat(1 << 20), "a.".repeat(1 << 19), format!("a = {}", "{a=".repeat(1 << 18))] {
        assert!(told(&text).contains("nested deeper than"), "{}", told(&text));
    }
    assert!(told("name = \"a\" name = \"b\"").contains("this is not TOML"));
    assert!(told("name = \"a\"\nname = \"b\"").contains("duplicate key"));
    assert!(told("").contains("`name` is missing"));
    let unknown: String = (0..50_000).map(|n| format!("k{n} = 1\n")).collect();
    assert!(told(&unknown).contains("more messages are left out"));
}
