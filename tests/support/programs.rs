//! Programs besides squall: where they are, and how they run to their end.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Running;

/// What a program printed that must end well, within a minute.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let (code, printed) = run_within(command, Duration::from_secs(60));
    assert_eq!(code, 0, "{command:?}:\n{printed}");
    printed
}

/// Exit code and output of a program that must end in time.
#[track_caller]
pub fn run_within(command: &mut Command, patience: Duration) -> (i32, String) {
    let mut running = Running::start(command.stdin(std::process::Stdio::null()));
    let code = running.code_within(patience);
    (code, running.end().out)
}

/// A program that `tests/run` installs.
#[track_caller]
pub fn installed(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons outside a user's PATH, and the server's tools of each PostgreSQL apart
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.map(|version| version.unwrap().path().join("bin")));
    }
    let found = places.into_iter().map(|place| place.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is missing; tests/run installs it"))
}

/// An address of this machine that nobody uses now. Somebody may take it before the caller does.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
