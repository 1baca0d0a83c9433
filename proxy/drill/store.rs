//! The state directory: `runs/<id>/` with scenario.json, run.json, ledger.jsonl, events.jsonl, report.json, report.md.
//! Nothing is ever resumed from it. What can't be begun there does not start; later failures to write disturb nothing: they
//! are logged, and the report counts what is missing.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tracing::warn;

/// Where runs are kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    runs: PathBuf,
}

impl Store {
    /// The store in a state directory; closes the runs that an earlier process left unfinished.
    pub(crate) fn open(state: &Path, ended: &str) -> Store {
        let store = Store { runs: state.join("runs") };
        if let Err(error) = store.close_unfinished(ended) {
            warn!("runs in {} could not be read: {error}", store.runs.display());
        }
        store
    }

    /// A file of a run to add to. Makes the run's directory: the first event may come before [`Store::begin`].
    pub(crate) fn append(&self, id: &str, file: &str) -> io::Result<fs::File> {
        fs::create_dir_all(self.runs.join(id))?;
        fs::OpenOptions::new().create(true).append(true).open(self.path(id, file))
    }

    /// A file of a run.
    fn path(&self, id: &str, file: &str) -> PathBuf {
        self.runs.join(id).join(file)
    }

    /// Whether this id was used before.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.runs.join(id).exists()
    }

    /// Begins a run's directory: a run that could leave no evidence does not begin.
    ///
    /// # Errors
    /// In words, when it can't be written.
    pub(crate) fn begin(&self, id: &str, scenario: &str, run: &Value) -> Result<(), String> {
        let directory = self.runs.join(id);
        let begin = || {
            fs::create_dir_all(&directory)?;
            self.replace(id, "scenario.json", scenario.as_bytes())?;
            self.replace(id, "run.json", run.to_string().as_bytes())
        };
        begin().map_err(|error| {
            for file in ["scenario.json", "scenario.new", "run.new"] {
                let _ = fs::remove_file(self.path(id, file));
            }
            format!("its evidence can't be kept in {}: {error}", directory.display())
        })
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
        let report = serde_json::from_slice(&fs::read(self.path(id, "report.json")).ok()?).ok()?;
        Some((report, fs::read_to_string(self.path(id, "report.md")).ok()?))
    }

    /// Written beside and renamed: a reader sees the old file or the new one.
    fn replace(&self, id: &str, file: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(id, file);
        let beside = path.with_extension("new");
        let mut out = fs::File::create(&beside)?;
        out.write_all(bytes)?;
        drop(out);
        fs::rename(beside, path)
    }

    fn close_unfinished(&self, ended: &str) -> io::Result<()> {
        let runs = match fs::read_dir(&self.runs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            runs => runs?,
        };
        for run in runs {
            let Ok(id) = run?.file_name().into_string() else { continue };
            let Ok(bytes) = fs::read(self.path(&id, "run.json")) else { continue };
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
