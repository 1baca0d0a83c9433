//! Each toxic on the wire: its effect, its removal on a live connection.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::support::Toxi;
use crate::support::{End, pattern};

#[test]
fn latency_delays_answers_but_not_connecting_nor_the_close() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""type":"latency","attributes":{"latency":300,"jitter":50}"#);
    let (mut client, mut server) = toxi.line(proxy);
    let began = Instant::now();
    server.say(b"answer");
    assert_eq!(client.hear(6), b"answer");
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    // a close with nothing on its way does not wait a minute
    toxi.post("/proxies/p/toxics/latency_downstream", r#"{"attributes":{"latency":60000,"jitter":0}}"#);
    let (mut client, server) = toxi.line(proxy);
    drop(server);
    assert_eq!(client.end(), End::Fin);
}

#[test]
fn a_removed_latency_lets_go_at_once() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"slow","type":"latency","attributes":{"latency":60000}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(&pattern(100_000));
    client.hears_nothing_for(100);
    toxi.ask("DELETE", "/proxies/p/toxics/slow", "").is(204);
    assert!(client.hear(100_000) == pattern(100_000));
}

#[test]
fn chained_latencies_add_up_and_a_change_moves_what_is_held() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    for name in ["a", "b"] {
        toxi.toxic("p", &format!(r#""name":"{name}","type":"latency","attributes":{{"latency":150}}"#));
    }
    let (mut client, mut server) = toxi.line(proxy);
    let began = Instant::now();
    server.say(b"x");
    client.hear(1);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    toxi.post("/proxies/p/toxics/a", r#"{"attributes":{"latency":60000}}"#);
    server.say(b"y");
    client.hears_nothing_for(200);
    toxi.post("/proxies/p/toxics/a", r#"{"attributes":{"latency":1}}"#);
    assert_eq!(client.hear(1), b"y");
}

#[test]
fn bandwidth_paces_and_rate_0_stalls_until_it_is_removed() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"b","type":"bandwidth","stream":"upstream","attributes":{"rate":100}"#);
    let (mut client, mut server) = toxi.line(proxy);
    let began = Instant::now();
    client.say(&pattern(50_000));
    assert!(server.hear(50_000) == pattern(50_000));
    assert!(began.elapsed() >= Duration::from_millis(450), "50 kB at 100 kB/s: {:?}", began.elapsed());
    toxi.post("/proxies/p/toxics/b", r#"{"attributes":{"rate":0}}"#);
    client.say(&pattern(20_000));
    server.hears_nothing_for(150);
    toxi.ask("DELETE", "/proxies/p/toxics/b", "").is(204);
    assert!(server.hear(20_000) == pattern(20_000));
}

#[test]
fn slow_close_delays_only_the_close() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""type":"slow_close","attributes":{"delay":400}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"bye");
    let began = Instant::now();
    assert_eq!(client.hear(3), b"bye");
    server.finish();
    assert_eq!(client.end(), End::Fin);
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
}

#[test]
fn timeout_drops_data_closes_and_spares_those_it_did_not_select() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"t","type":"timeout","attributes":{"timeout":300}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"lost");
    assert_eq!(client.end(), End::Fin);
    assert_eq!(server.end(), End::Fin);
    // 0: never, until it is removed
    toxi.post("/proxies/p/toxics/t", r#"{"attributes":{"timeout":0}}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"lost");
    client.hears_nothing_for(500);
    toxi.ask("DELETE", "/proxies/p/toxics/t", "").is(204);
    assert_eq!((client.end(), server.end()), (End::Fin, End::Fin));
    toxi.toxic("p", r#""name":"none","type":"timeout","toxicity":0,"attributes":{"timeout":1}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(b"kept");
    assert_eq!(client.hear(4), b"kept");
    toxi.ask("DELETE", "/proxies/p/toxics/none", "").is(204);
    server.say(b"!");
    assert_eq!(client.hear(1), b"!");
}

#[test]
fn reset_peer_resets_after_its_time_from_the_first_byte() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""type":"reset_peer","attributes":{"timeout":300}"#);
    let (mut client, mut server) = toxi.line(proxy);
    client.hears_nothing_for(400); // no byte yet
    let began = Instant::now();
    server.say(b"x");
    assert_eq!(client.end(), End::Reset);
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(server.end(), End::Reset);
}

#[test]
fn limit_data_is_exact_and_its_count_survives_updates() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"l","type":"limit_data","attributes":{"bytes":100}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(&pattern(60));
    assert_eq!(client.hear(60), pattern(60));
    toxi.post("/proxies/p/toxics/l", r#"{"attributes":{"bytes":80}}"#);
    server.say(&pattern(60));
    let (rest, end) = client.rest();
    assert_eq!((rest, end), (pattern(60)[..20].to_vec(), End::Fin));
}

#[test]
fn a_slicer_cuts_and_a_slicer_without_attributes_does_not() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    toxi.toxic("p", r#""name":"s","type":"slicer","attributes":{"average_size":10,"size_variation":3,"delay":20000}"#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(&pattern(100));
    let first = client.read();
    assert!((5..=15).contains(&first.len()), "{}", first.len());
    assert_eq!([first.clone(), client.hear(100 - first.len())].concat(), pattern(100));
    toxi.ask("DELETE", "/proxies/p/toxics/s", "").is(204);
    toxi.toxic("p", r#""type":"slicer""#);
    let (mut client, mut server) = toxi.line(proxy);
    server.say(&pattern(1_000));
    assert_eq!(client.hear(1_000), pattern(1_000));
}

#[test]
fn a_disabled_proxy_closes_its_connections_and_refuses_new_ones() {
    let toxi = Toxi::new();
    let proxy = toxi.proxy("p");
    let (mut client, mut server) = toxi.line(proxy);
    toxi.post("/proxies/p", r#"{"enabled":false}"#);
    assert_eq!((client.end(), server.end()), (End::Fin, End::Fin));
    assert_eq!(TcpStream::connect(proxy).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    toxi.post("/proxies/p", r#"{"enabled":true}"#);
    let (mut client, mut server) = toxi.line(proxy);
    client.say(b"again");
    assert_eq!(server.hear(5), b"again");
    // another upstream: connections end, toxics stay
    toxi.toxic("p", r#""type":"noop""#);
    let changed = toxi.post("/proxies/p", r#"{"upstream":"127.0.0.1:9"}"#);
    assert_eq!(changed["toxics"][0]["name"], "noop_downstream");
    assert_eq!(client.end(), End::Fin);
}

#[test]
fn an_upstream_that_refuses_is_an_end_of_file() {
    let toxi = Toxi::new();
    toxi.post("/proxies", r#"{"name":"p","listen":"127.0.0.1:0","upstream":"127.0.0.1:9"}"#);
    let listen = toxi.get("/proxies/p")["listen"].as_str().unwrap().to_owned();
    let mut client = crate::support::Peer::new(TcpStream::connect(listen).unwrap());
    assert_eq!(client.end(), End::Fin);
}
