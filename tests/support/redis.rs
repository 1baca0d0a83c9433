//! A Redis of a test's own.

use std::io::{BufRead, BufReader, Read, Write};
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

/// A connection that speaks Redis's protocol (RESP2).
#[derive(Debug)]
pub struct Talk(BufReader<TcpStream>);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Text(String),
    Number(i64),
    Nothing,
    List(Vec<Reply>),
    Error(String),
}

impl Talk {
    pub fn to(address: SocketAddr) -> Talk {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        Talk(BufReader::new(stream))
    }

    #[track_caller]
    pub fn ask(&mut self, words: &[&str]) -> Reply {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        self.reply()
    }

    /// As [`Talk::ask`], for what must be answered with OK.
    #[track_caller]
    pub fn tell(&mut self, words: &[&str]) {
        let reply = self.ask(words);
        assert!(matches!(&reply, Reply::Text(text) if text.starts_with("OK")), "{words:?}: {reply:?}");
    }

    /// A field of INFO.
    #[track_caller]
    pub fn info(&mut self, field: &str) -> String {
        let Reply::Text(info) = self.ask(&["INFO", "replication"]) else { panic!("INFO is a text") };
        let found = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let (kind, rest) = line.trim_end().split_at_checked(1).expect("an answer");
        let length = || usize::try_from(rest.parse::<i64>().unwrap()).ok();
        match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(rest.parse().unwrap()),
            "$" => match length() {
                None => Reply::Nothing,
                Some(length) => {
                    let mut text = vec![0; length + 2];
                    self.0.read_exact(&mut text).unwrap();
                    text.truncate(length);
                    Reply::Text(String::from_utf8(text).unwrap())
                }
            },
            "*" => Reply::List((0..length().unwrap_or(0)).map(|_| self.reply()).collect()),
            _ => panic!("{line:?} is no answer"),
        }
    }
}
