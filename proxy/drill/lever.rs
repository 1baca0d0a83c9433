//! The safety lever: while it is engaged nothing starts. Kept in a file, so that it survives restarts; what can't be read
//! counts as engaged.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Characters of a reason.
pub const REASON: usize = 500;

/// How the lever stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LeverView {
    /// Whether every start is refused.
    pub engaged: bool,
    /// Why it was engaged, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// Who engaged it.
    #[serde(default)]
    pub by: Option<String>,
    /// When: RFC 3339 with milliseconds.
    #[serde(default)]
    pub since: Option<String>,
}

/// The lever of this state directory.
#[derive(Debug)]
pub(crate) struct Lever {
    file: PathBuf,
    now: Mutex<Now>,
    /// Held while the file is written, and never by who engages it.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Now {
    view: LeverView,
    /// How often it was engaged: a release must not undo what came while it was being written down.
    engaged: u64,
}

impl Lever {
    /// As it was left; a file that can't be read is an engaged lever.
    pub(crate) fn open(state: &Path) -> Lever {
        let file = state.join("lever.json");
        let found = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(LeverView::default())
            }
            Err(error) => Err(error.to_string()),
        };
        let unreadable = |why| LeverView {
            engaged: true,
            reason: Some(format!("{} can't be read: {why}", file.display())),
            ..LeverView::default()
        };
        let now = Now { view: found.unwrap_or_else(unreadable), engaged: 0 };
        Lever { file, now: Mutex::new(now), writing: Mutex::default() }
    }

    pub(crate) fn view(&self) -> LeverView {
        lock(&self.now).view.clone()
    }

    /// Why nothing starts, if it is engaged.
    pub(crate) fn engaged(&self) -> Option<String> {
        let view = self.view();
        view.engaged.then(|| view.reason.unwrap_or_else(|| "no reason was given".into()))
    }

    /// Engages it for this process at once; [`Lever::keep`] makes it last. The first reason stays.
    pub(crate) fn engage(&self, reason: &str, by: &str, since: String) {
        let mut now = lock(&self.now);
        now.engaged += 1;
        if !now.view.engaged {
            now.view =
                LeverView { engaged: true, reason: Some(reason.into()), by: Some(by.into()), since: Some(since) };
        }
    }

    /// Writes down how it stands.
    ///
    /// # Errors
    /// In words: it holds for this process, but may not survive it.
    pub(crate) fn keep(&self) -> Result<(), String> {
        let _one_at_a_time = lock(&self.writing);
        self.write(&self.view())
    }

    /// Releases it, once that is written down.
    ///
    /// # Errors
    /// In words; then it stays engaged.
    pub(crate) fn release(&self) -> Result<(), String> {
        let _one_at_a_time = lock(&self.writing);
        let before = lock(&self.now).engaged;
        self.write(&LeverView::default())?;
        {
            let mut now = lock(&self.now);
            if now.engaged == before {
                now.view = LeverView::default();
                return Ok(());
            }
        }
        self.write(&self.view())?;
        Err("it was engaged again meanwhile".into())
    }

    /// Beside, then renamed: a crash leaves the old word or the new one.
    fn write(&self, view: &LeverView) -> Result<(), String> {
        let beside = self.file.with_extension("new");
        let write = || {
            if let Some(directory) = self.file.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            out.write_all(&serde_json::to_vec(view).map_err(io::Error::other)?)?;
            out.sync_all()?;
            fs::rename(&beside, &self.file)?;
            let directory = self.file.parent().filter(|directory| !directory.as_os_str().is_empty());
            fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| format!("{} can't be written: {error}", self.file.display()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::trial::state;

    #[test]
    fn it_is_as_it_was_left() {
        let state = state();
        let lever = Lever::open(&state);
        assert_eq!(lever.engaged(), None);
        lever.engage("fire", "ann", "now".into());
        lever.engage("again", "bob", "later".into());
        lever.keep().unwrap();
        let again = Lever::open(&state);
        assert_eq!(again.view(), lever.view());
        assert_eq!((again.engaged().as_deref(), again.view().by.as_deref()), (Some("fire"), Some("ann")));
        again.release().unwrap();
        assert_eq!(Lever::open(&state).view(), LeverView::default());
    }

    #[test]
    fn what_cannot_be_read_or_written_stays_engaged() {
        let state = state();
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("lever.json"), "{\"engaged\": fal").unwrap();
        let lever = Lever::open(&state);
        assert!(lever.engaged().unwrap().contains("can't be read"));
        fs::create_dir(state.join("lever.new")).unwrap();
        assert!(lever.release().unwrap_err().contains("can't be written"));
        assert!(lever.engaged().is_some());
        fs::remove_dir(state.join("lever.new")).unwrap();
        lever.release().unwrap();
        assert_eq!(lever.engaged(), None);
    }
}
