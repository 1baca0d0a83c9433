//! The wraps of a project that run now: what `squall env` tells shells, containers and IDEs which are no children.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// How the names of the files begin.
const START: &str = "running-";

/// Says that a wrap runs, for as long as this lives.
#[derive(Debug)]
pub struct Announced(PathBuf);

#[derive(Serialize, Deserialize)]
struct Said {
    variables: Vec<(String, String)>,
}

impl Announced {
    /// In the project's directory.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn new(project: &Path, variables: &[(String, String)]) -> io::Result<Announced> {
        let file = project.join(format!("{START}{}.json", std::process::id()));
        let text = serde_json::to_vec(&Said { variables: variables.to_vec() })?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(&file)?.write_all(&text)?;
        Ok(Announced(file))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _somebody_was_faster = std::fs::remove_file(&self.0);
    }
}

/// The variables of the wrap that was started last and still runs; what is left of others is removed.
pub fn variables(project: &Path) -> Option<Vec<(String, String)>> {
    let entries = std::fs::read_dir(project).ok()?.flatten();
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(START).and_then(|rest| rest.strip_suffix(".json")) else { continue };
        let runs = pid.parse().ok().and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid).is_ok());
        match (runs, entry.metadata().and_then(|meta| meta.modified())) {
            (true, Ok(at)) => found.push((at, entry.path())),
            (true, Err(_)) => {}
            (false, _) => drop(std::fs::remove_file(entry.path())),
        }
    }
    let (_, latest) = found.into_iter().max()?;
    let said: Said = serde_json::from_slice(&std::fs::read(latest).ok()?).ok()?;
    Some(said.variables)
}
