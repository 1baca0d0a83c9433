//! A place of its own for each test: files, runtime directory, commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Ended, Running};

/// A directory that goes with the test.
pub struct Room {
    directory: PathBuf,
}

impl Room {
    pub fn new() -> Room {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // the paths of unix sockets are short, and not only this user's programs go in and out
        let directory = std::env::temp_dir().join(format!("squall-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Room { directory }
    }

    /// A file with this text.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Runs squall to its end.
    pub fn squall<S: AsRef<OsStr>>(&self, args: &[S]) -> Ended {
        Ended::of(&self.command(args).output().unwrap())
    }

    /// Starts squall and leaves it running.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        Running::start(&mut self.command(args))
    }

    /// Starts `squall serve` and waits until its control port is there.
    pub fn serve(&self, args: &[&str]) -> Running {
        let running = self.start(&[&["serve"], args].concat());
        running.wait_for("control ");
        running
    }

    /// Starts `squall serve` in a mount namespace of its own, once `mount` has been carried out there. Fails where the
    /// system gives no such namespace.
    pub fn serve_on(&self, mount: &str, args: &[&str]) -> Running {
        let inside = ["--map-root-user", "--mount", "sh", "-c"];
        let probe = Command::new("unshare").args(inside).arg("mount -t tmpfs none /mnt").stderr(Stdio::null()).status();
        let is_given = probe.is_ok_and(|status| status.success());
        assert!(is_given, "no mount namespace to be had: install util-linux and allow user namespaces");
        let script = format!("{mount} && exec \"$0\" serve \"$@\"");
        let mut command = self.in_here(Command::new("unshare"));
        command.args(inside).arg(script).arg(env!("CARGO_BIN_EXE_squall")).args(args);
        let running = Running::start(&mut command);
        running.wait_for("control ");
        running
    }

    /// A command of squall's.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.in_here(Command::new(env!("CARGO_BIN_EXE_squall")));
        command.args(args);
        command
    }

    fn in_here(&self, mut command: Command) -> Command {
        command.env("XDG_RUNTIME_DIR", &self.directory).env_remove("SQUALL_CONTROL").env_remove("SQUALL_TOKEN");
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
        command
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
