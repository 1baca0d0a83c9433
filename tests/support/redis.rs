//! A Redis of a test's own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use super::programs::{free_port, installed};
use super::wait;
use super::{Room, Running};

#[derive(Debug)]
pub struct Redis {
    pub address: SocketAddr,
    _program: Running,
}

impl Redis {
    /// On a port of its own.
    pub fn start(room: &Room) -> Redis {
        for _ in 0..5 {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            let mut program = Redis::run(Command::new(installed("redis-server")), room, address.port());
            let up = wait::until("redis to answer", || match TcpStream::connect(address) {
                Ok(_) => program.printed().contains("Ready to accept connections").then_some(true),
                Err(_) => (!program.is_running()).then_some(false),
            });
            if up {
                return Redis { address, _program: program };
            }
        }
        panic!("no port for redis could be had");
    }

    /// On this port, through a command that may run it elsewhere.
    pub fn run(mut command: Command, room: &Room, port: u16) -> Running {
        let dir = room.directory().display().to_string();
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &dir]);
        command.args(["--port", &port.to_string(), "--maxclients", "4000"]);
        Running::start(&mut command)
    }
}

/// One PING, answered.
pub fn ping(connection: &mut TcpStream) -> std::io::Result<()> {
    connection.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    connection.read_exact(&mut answer)?;
    assert_eq!(&answer, b"+PONG\r\n");
    Ok(())
}
