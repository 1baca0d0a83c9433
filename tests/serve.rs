//! `squall serve`: proxies, control port, signals, reload.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::{Room, echo, round_trip};

#[test]
fn it_relays_and_tells_its_status() {
    let (room, upstream) = (Room::new(), echo());
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
    let status = room.squall(&["status", "--json"]).exits(0).out;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["environment"], "local");
    assert_eq!(status["proxies"][0]["name"], "default");
    assert_eq!(status["proxies"][0]["upstream"], upstream);
    assert_eq!(status["proxies"][0]["listen"], serve.proxy("default"));
    room.squall(&["healthcheck"]).exits(0);
    room.squall(&["status", "--control", &serve.control()]).exits(0).says("default");
    serve.signal(Signal::TERM);
    serve.end().exits(0);
    room.squall(&["status"]).exits(4);
}

#[test]
fn proxies_come_and_go_while_it_runs() {
    let (room, upstream) = (Room::new(), echo());
    let _serve = room.serve(&["--control", "127.0.0.1:0"]);
    let added =
        room.squall(&["proxy", "add", "redis", "--listen", "127.0.0.1:0", "--upstream", &upstream]).exits(0).out;
    let address = added.split(' ').nth(2).unwrap();
    assert_eq!(round_trip(address).unwrap(), "hello");
    room.squall(&["proxy", "list"]).exits(0).says("redis");
    room.squall(&["proxy", "rm", "redis"]).exits(0);
    room.squall(&["proxy", "rm", "redis"]).exits(2).says("redis");
    assert!(round_trip(address).is_err(), "the listener is still there");
}

#[test]
fn the_way_of_a_proxy_is_set_from_the_command_line_and_shown() {
    let (room, upstream) = (Room::new(), echo());
    let _serve = room.serve(&["--control", "127.0.0.1:0"]);
    let add = |name: &str, upstream: &str, words: &[&str]| {
        let proxy = ["proxy", "add", name, "--listen", "127.0.0.1:0", "--upstream", upstream];
        room.squall(&[&proxy, words].concat())
    };
    let headers = ["--accept-from", "10.0.0.0/8", "--accept-from", "127.0.0.1", "--send-proxy", "v2"];
    add("behind", &upstream, &headers).exits(0);
    add("caught", "original", &["--transparent", "redirect"]).exits(0);
    let listed = room.squall(&["proxy", "list"]).exits(0);
    listed.says("takes headers, sends v2").says("redirect");
    let json = room.squall(&["proxy", "list", "--json"]).exits(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!({ "accept_from": ["10.0.0.0/8", "127.0.0.1/32"], "send": "v2" });
    assert_eq!((&json[0]["proxy_protocol"], &json[1]["transparent"]), (&expected, &"redirect".into()));
    assert_eq!(json[0]["misheaded"], 0);
    let config = room.squall(&["status", "--as-config"]).exits(0).out;
    let again = room.squall(&["check", &room.file("again.toml", &config)]).exits(0);
    again.says("2 proxies");
    assert!(config.contains("accept_from = [\"10.0.0.0/8\", \"127.0.0.1/32\"]"), "{config}");

    add("x", &upstream, &["--accept-from", "10.0.0.0/33"]).exits(2).says("is not a network");
    add("x", &upstream, &["--send-proxy", "v3"]).exits(2).says("v3");
    add("x", &upstream, &["--transparent", "redirect"]).exits(2).says("write `original`");
    add("x", "original", &[]).exits(2).says("`original` is the upstream of transparent proxies");
}

#[test]
fn what_can_not_be_served_is_refused_at_the_start() {
    let room = Room::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    room.squall(&["serve", "--listen", &taken, "--upstream", "127.0.0.1:1"]).exits(2).says(&taken);
    room.squall(&["serve", "--listen", "127.0.0.1:0", "--upstream", "192.0.2.1:80"]).exits(2).says("allow_upstreams");
    room.squall(&["serve", "--listen", "127.0.0.1:0"]).exits(2).says("--upstream");
    room.squall(&["serve", "--config", "/no/such/file.toml"]).exits(2).says("/no/such/file.toml");
    room.squall(&["serve"]).exits(2).says("nothing to serve");
}

/// A configuration with these proxies, all leading to `upstream`.
fn config(upstream: &str, proxies: &[&str]) -> String {
    let proxy =
        |name: &&str| format!("[[proxy]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n");
    format!(
        "environment = \"test\"\n[control]\nlisten = \"127.0.0.1:0\"\n{}",
        proxies.iter().map(proxy).collect::<String>()
    )
}

#[test]
fn a_reload_comes_into_force_as_a_whole_or_not_at_all() {
    let (room, upstream) = (Room::new(), echo());
    let file = room.file("squall.toml", &config(&upstream, &["a", "b"]));
    let serve = room.serve(&["--config", &file]);

    room.file("squall.toml", &config(&upstream, &["b", "c"]));
    room.squall(&["reload"]).exits(0).says("proxy a removed").says("proxy c added");
    let now = room.squall(&["status"]).exits(0);
    assert!(now.out.contains("\nb ") && now.out.contains("\nc ") && !now.out.contains("\na "), "{}", now.out);
    assert_eq!(round_trip(&serve.proxy("b")).unwrap(), "hello", "an unchanged proxy keeps its listener");

    room.file("squall.toml", "[[proxy]]\nname = \"d\"\nlisten = 5\n");
    room.squall(&["reload"]).exits(2).says("the number 5 where a string was expected");
    serve.signal(Signal::HUP);
    serve.wait_for("the old configuration stays");
    assert_eq!(round_trip(&serve.proxy("b")).unwrap(), "hello");

    // the second proxy can not be opened: the first one must not stay
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let clash = config(&upstream, &["b", "c", "x"])
        + &format!(
            "[[proxy]]\nname = \"y\"\nlisten = \"{}\"\nupstream = \"{upstream}\"\n",
            taken.local_addr().unwrap()
        );
    room.file("squall.toml", &clash);
    room.squall(&["reload"]).exits(2).says("y");
    let now = room.squall(&["proxy", "list"]).exits(0);
    assert!(!now.out.contains("\nx "), "half a reload: {}", now.out);

    room.file("squall.toml", &config(&upstream, &["b", "c", "e"]));
    serve.signal(Signal::HUP);
    serve.wait_for("reloaded: proxy e added");
}

#[test]
fn what_is_in_force_is_a_configuration_again() {
    let (room, upstream) = (Room::new(), echo());
    let _serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let text = room.squall(&["status", "--as-config"]).exits(0).out;
    let file = room.file("again.toml", &text);
    room.squall(&["check", &file]).exits(0).says("1 proxies");
}

#[test]
fn ctrl_c_lifts_the_faults_and_the_second_one_ends_it() {
    let (room, upstream) = (Room::new(), echo());
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    room.squall(&["inject", "default", "latency", "delay=30s", "--for", "60s", "--detach"]).exits(0);
    serve.signal(Signal::INT);
    serve.wait_for("aborted ");
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
    serve.signal(Signal::INT);
    serve.end().exits(130);
}
