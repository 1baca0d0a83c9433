//! A network of a test's own, in which every port is free. Needs no privilege: it has a user namespace too.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use super::Running;
use super::programs::installed;

/// Lives as long as this value, and no longer than the test: it hangs on a pipe.
#[derive(Debug)]
pub struct Namespace {
    keeper: Running,
}

impl Namespace {
    /// With the loopback interface up.
    pub fn new() -> Namespace {
        let mut command = Command::new(installed("unshare"));
        let script = format!("{} link set lo up && echo up && exec cat", installed("ip").display());
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", &script]).stdin(Stdio::piped());
        let keeper = Running::start(&mut command);
        keeper.wait_for("up");
        Namespace { keeper }
    }

    /// A command that runs in here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(installed("nsenter"));
        let target = self.keeper.pid().as_raw_nonzero().to_string();
        command.args(["--target", &target, "--user", "--net", "--preserve-credentials", "--"]).arg(program);
        command
    }
}
