//! Databases that turn everybody away, told by their own clients.

use std::process::Command;

use crate::support::programs::{installed, run_within};
use crate::support::wait::PATIENCE;
use crate::support::{Room, Running};

/// Drills a scenario that stands in for a database; where clients find it.
fn database(room: &Room, path: &str) -> (Running, String) {
    let drill = room.start(&["drill", path, "--set", "listen=127.0.0.1:0"]);
    let address = drill.proxy("database");
    (drill, address)
}

fn psql(address: &str) -> (i32, String) {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut command = Command::new(installed("psql"));
    command.env("PGHOST", host).env("PGPORT", port).env("PGUSER", "postgres").env("PGSSLMODE", "disable");
    command.env("PGCONNECT_TIMEOUT", "20").args(["--no-psqlrc", "-c", "select 1", "postgres"]);
    run_within(&mut command, PATIENCE)
}

#[test]
fn postgresql_turns_clients_away_in_its_own_words() {
    for (path, says) in [
        ("postgresql/too-many-clients", "FATAL:  sorry, too many clients already"),
        ("postgresql/starting-up", "FATAL:  the database system is starting up"),
    ] {
        let room = Room::new();
        let (_drill, address) = database(&room, path);
        let (code, said) = psql(&address);
        assert!(code == 2 && said.contains(says), "{path}: {code} {said}");
    }
}

#[test]
fn redis_turns_clients_away_in_its_own_words() {
    let room = Room::new();
    let (_drill, address) = database(&room, "redis/max-clients");
    let stream = std::net::TcpStream::connect(&address).unwrap();
    let (said, end) = crate::support::Peer::new(stream).rest();
    assert_eq!(String::from_utf8(said).unwrap(), "-ERR max number of clients reached\r\n");
    assert_eq!(end, crate::support::End::Fin);
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut command = Command::new(installed("redis-cli"));
    let (_, said) = run_within(command.args(["-h", host, "-p", port, "PING"]), PATIENCE);
    assert!(said.contains("max number of clients reached"), "{said}");
}
