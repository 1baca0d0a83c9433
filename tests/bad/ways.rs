//! Ways that lead back: to the proxy itself, or to squall's own control port.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{GOVERNED, Room, echo, round_trip};

fn config(control: &str, upstream: &str) -> String {
    format!(
        "[control]\nlisten = \"{control}\"\n[[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n"
    )
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_control_port_is_no_upstream() {
    let room = Room::new();
    let port = free();
    let file = room.file("squall.toml", &config(&format!("127.0.0.1:{port}"), &format!("localhost:{port}")));
    let ended = room.squall(&["check", &file]).exits(2);
    assert!(ended.err.contains("squall.toml:6:12") && ended.err.contains("the control port itself"), "{}", ended.err);
    let socket = format!("unix:{}", room.path("socket").display());
    let file = room.file("squall.toml", &config(&socket, &socket));
    room.squall(&["serve", "--config", &file]).exits(2).says("the control port itself");
    let own = format!("127.0.0.1:{port}");
    let serve = ["serve", "--control", &own, "--listen", "127.0.0.1:0", "--upstream", &own];
    room.squall(&serve).exits(2).says("this is squall's own control port");
}

#[test]
fn nobody_reaches_the_control_port_through_a_proxy() {
    let room = Room::new();
    let port = free();
    // a name is resolved at each connect
    let to = format!("localhost:{port}");
    let serve = room.serve(&["--control", &format!("127.0.0.1:{port}"), "--listen", "127.0.0.1:0", "--upstream", &to]);
    let mut stream = TcpStream::connect(serve.proxy("default")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));

    let control = serve.control();
    let control = control.strip_prefix("http://").unwrap();
    for upstream in [control.to_owned(), format!("0.0.0.0:{port}"), format!("[::ffff:127.0.0.1]:{port}")] {
        let added = room.squall(&["proxy", "add", "x", "--listen", "127.0.0.1:0", "--upstream", &upstream]);
        added.exits(2).says("this is squall's own control port");
    }
    let scenario = format!(
        "{GOVERNED}name = \"s\"\nmax_duration = \"1m\"\n[[proxy]]\nname = \"s\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{control}\"\n\
         [[fault]]\nkind = \"reset\"\nproxy = \"s\"\nfor = \"1s\"\n"
    );
    room.squall(&["start", &room.file("s.toml", &scenario)]).exits(2).says("this is squall's own control port");
}

#[test]
fn a_ring_of_proxies_is_refused_when_it_would_close() {
    let (room, upstream) = (Room::new(), echo());
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let default = serve.proxy("default");
    let put =
        |name: &str, listen: &str, to: &str| room.squall(&["proxy", "add", name, "--listen", listen, "--upstream", to]);
    let added = put("b", "127.0.0.1:0", &default).exits(0).out;
    let b = added.split(' ').nth(2).unwrap().to_owned();
    assert_eq!(round_trip(&b).unwrap(), "hello", "two in a row are no ring");
    put("default", &default, &b).exits(2).says("would be routed to itself");
    let own = format!("127.0.0.1:{}", free());
    put("c", &own, &own).exits(2).says("would be routed to itself");
    assert_eq!(round_trip(&b).unwrap(), "hello");
}

#[test]
fn a_ring_that_only_names_close_ends_at_the_first_connection() {
    let room = Room::new();
    // a host name that leads here; `localhost` itself is seen through before
    let hosts = room.file("hosts", "127.0.0.1 here.test\n");
    let (one, other) = (free(), free());
    let ring = format!(
        "[control]\nlisten = \"127.0.0.1:0\"\n\
         [[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:{one}\"\nupstream = \"here.test:{other}\"\n\
         [[proxy]]\nname = \"b\"\nlisten = \"127.0.0.1:{other}\"\nupstream = \"here.test:{one}\"\n"
    );
    let file = room.file("ring.toml", &ring);
    room.squall(&["check", &file]).exits(0);
    let mount = format!("mount --bind {hosts} /etc/hosts");
    let serve = room.serve_on(&mount, &["--config", &file]);
    assert!(round_trip(&serve.proxy("a")).is_err());
    let listed = room.squall(&["proxy", "list", "--json"]).exits(0).out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let accepted: u64 = listed.as_array().unwrap().iter().map(|proxy| proxy["accepted"].as_u64().unwrap()).sum();
    assert!(accepted <= 3, "it went round: {listed:#}");
}
