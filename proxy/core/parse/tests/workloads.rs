//! `[[workload]]`: bursts, several requests, and requests in a file.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::scenario::{Arrivals, Burst, WorkloadKind, WorkloadSpec};
use crate::time::SECOND;

fn with(workload: &str) -> String {
    around(&format!(
        "[[fault]]\nkind = \"reset\"\nproxy = \"redis\"\nfor = \"1s\"\n[[workload]]\nname = \"w\"\ntarget = \"proxy:redis\"\n{workload}"
    ))
}

fn read(outcome: Outcome) -> WorkloadSpec {
    let mut outcome = outcome;
    assert!(outcome.diagnostics.is_empty(), "{:?}", outcome.diagnostics);
    outcome.scenarios.remove(0).workloads.remove(0)
}

/// What is in a workload, and what must be told about it.
const WRONG: &[(&str, &str)] = &[
    ("kind = \"http\"\nrate = 1\narrivals = \"burst\"", "did you mean `bursty`?"),
    ("kind = \"http\"\nrate = 1\narrivals = \"bursty\"", "bursty arrivals need `burst"),
    ("kind = \"http\"\nrate = 1\nburst = { rate = 5, on = \"1s\", off = \"1s\" }", "goes with `arrivals"),
    ("kind = \"http\"\nrate = 1\narrivals = \"bursty\"\nburst = { rate = 0, on = \"1s\", off = \"1s\" }", "above 0"),
    (
        "kind = \"http\"\nrate = 1\narrivals = \"bursty\"\nburst = { rate = 5, on = \"0s\", off = \"1s\" }",
        "1 ms on average",
    ),
    ("kind = \"http\"\nrate = 1\nrequests = []", "between 1 and 100 requests"),
    ("kind = \"http\"\nrate = 1\nrequests = [1]", "a request is a table"),
    ("kind = \"http\"\nrate = 1\nrequests = 5", "a list of requests, or a file"),
    ("kind = \"http\"\nrate = 1\nrequests = [{ pth = \"/\" }]", "did you mean `path`?"),
    ("kind = \"http\"\nrate = 1\nrequests = [{ weight = 0 }]", "a weight lies between"),
    ("kind = \"http\"\nrate = 1\nrequests = [{ path = \"x\" }]", "a path begins with `/`"),
    ("kind = \"http\"\nrate = 1\nrequests = [{ status = 5 }]", "a status lies between"),
    ("kind = \"http\"\nrate = 1\nrequests = [{ send = \"x\" }]", "`send` is for tcp workloads"),
    ("kind = \"http\"\nrate = 1\nrequests = [{}, {}]", "there is a request \"GET /\" already"),
    ("kind = \"http\"\nrate = 1\npath = \"/a\"\nrequests = [{}]", "`path` goes into each of the `requests`"),
    ("kind = \"tcp\"\nrate = 1\nrequests = [{ send = \"x\" }]", "a tcp workload needs `expect`"),
    ("kind = \"tcp\"\nrate = 1\nrequests = \"no-such.toml\"", "no-such.toml: can not read the file"),
    ("kind = \"tcp\"\nrate = 1\nrequests = \"/etc/passwd\"", "is not a file beside the scenario"),
    ("kind = \"tcp\"\nrate = 1\nrequests = \"../a.toml\"", "is not a file beside the scenario"),
    ("kind = \"tcp\"\nrate = 1\nrequests = \"\"", "is not a file beside the scenario"),
    ("kind = \"http\"\nrate = 1\nsize = \"64B\"", "`size` is for udp workloads"),
    ("kind = \"udp\"\nrate = 1", "proxy `redis` does not take datagrams: `udp` goes to `udp` and `udp-echo`"),
];

#[test]
fn a_wrong_workload_is_told() {
    for (workload, expected) in WRONG {
        let text = told(&with(workload));
        assert!(text.contains(expected), "{workload}\n-> {text}");
        assert_eq!(text.lines().count(), 1, "one mistake, one message: {workload}\n-> {text}");
    }
}

/// What is in a workload of datagrams, and what must be told about it.
const WRONG_DATAGRAMS: &[(&str, &str)] = &[
    ("target = \"proxy:voice\"\nkind = \"udp\"\nsend = \"x\"", "`send` is for tcp workloads"),
    ("target = \"proxy:voice\"\nkind = \"udp\"\npath = \"/\"", "`path` is for http workloads"),
    ("target = \"proxy:voice\"\nkind = \"udp\"\nretries = 1", "`retries` is for http and tcp workloads"),
    ("target = \"proxy:voice\"\nkind = \"udp\"\nrequests = []", "`requests` is for http and tcp workloads"),
    ("target = \"proxy:voice\"\nkind = \"udp\"\nsize = \"15B\"", "between 16 and 65507 bytes"),
    ("target = \"proxy:voice\"\nkind = \"udp\"\nsize = \"64KiB\"", "between 16 and 65507 bytes"),
    ("target = \"proxy:voice\"\nkind = \"udp\"\nconnections = 1001", "at most 1000 sockets"),
    ("target = \"proxy:voice\"\nkind = \"udp\"\nconnections = 0", "between 1 and 100000 connections"),
    ("target = \"proxy:voice\"\nkind = \"http\"", "proxy `voice` takes datagrams only"),
    ("target = \"service:echo\"\nkind = \"tcp\"\nsend = \"a\"\nexpect = \"a\"", "service `echo` takes datagrams only"),
    ("target = \"service:web\"\nkind = \"udp\"", "service `web` does not take datagrams"),
];

fn with_datagrams(workload: &str) -> String {
    around(&format!(
        "[[service]]\nname = \"echo\"\nkind = \"udp-echo\"\n[[service]]\nname = \"web\"\nkind = \"http\"\n[[proxy]]\n\
         name = \"voice\"\nprotocol = \"udp\"\nlisten = \"127.0.0.1:0\"\nupstream = \"service:echo\"\n[[fault]]\n\
         kind = \"loss\"\nshare = \"5%\"\nproxy = \"voice\"\nfor = \"1s\"\n[[workload]]\nname = \"w\"\nrate = 5\n{workload}"
    ))
}

#[test]
fn datagrams_are_read_and_what_is_wrong_with_them_is_told() {
    let text = with_datagrams("target = \"proxy:voice\"\nkind = \"udp\"\nsize = \"172B\"\nconnections = 10");
    let spec = read(check_all(&[source(&text)], &Options::default()));
    assert_eq!((spec.kind, spec.connections), (WorkloadKind::Udp { size: 172 }, Some(10)));
    let spec =
        read(check_all(&[source(&with_datagrams("target = \"service:echo\"\nkind = \"udp\""))], &Options::default()));
    assert_eq!((spec.kind, spec.connections), (WorkloadKind::Udp { size: 64 }, None));
    for (workload, expected) in WRONG_DATAGRAMS {
        let text = told(&with_datagrams(workload));
        assert!(text.contains(expected), "{workload}\n-> {text}");
        assert_eq!(text.lines().count(), 1, "one mistake, one message: {workload}\n-> {text}");
    }
    let over_tcp = "[[service]]\nname = \"e\"\nkind = \"udp-echo\"\n[[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"\n\
                    upstream = \"service:e\"\n[[fault]]\nkind = \"reset\"\nproxy = \"b\"\nfor = \"1s\"\n";
    assert!(told(&around(over_tcp)).contains("service `e` takes datagrams only"));
    let text = over_tcp.replace("listen", "protocol = \"udp\"\nlisten").replace("udp-echo", "echo");
    assert!(told(&around(&text)).contains("service `e` does not take datagrams"));
}

#[test]
fn load_over_a_unix_socket_is_refused() {
    for target in ["unix:/tmp/x", "proxy:socket"] {
        let text = format!(
            "name = \"a\"\n[[proxy]]\nname = \"socket\"\nlisten = \"unix:/tmp/x\"\nupstream = \"127.0.0.1:2\"\n[[fault]]\nkind = \
             \"reset\"\nproxy = \"socket\"\nfor = \"1s\"\n[[workload]]\nname = \"w\"\nkind = \"tcp\"\nrate = 1\nsend = \"x\"\nexpect = \
             \"x\"\ntarget = \"{target}\""
        );
        let text = told(&text);
        assert!(text.contains("load over unix sockets is not available; aim it at a proxy"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn bursts_and_requests_are_read() {
    let text = with(
        "kind = \"http\"\nrate = 0\narrivals = \"bursty\"\nburst = { rate = 500, on = \"2s\", off = \"8s\" }\nrequests = [{ weight = 3, path = \
         \"/cart\" }, { name = \"order\", method = \"POST\", body = \"{}\" }]",
    );
    let workload = read(check_all(&[source(&text)], &Options::default()));
    assert_eq!(workload.arrivals, Arrivals::Bursty(Burst { rate: 500.0, on: 2 * SECOND, off: 8 * SECOND }));
    assert_eq!(workload.kind.weights(), [3, 1]);
    assert_eq!(workload.kind.names(), ["GET /cart", "order"]);
    let one = read(check_all(
        &[source(&with("kind = \"tcp\"\nrate = 1\nsend = \"a\"\nexpect = \"b\""))],
        &Options::default(),
    ));
    assert!(
        matches!(&one.kind, WorkloadKind::Tcp(requests) if requests.len() == 1 && requests[0].request.expect == "b")
    );
}

/// A directory with a scenario that names `shop.requests.toml`, gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let place = std::env::temp_dir().join(format!("squall-requests-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        Place(place)
    }

    fn requests(&self, text: &str) {
        fs::write(self.0.join("shop.requests.toml"), text).unwrap();
    }

    fn source(&self) -> Arc<Source> {
        let text = with("kind = \"tcp\"\nrate = 1\nrequests = \"shop.requests.toml\"");
        Arc::new(Source { name: self.0.join("a.toml").display().to_string(), text })
    }

    fn told(&self) -> String {
        let outcome = check_all(&[self.source()], &Options::default());
        outcome.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SHOP: &str = "[[request]]\nname = \"cart\"\nweight = 3\nsend = \"GET {n}\"\nexpect = \"ok\"\n\n[[request]]\nsend = \"PUT\"\nexpect = \"ok\"\n";

#[test]
fn requests_of_a_file_stand_in_its_place() {
    let place = Place::new("good");
    place.requests(SHOP);
    let outcome = check_all(&[place.source()], &Options::default());
    let written = with(
        "kind = \"tcp\"\nrate = 1\nrequests = [{ name = \"cart\", weight = 3, send = \"GET {n}\", expect = \"ok\" }, { send = \"PUT\", expect = \
         \"ok\" }]",
    );
    let same = check_all(&[source(&written)], &Options::default());
    assert_eq!(outcome.scenarios[0].digest, same.scenarios[0].digest);
    assert_eq!(read(outcome).kind.names(), ["cart", "request 2"]);

    // the control port follows no names: what is handed in there has the requests in it
    let whole = put_in_place(&place.source()).unwrap().unwrap();
    let (handed, _) = scenario_json(&whole, &Options::default()).unwrap();
    assert_eq!(handed.digest, same.scenarios[0].digest);
    let refused = scenario(&place.source(), &Options::default()).unwrap_err();
    assert!(refused.iter().any(|mistake| mistake.message.contains("only a scenario's file can name another file")));
    assert!(put_in_place(&source(&written)).unwrap().is_none());
}

#[test]
fn a_file_of_requests_that_can_not_be_had_is_told_where_it_is_named() {
    let place = Place::new("bad");
    for (requests, expected) in [
        ("[[request]\n", "shop.requests.toml:1: this is not TOML"),
        ("[[request]]\nsend = \"a\"\n\nexpect = x", "shop.requests.toml:4: this is not TOML"),
        ("[[requests]]\n", "unknown field `requests`"),
        ("", "at least one [[request]]"),
        ("request = 5", "at least one [[request]]"),
        ("[[request]]\nsent = \"a\"\nexpect = \"b\"\nsend = \"c\"", "unknown field `sent`"),
    ] {
        place.requests(requests);
        let told = place.told();
        assert!(told.contains(expected) && told.contains("a.toml:16:"), "{requests}\n-> {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    place.requests(&format!("# {}\n{SHOP}", "x".repeat(2 << 20)));
    assert!(place.told().contains("too long"), "{}", place.told());
}

#[test]
fn only_a_file_below_the_scenario_is_opened() {
    let place = Place::new("links");
    let file = place.0.join("shop.requests.toml");
    let outside = Place::new("outside");
    outside.requests(SHOP);
    std::os::unix::fs::symlink(outside.0.join("shop.requests.toml"), &file).unwrap();
    assert!(place.told().contains("this leads out of the scenario's directory"), "{}", place.told());
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    assert!(place.told().contains("this leads out"), "{}", place.told());
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert!(place.told().contains("not a regular file"), "{}", place.told());
    fs::remove_file(&file).unwrap();
    // a link that stays inside is followed
    fs::create_dir(place.0.join("in")).unwrap();
    fs::write(place.0.join("in/x.toml"), SHOP).unwrap();
    std::os::unix::fs::symlink("in/x.toml", &file).unwrap();
    assert_eq!(place.told(), "");
}
