//! The state directory: `runs/<id>/` with scenario.json, run.json, ledger.jsonl, events.jsonl, report.json, report.md.
//! Nothing is ever resumed from it. What can't be begun there does not start; later failures to write disturb nothing: they
//! are logged, and the report counts what is missing.

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tracing::warn;

/// A file to add to.
pub(crate) type Appender = Box<dyn Write + Send>;

/// What holds the files of runs. Each call is all or nothing but [`Disk::write`], which a crash may cut short.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Ids of all runs.
    fn runs(&self) -> io::Result<Vec<String>>;
    /// Whether a run has a place.
    fn has(&self, id: &str) -> bool;
    /// Gives a run a place, if it has none.
    fn make(&self, id: &str) -> io::Result<()>;
    /// A whole file of a run.
    fn read(&self, id: &str, file: &str) -> io::Result<Vec<u8>>;
    /// A file with this content, which may be there in part until this returns.
    fn write(&self, id: &str, file: &str, bytes: &[u8]) -> io::Result<()>;
    /// Another name for a file, in the place of what had that name.
    fn rename(&self, id: &str, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away.
    fn remove(&self, id: &str, file: &str) -> io::Result<()>;
    /// A file to add to.
    fn append(&self, id: &str, file: &str) -> io::Result<Appender>;
    /// Where a run is, for messages.
    fn shown(&self, id: &str) -> String;
}

/// A directory of the file system.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn path(&self, id: &str, file: &str) -> PathBuf {
        self.0.join(id).join(file)
    }
}

impl Disk for Directory {
    fn runs(&self) -> io::Result<Vec<String>> {
        let runs = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            runs => runs?,
        };
        let ids = runs.map(|run| Ok(run?.file_name().into_string().ok()));
        Ok(ids.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }
    fn has(&self, id: &str) -> bool {
        self.0.join(id).exists()
    }
    fn make(&self, id: &str) -> io::Result<()> {
        fs::create_dir_all(self.0.join(id))
    }
    fn read(&self, id: &str, file: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(id, file))
    }
    fn write(&self, id: &str, file: &str, bytes: &[u8]) -> io::Result<()> {
        fs::File::create(self.path(id, file))?.write_all(bytes)
    }
    fn rename(&self, id: &str, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(id, from), self.path(id, to))
    }
    fn remove(&self, id: &str, file: &str) -> io::Result<()> {
        fs::remove_file(self.path(id, file))
    }
    fn append(&self, id: &str, file: &str) -> io::Result<Appender> {
        Ok(Box::new(fs::OpenOptions::new().create(true).append(true).open(self.path(id, file))?))
    }
    fn shown(&self, id: &str) -> String {
        self.0.join(id).display().to_string()
    }
}

/// Where runs are kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
}

impl Store {
    /// The store in a state directory; closes the runs that an earlier process left unfinished.
    pub(crate) fn open(state: &Path, ended: &str) -> Store {
        Store::on(Arc::new(Directory(state.join("runs"))), ended)
    }

    /// The same on any disk.
    pub(crate) fn on(disk: Arc<dyn Disk>, ended: &str) -> Store {
        let store = Store { disk };
        if let Err(error) = store.close_unfinished(ended) {
            warn!("runs in {} could not be read: {error}", store.disk.shown(""));
        }
        store
    }

    /// A file of a run to add to. Makes the run's directory: the first event may come before [`Store::begin`].
    pub(crate) fn append(&self, id: &str, file: &str) -> io::Result<Appender> {
        self.disk.make(id)?;
        self.disk.append(id, file)
    }

    /// Whether this id was used before.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.disk.has(id)
    }

    /// Whether a run of this id has begun, in this process or an earlier one.
    pub(crate) fn has_begun(&self, id: &str) -> bool {
        self.disk.read(id, "run.json").is_ok()
    }

    /// Begins a run's directory: a run that could leave no evidence does not begin.
    ///
    /// # Errors
    /// In words, when it can't be written.
    pub(crate) fn begin(&self, id: &str, scenario: &str, run: &Value) -> Result<(), String> {
        let begin = || {
            self.disk.make(id)?;
            self.replace(id, "scenario.json", scenario.as_bytes())?;
            self.replace(id, "run.json", run.to_string().as_bytes())
        };
        begin().map_err(|error| {
            self.take_back(id);
            format!("its evidence can't be kept in {}: {error}", self.disk.shown(id))
        })
    }

    /// Forgets a run that did not begin; what was told of it stays.
    pub(crate) fn take_back(&self, id: &str) {
        for file in ["scenario.json", "scenario.new", "run.json", "run.new"] {
            let _ = self.disk.remove(id, file);
        }
    }

    /// Keeps a run's report.
    pub(crate) fn finish(&self, id: &str, run: &Value, report: &Value, text: &str) {
        let finish = || {
            let pretty = serde_json::to_vec_pretty(report).map_err(io::Error::other)?;
            self.replace(id, "report.json", &pretty)?;
            self.replace(id, "report.md", text.as_bytes())?;
            self.replace(id, "run.json", run.to_string().as_bytes())
        };
        log(id, finish());
    }

    /// The report of a run of this or an earlier process.
    pub(crate) fn report(&self, id: &str) -> Option<(Value, String)> {
        let plain = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !plain || id.is_empty() {
            return None; // an id is no path
        }
        let report = serde_json::from_slice(&self.disk.read(id, "report.json").ok()?).ok()?;
        Some((report, String::from_utf8(self.disk.read(id, "report.md").ok()?).ok()?))
    }

    /// Written beside and renamed: a reader sees the old file or the new one.
    fn replace(&self, id: &str, file: &str, bytes: &[u8]) -> io::Result<()> {
        let stem = file.split('.').next().unwrap_or(file);
        let beside = format!("{stem}.new");
        self.disk.write(id, &beside, bytes)?;
        self.disk.rename(id, &beside, file)
    }

    fn close_unfinished(&self, ended: &str) -> io::Result<()> {
        for id in self.disk.runs()? {
            let Ok(bytes) = self.disk.read(&id, "run.json") else { continue };
            let Ok(mut run) = serde_json::from_slice::<Value>(&bytes) else { continue };
            if run["over"] != json!(false) || !run.is_object() {
                continue;
            }
            run["over"] = json!(true);
            run["state"] = json!("stopped");
            run["verdict"] = json!("inconclusive");
            run["reason"] = json!("aborted: crash");
            run["ended"] = json!(ended);
            let text = format!(
                "# {id}: inconclusive\n\nsquall ended in mid-run (aborted: crash). Every fault ended with it; what was recorded \
                 until then is in ledger.jsonl and events.jsonl.\n"
            );
            self.finish(&id, &run, &run, &text);
        }
        Ok(())
    }
}

fn log(id: &str, result: io::Result<()>) {
    if let Err(error) = result {
        warn!("run {id} goes on, but could not be written: {error}");
    }
}
