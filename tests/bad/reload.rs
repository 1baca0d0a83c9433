//! A configuration that goes bad while squall runs.

use std::fs::File;

use rustix::process::Signal;

use crate::support::{Room, Running, echo, round_trip};

fn config(upstream: &str, more: &str) -> String {
    format!(
        "environment = \"test\"\n[control]\nlisten = \"127.0.0.1:0\"\n\
         [[proxy]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n{more}"
    )
}

fn under_way(room: &Room) -> (Running, String, String) {
    let upstream = echo();
    let file = room.file("squall.toml", &config(&upstream, ""));
    (room.serve(&["--config", &file]), file, upstream)
}

#[test]
fn the_old_configuration_stays_whatever_the_file_has_become() {
    let room = Room::new();
    let (serve, file, upstream) = under_way(&room);
    room.squall(&["inject", "a", "latency", "delay=1ms", "--for", "60s", "--detach"]).exits(0);
    let bad = [
        ("[[proxy]\n", "this is not TOML"),
        ("[[proxy]]\nname = \"a\"\n", "there is a proxy `a` already"),
        ("[[proxy]]\nname = \"x\"\nlisten = \"127.0.0.1:0\"\n", "`upstream` is missing"),
        ("[[proxy]]\nname = \"x\"\nlisten = \"127.0.0.1:0\"\nupstream = \"192.0.2.1:1\"\n", "allow_upstreams"),
        (
            "[[proxy]]\nname = \"x\"\nlisten = \"127.0.0.1:0\"\nupstream = \"127.0.0.1:1\"\nidle_timeout = \"5s\"\n",
            "protocol = \"udp\"",
        ),
        ("[safety]\nmax_percentage = 5\n", "[safety] can not change while squall runs"),
        ("[safety]\nmax_percentage = 500\n", "500 is not a percentage"),
    ];
    for (more, message) in bad {
        room.file("squall.toml", &config(&upstream, more));
        let ended = room.squall(&["reload"]).exits(2);
        assert!(ended.err.contains(message), "{more}: no {message:?} in {}", ended.err);
        assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
    }
    room.file("squall.toml", "name = \"a\"\n[[fault]]\nkind = \"reset\"\nproxy = \"a\"\nfor = \"1s\"\n");
    room.squall(&["reload"]).exits(2);
    File::create(&file).unwrap().set_len(100 << 20).unwrap();
    serve.signal(Signal::HUP);
    serve.wait_for_words("the file is too long");
    serve.wait_for("the old configuration stays");
    std::fs::remove_file(&file).unwrap();
    room.squall(&["reload"]).exits(2).says("can not read the file");
    assert_eq!(round_trip(&serve.proxy("a")).unwrap(), "hello");
    assert_eq!(room.squall(&["proxy", "list", "--json"]).exits(0).out.matches("\"listen\"").count(), 1);
}

#[test]
fn without_a_file_there_is_nothing_to_reload() {
    let (room, upstream) = (Room::new(), echo());
    let serve = room.serve(&["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    room.squall(&["reload"]).exits(2).says("without a configuration file");
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
}

#[test]
fn a_bad_file_at_reload_leaves_experiments_running() {
    let room = Room::new();
    let (_serve, _file, upstream) = under_way(&room);
    room.squall(&["inject", "a", "latency", "delay=1ms", "--for", "60s", "--detach"]).exits(0);
    room.file("squall.toml", &config(&upstream, "[[proxy]]\nname = \"x\"\n"));
    room.squall(&["reload"]).exits(2);
    room.squall(&["list"]).exits(0).says("running");
}
