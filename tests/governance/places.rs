//! Where and when experiments may run.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use super::support::scenario;
use crate::support::{Room, echo};

fn config(room: &Room, safety: &str) -> String {
    let proxy = format!("name = \"default\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{}\"", echo());
    let control = "[control]\nlisten = \"127.0.0.1:0\"";
    let text = format!("environment = \"test\"\n{control}\n[safety]\n{safety}\n[[proxy]]\n{proxy}\n");
    room.file("squall.toml", &text)
}

#[test]
fn an_environment_is_proven_by_a_file_that_root_alone_can_write() {
    let room = Room::new();
    let directory = room.path("host");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let file = room.file("host/environment", "test\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let config = config(&room, &format!("environment_file = \"{file}\""));
    if !rustix::process::getuid().is_root() {
        room.squall(&["serve", "--config", &config]).exits(2).says("it proves nothing");
        return; // what root would see, the crate's own tests show
    }
    let _serve = room.serve(&["--config", &config]);
    let slow = room.file("slow.toml", &scenario("test", 10));
    room.squall(&["start", &slow, "--detach", "--max", "60s"]).exits(0);
    room.squall(&["abort"]).exits(0);
    room.file("host/environment", "staging\n");
    room.squall(&["start", &slow, "--detach", "--max", "60s"]).exits(2).says("this host is `staging`");
    room.squall(&["serve", "--config", &config, "--control", "127.0.0.1:0"]).exits(2).says("this host is `staging`");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    room.squall(&["start", &slow]).exits(2).says("it proves nothing");
}

#[test]
fn what_must_not_be_reached_is_tried_and_times_are_kept() {
    let room = Room::new();
    let isolated = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = isolated.local_addr().unwrap();
    let safety = format!(
        "must_not_reach = [\"{address}\", \"no.such.name.invalid:5432\"]\n\
         windows = [{{ from = \"00:00\", to = \"24:00\" }}, {{ from = \"12:00\", to = \"12:00\" }}]\n\
         blackouts = [{{ from = \"2026-01-01T00:00:00Z\", to = \"2100-01-01T00:00:00Z\", reason = \"this century\" }}]"
    );
    let _serve = room.serve(&["--config", &config(&room, &safety)]);
    let slow = room.file("slow.toml", &scenario("test", 10));
    let refused = room.squall(&["start", &slow]).exits(2);
    assert!(refused.err.contains(&format!("{address} must not be reachable from here, and it is")), "{}", refused.err);
    assert!(refused.err.contains("nothing runs (this century)"), "{}", refused.err);
    assert!(!refused.err.contains("no.such.name"), "{}", refused.err);
    let text = room.squall(&["status", "--as-config"]).exits(0).out;
    room.squall(&["check", &room.file("again.toml", &text)]).exits(0);
    assert!(text.contains("this century") && text.contains("12:00"), "{text}");
}
