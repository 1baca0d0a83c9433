//! redis-server, redis-benchmark and the Python client.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use crate::support::programs::{installed, run};
use crate::support::python::{self, Client};
use crate::support::redis::Redis;
use crate::support::{Room, Serve, turn};

struct Setting {
    redis: Redis,
    squall: Serve,
    #[allow(dead_code)] // kept
    room: Room,
}

fn setting() -> Setting {
    let room = Room::new();
    let redis = Redis::start(&room);
    let squall = Serve::before(&room, redis.address);
    Setting { redis, squall, room }
}

/// Runs redis-benchmark and gives how many requests it made.
fn benchmark(address: SocketAddr, words: &[&str]) -> u64 {
    let mut command = Command::new(installed("redis-benchmark"));
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let out = run(command.args(["-h", &host, "-p", &port, "--csv"]).args(words));
    // "test","rps","avg_latency_ms",… and a line for each test
    let rates =
        out.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().trim_matches('"').parse::<f64>().unwrap());
    let tests = rates.inspect(|rate| assert!(*rate > 0.0, "{out}")).count();
    u64::try_from(tests).unwrap()
}

fn seconds(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

#[test]
fn a_benchmark_runs_through_squall_and_values_read_back_equal_without_it() {
    let _turn = turn();
    let Setting { redis, squall, .. } = &setting();
    assert_eq!(benchmark(squall.address, &["-n", "20000", "-c", "50", "-t", "set,get,incr"]), 3);
    assert_eq!(benchmark(squall.address, &["-n", "50000", "-c", "20", "-P", "32", "-d", "1000", "-t", "set,get"]), 2);
    let written = python::client(squall.address, &["write", "2000"]);
    assert_eq!(written["failures"], serde_json::json!([]));
    assert_eq!(python::client(redis.address, &["read", "2000"])["equal"], 2000);
    assert_eq!(python::client(squall.address, &["read", "2000"])["equal"], 2000);
}

#[test]
fn a_benchmark_completes_and_values_are_equal_under_faults() {
    let _turn = turn();
    let Setting { redis, squall, .. } = &setting();
    let id = squall.start(
        "[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndirection = \"both\"\ndelay = \"2ms\"\njitter = \"1ms\"\n
         [[fault]]\nkind = \"slicer\"\nproxy = \"default\"\nsize = \"700B\"\nvariation = \"300B\"\npercentage = 50\n
         [[fault]]\nkind = \"bandwidth\"\nproxy = \"default\"\nrate = \"20MB/s\"\n",
    );
    assert_eq!(benchmark(squall.address, &["-n", "4000", "-c", "50", "-t", "set,get", "-d", "2000"]), 2);
    assert_eq!(python::client(squall.address, &["write", "1000"])["failures"], serde_json::json!([]));
    squall.stop(&id);
    assert_eq!(python::client(redis.address, &["read", "1000"])["equal"], 1000);
    let view = squall.over(&id);
    assert!(view.faults.iter().all(|fault| fault.tally.injected > 0), "{view:?}");
}

#[test]
fn round_trips_rise_by_the_latency_declared_and_fall_when_it_ends() {
    let Setting { squall, .. } = &setting();
    let client = Client::start(squall.address, &["ping", "3"]);
    let id = squall.start(
        "[[fault]]\nkind = \"latency\"\nproxy = \"default\"\ndelay = \"50ms\"\nat = \"0.5s\"\nfor = \"1500ms\"\n",
    );
    let result = client.result();
    assert_eq!(result["errors"], serde_json::json!([]));
    let pings = seconds(&result["pings"]);
    let late = pings.iter().filter(|ping| **ping >= 0.050).count();
    let quick = pings.iter().filter(|ping| **ping < 0.025).count();
    // 1.5 s of round trips of 50 ms and a little; the last one may be let go early
    assert!((15..=30).contains(&late), "{late} of {}", pings.len());
    assert!(quick > 100 && pings.len() - late - quick <= 5, "{late} late and {quick} quick of {}", pings.len());
    let mut sorted = pings.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() - 1 - late / 2];
    assert!(median < 0.060, "the median of those late: {median}");
    assert_eq!(squall.client.view(&id).unwrap().faults[0].tally.selected, 1);
}

#[test]
fn a_reset_reaches_the_client_and_what_was_acknowledged_is_stored() {
    let Setting { redis, squall, .. } = &setting();
    let id = squall
        .start("[[fault]]\nkind = \"reset\"\nproxy = \"default\"\ndirection = \"downstream\"\nafter = \"1000B\"\n");
    let result = python::client(squall.address, &["store", "5000"]);
    assert!(result["error"].as_str().unwrap().contains("reset by peer"), "{result}");
    assert_eq!(squall.client.proxies().unwrap()[0].bytes_downstream, 1000, "to the byte");
    // every answer has five bytes, and the client and the server say a few things first
    let acknowledged = result["acknowledged"].as_u64().unwrap();
    assert!((100..=200).contains(&acknowledged), "{result}");
    squall.stop(&id);
    let stored = python::client(redis.address, &["stored", &acknowledged.to_string()]);
    assert_eq!(stored["equal"], acknowledged);
    assert_eq!(python::client(squall.address, &["store", "500"])["error"], Value::Null);
}

#[test]
fn a_large_value_takes_the_time_that_the_bandwidth_gives_it() {
    let Setting { squall, .. } = &setting();
    squall.start("[[fault]]\nkind = \"bandwidth\"\nproxy = \"default\"\nrate = \"2MB/s\"\nburst = \"64KiB\"\n");
    let result = python::client(squall.address, &["fetch", "3000000"]);
    assert_eq!(result["equal"], true);
    let took = result["seconds"].as_f64().unwrap();
    assert!((1.46..2.2).contains(&took), "{took} s for 3 MB at 2 MB/s");
}

fn partition(how: &str) -> (Vec<f64>, Vec<String>) {
    let Setting { squall, .. } = &setting();
    let client = Client::start(squall.address, &["ping", "3"]);
    squall.start(&format!(
        "[[fault]]\nkind = \"partition\"\nproxy = \"default\"\nhow = \"{how}\"\nat = \"0.5s\"\nfor = \"1s\"\n"
    ));
    let result = client.result();
    let pings = seconds(&result["pings"]);
    assert!(pings.iter().filter(|ping| **ping < 0.25).count() > 100, "traffic before and after: {}", pings.len());
    let errors = result["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap().to_owned());
    (pings, errors.collect())
}

#[test]
fn a_partition_that_hangs_delivers_when_it_heals() {
    let (pings, errors) = partition("hang");
    assert_eq!(errors, [""; 0]);
    let longest = pings.iter().copied().fold(0.0, f64::max);
    assert!((0.95..1.4).contains(&longest), "{longest} s for one that met a partition of 1 s");
    assert_eq!(pings.iter().filter(|ping| **ping > 0.5).count(), 1);
}

#[test]
fn a_partition_that_drops_resets_when_it_heals() {
    let (pings, errors) = partition("drop");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("reset by peer"), "{errors:?}");
    assert!(pings.iter().all(|ping| *ping < 0.25), "what was swallowed is never answered");
}

#[test]
fn a_partition_that_rejects_resets_and_refuses() {
    let (pings, errors) = partition("reject");
    assert!(errors.len() > 10, "one reset and many refused: {errors:?}");
    assert!(errors[0].contains("reset by peer"), "{errors:?}");
    assert!(pings.iter().all(|ping| *ping < 0.25));
}

#[test]
fn the_upstream_may_be_a_unix_socket() {
    let room = Room::new();
    let socket = room.path("redis.sock").display().to_string();
    let mut command = Command::new(installed("redis-server"));
    command.args(["--unixsocket", &socket]);
    let redis = Redis::run(command, &room, 0);
    redis.wait_for_words("ready to accept connections");
    let squall = Serve::before(&room, format!("unix:{socket}"));
    assert_eq!(python::client(squall.address, &["write", "200"])["failures"], serde_json::json!([]));
    assert_eq!(python::client(squall.address, &["read", "200"])["equal"], 200);
}
