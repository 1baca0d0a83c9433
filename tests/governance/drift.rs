//! What runs and what its file says.

use super::support::scenario;
use crate::support::{Room, echo, round_trip, wait};

fn config(upstream: &str, more: &str) -> String {
    let proxy =
        |name: &str| format!("[[proxy]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n");
    let control = "[control]\nlisten = \"127.0.0.1:0\"";
    format!("environment = \"test\"\n{control}\n[safety]\n{more}\n{}{}", proxy("default"), proxy("other"))
}

#[test]
fn a_difference_is_shown_told_and_in_the_way_until_it_is_gone_or_taken_as_it_is() {
    let (room, upstream) = (Room::new(), echo());
    let file = room.file("squall.toml", &config(&upstream, ""));
    let serve = room.serve(&["--config", &file]);
    let slow = room.file("slow.toml", &scenario("test", 10));
    let start = || room.squall(&["start", &slow, "--detach", "--max", "60s"]);
    start().exits(0);
    room.squall(&["abort"]).exits(0);

    // the file changes under it
    room.file("squall.toml", &config("127.0.0.1:9", ""));
    start().exits(2).says("what runs is not what the configuration says: in the file: proxy default changed");
    room.squall(&["status"]).exits(0).says("drift: in the file: proxy default changed");
    serve.wait_for_words("what runs is not what the configuration says");
    room.squall(&["reload"]).exits(0).says("proxy default changed");
    start().exits(0);
    room.squall(&["abort"]).exits(0);
    assert!(!room.squall(&["status"]).exits(0).out.contains("drift:"));

    // what can only change at a start
    room.file("squall.toml", &config("127.0.0.1:9", "max_percentage = 5"));
    start().exits(2).says("[safety] can not change while squall runs");
    room.squall(&["reload"]).exits(2).says("[safety]");
    room.file("squall.toml", "not = [toml");
    start().exits(2).says("can't be taken any more");
    room.file("squall.toml", &config("127.0.0.1:9", ""));
    start().exits(0);
    room.squall(&["abort"]).exits(0);

    // what runs changes over the control port
    let add =
        |name: &str| ["proxy", "add", name, "--listen", "127.0.0.1:0", "--upstream", &upstream].map(str::to_owned);
    room.squall(&add("more")).exits(0);
    room.squall(&["proxy", "rm", "other"]).exits(0);
    let refused = start().exits(2);
    assert!(refused.err.contains("proxy other is in the file and does not run"), "{}", refused.err);
    assert!(refused.err.contains("proxy more runs and is not in the file"), "{}", refused.err);
    room.squall(&["reload"]).exits(0).says("proxy other added");
    start().exits(2).says("proxy more runs");
    room.squall(&["reload", "--accept"]).exits(0).says("taken as it is").says("proxy more runs");
    start().exits(0);
    room.squall(&["abort"]).exits(0);
    room.squall(&add("yet-another")).exits(0);
    start().exits(2).says("proxy yet-another runs");
    let log = || std::fs::read_to_string(serve_log(&room)).unwrap_or_default();
    wait::until("the log to tell of it", || log().contains("yet-another").then_some(()));
}

/// The audit log in the state directory that squall made for itself.
fn serve_log(room: &Room) -> std::path::PathBuf {
    let found = walk(room.directory());
    found.into_iter().find(|path| path.ends_with("audit.log")).unwrap_or_default()
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn proxies_of_the_command_line_and_of_experiments_are_no_drift() {
    let (room, upstream) = (Room::new(), echo());
    let file = room.file("squall.toml", &config(&upstream, "").replace("\"default\"", "\"first\""));
    let serve = room.serve(&["--config", &file, "--listen", "127.0.0.1:0", "--upstream", &upstream]);
    let brings = format!(
        "{}[[proxy]]\nname = \"brought\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n",
        scenario("test", 10)
    );
    room.squall(&["start", &room.file("brings.toml", &brings), "--detach", "--max", "60s"]).exits(0);
    assert!(!room.squall(&["status"]).exits(0).out.contains("drift:"));
    room.squall(&["start", &room.file("slow.toml", &scenario("test", 10)), "--detach", "--max", "60s"]).exits(0);
    room.squall(&["abort"]).exits(0);
    assert_eq!(round_trip(&serve.proxy("default")).unwrap(), "hello");
}
