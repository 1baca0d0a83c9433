//! A network of a test's own, in which every port is free. Needs no privilege: it has a user namespace too.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use super::Running;
use super::programs::{installed, run};

/// Lives as long as this value, and no longer than the test: it hangs on a pipe.
#[derive(Debug)]
pub struct Namespace {
    keeper: Running,
}

impl Namespace {
    /// With the loopback interface up.
    pub fn new() -> Namespace {
        let mut command = Command::new(installed("unshare"));
        command.args(["--user", "--map-root-user"]);
        Namespace::kept(command)
    }

    /// Another network, of the same owner: an interface can reach from here to there.
    pub fn beside(&self) -> Namespace {
        Namespace::kept(self.command(installed("unshare")))
    }

    fn kept(mut unshare: Command) -> Namespace {
        let script = format!("{} link set lo up && echo up && exec cat", installed("ip").display());
        let keeper = Running::start(unshare.args(["--net", "sh", "-c", &script]).stdin(Stdio::piped()));
        keeper.wait_for("up");
        Namespace { keeper }
    }

    /// The process that holds it open.
    pub fn pid(&self) -> i32 {
        self.keeper.pid().as_raw_nonzero().get()
    }

    /// Runs a script of the shell to its end.
    #[track_caller]
    pub fn run(&self, script: &str) {
        run(self.command("sh").args(["-euc", script]));
    }

    /// A command that runs in here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(installed("nsenter"));
        let target = self.keeper.pid().as_raw_nonzero().to_string();
        command.args(["--target", &target, "--user", "--net", "--preserve-credentials", "--"]).arg(program);
        command
    }
}
