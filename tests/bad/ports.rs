//! Addresses that somebody else has.

use std::net::TcpListener;

use crate::support::{GOVERNED, Room, echo, round_trip};

fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// An address that is free, for as long as nobody else comes.
fn free() -> String {
    taken().1
}

fn config(control: &str, metrics: &str, proxies: &[(&str, &str)]) -> String {
    let proxy = |(name, listen): &(&str, &str)| {
        format!("[[proxy]]\nname = \"{name}\"\nlisten = \"{listen}\"\nupstream = \"127.0.0.1:1\"\n")
    };
    let proxies: String = proxies.iter().map(proxy).collect();
    format!("[control]\nlisten = \"{control}\"\n[metrics]\nlisten = \"{metrics}\"\n{proxies}")
}

#[test]
fn a_port_in_use_is_named_and_nothing_stays_open() {
    let room = Room::new();
    let (_held, taken) = taken();
    let (control, first) = (free(), free());
    for (control, metrics, second, who) in [
        (&*control, "127.0.0.1:0", &*taken, "proxy `b`: can not listen on "),
        (&*taken, "127.0.0.1:0", "127.0.0.1:0", "control port: can not listen on "),
        (&*control, &*taken, "127.0.0.1:0", "control port: can not listen on "),
    ] {
        let file = room.file("squall.toml", &config(control, metrics, &[("a", &first), ("b", second)]));
        let ended = room.squall(&["serve", "--config", &file]).exits(2);
        assert!(ended.err.contains(&format!("error: {who}{taken}: Address already in use")), "{}", ended.err);
        assert!(TcpListener::bind(&first).is_ok(), "its first proxy still listens");
        room.squall(&["status"]).exits(4);
    }
}

#[test]
fn a_scenario_whose_port_is_in_use_leaves_nothing_behind() {
    let (room, upstream) = (Room::new(), echo());
    let (_held, taken) = taken();
    let first = free();
    let scenario = format!(
        "{GOVERNED}name = \"a\"\nmax_duration = \"1m\"\n\
         [[proxy]]\nname = \"a\"\nlisten = \"{first}\"\nupstream = \"{upstream}\"\n\
         [[proxy]]\nname = \"b\"\nlisten = \"{taken}\"\nupstream = \"{upstream}\"\n\
         [[fault]]\nkind = \"reset\"\nproxy = \"a\"\nfor = \"1s\"\n"
    );
    let file = room.file("a.toml", &scenario);
    let ended = room.squall(&["drill", &file]).exits(2);
    assert!(ended.err.contains(&taken) && ended.err.contains("Address already in use"), "{}", ended.err);
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let ended = room.squall(&["start", &file]).exits(2);
    assert!(ended.err.contains(&taken) && ended.err.contains("Address already in use"), "{}", ended.err);
    assert!(TcpListener::bind(&first).is_ok(), "its first proxy still listens");
    let proxies = room.squall(&["proxy", "list"]).exits(0).out;
    assert!(proxies.contains("default") && !proxies.contains("\na "), "{proxies}");
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
}

#[test]
fn a_proxy_that_can_not_listen_is_not_added() {
    let (room, upstream) = (Room::new(), echo());
    let (_held, taken) = taken();
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let add = |name: &str, listen: &str, to: &str| {
        room.squall(&["proxy", "add", name, "--listen", listen, "--upstream", to]).exits(2).err
    };
    assert!(add("x", &taken, &upstream).contains(&taken));
    assert!(add("X!", "127.0.0.1:0", &upstream).contains("X!"));
    assert!(add("x", "example.com:80", &upstream).contains("not on a host name"));
    assert!(add("x", "127.0.0.1:0", "127.0.0.1").contains("is not an address"));
    assert!(add("x", "127.0.0.1:0", "192.0.2.1:80").contains("allow_upstreams"));
    // one that runs stays as it is
    assert!(add("default", &taken, &upstream).contains(&taken));
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
    assert!(!room.squall(&["proxy", "list"]).exits(0).out.contains("\nx "));
}

#[test]
fn what_can_not_be_enforced_is_not_served() {
    let room = Room::new();
    let file = room.file("tokens.toml", "[control]\nlisten = \"127.0.0.1:0\"\ntokens = \"tokens.toml\"\n");
    room.squall(&["check", &file]).exits(0);
    room.squall(&["serve", "--config", &file]).exits(2).says("tokens");
    for public in ["0.0.0.0:0", "[::]:0"] {
        room.squall(&["serve", "--control", public]).exits(2).says("loopback addresses or unix sockets only");
    }
}
