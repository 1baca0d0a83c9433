//! `squall wrap` as tests call it.

use std::process::{Command, Stdio};

use crate::support::api::{Api, Says};
use crate::support::{Ended, Room, Running};

/// A room from which nothing of this machine's own proxies and roots is seen.
pub struct Wrap {
    pub room: Room,
    options: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Wrap {
    pub fn new() -> Wrap {
        let room = Room::new();
        let state = room.path("project").display().to_string();
        Wrap { room, options: vec!["--state".into(), state], variables: Vec::new() }
    }

    /// With a stand-in for a host.
    pub fn of(host: &str, api: &Api) -> Wrap {
        Wrap::new().with(&["--map", &format!("{host}={}", api.address)])
    }

    pub fn with(mut self, options: &[&str]) -> Wrap {
        self.options.extend(options.iter().map(|it| (*it).to_owned()));
        self
    }

    pub fn set(mut self, name: &str, value: &str) -> Wrap {
        self.variables.push((name.into(), value.into()));
        self
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let options = self.options.iter().map(String::as_str);
        let mut command = self.room.command(&["wrap"]);
        command.args(options).arg("--").args(words);
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        for name in ["CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "JAVA_TOOL_OPTIONS", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE"] {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a program to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&self.command(words).stdin(Stdio::null()).output().unwrap())
    }

    #[track_caller]
    pub fn start(&self, words: &[&str]) -> Running {
        Running::start(&mut self.command(words))
    }
}

/// A stand-in that says the same to everybody.
pub fn saying(json: &'static str) -> Api {
    Api::answering(move |_| Says::json(json))
}
