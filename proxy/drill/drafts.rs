//! Experiments that wait for approvals, kept so that a restart loses neither them nor who has agreed: a file for each in
//! `drafts/` of the state directory, written beside and renamed before anybody is told that it counts. Their digest is
//! computed anew from what is in the file: a file that says something else than it did is nobody's approval.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use squall_core::who::Identity;
use tracing::warn;

use crate::approve::{Approval, Consents};
use crate::book::Entry;

/// Bytes of a file that is read: more than any scenario that the control port takes.
const LARGEST: u64 = 8 << 20;

/// The drafts of a state directory.
#[derive(Clone, Debug)]
pub(crate) struct Drafts {
    directory: PathBuf,
}

/// What is kept of a draft.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) seed: u64,
    pub(crate) digest: String,
    /// Its canonical form.
    pub(crate) scenario: String,
    pub(crate) submitted: Identity,
    pub(crate) approvals: Vec<Approval>,
}

impl Kept {
    pub(crate) fn of(entry: &Entry, consents: &Consents) -> Kept {
        Kept {
            id: entry.id.to_string(),
            seed: entry.seed,
            digest: entry.checked.digest.clone(),
            scenario: entry.checked.canonical.clone(),
            submitted: consents.submitted.clone(),
            approvals: consents.approvals.clone(),
        }
    }
}

impl Drafts {
    pub(crate) fn of(state: &Path) -> Drafts {
        Drafts { directory: state.join("drafts") }
    }

    /// Keeps a draft as it is now. Takes a disk's time.
    ///
    /// # Errors
    /// In words: what was kept before still is.
    pub(crate) fn keep(&self, kept: &Kept) -> Result<(), String> {
        let (file, beside) = (self.file(&kept.id), self.directory.join(format!("{}.new", kept.id)));
        let keep = || {
            fs::create_dir_all(&self.directory)?;
            let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            out.write_all(&serde_json::to_vec(kept).map_err(io::Error::other)?)?;
            out.sync_all()?;
            fs::rename(&beside, &file)?;
            fs::File::open(&self.directory)?.sync_all()
        };
        keep().map_err(|error: io::Error| format!("{} can't be written: {error}", file.display()))
    }

    /// It is no draft any more.
    pub(crate) fn forget(&self, id: &str) {
        if let Err(error) = fs::remove_file(self.file(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!("the draft {id} could not be taken away: {error}");
        }
    }

    /// All that are kept, by id; those that can't be read are left alone and logged.
    pub(crate) fn all(&self) -> Vec<Kept> {
        let Ok(files) = fs::read_dir(&self.directory) else { return Vec::new() };
        let files = files.filter_map(|file| Some(file.ok()?.path()));
        let mut all: Vec<Kept> = files
            .filter(|file| file.extension().is_some_and(|of| of == "json"))
            .filter_map(|file| {
                let read = read(&file).inspect_err(|why| warn!("the draft {} is left alone: {why}", file.display()));
                read.ok()
            })
            .collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }
}

fn read(file: &Path) -> Result<Kept, String> {
    if fs::metadata(file).map_err(|error| error.to_string())?.len() > LARGEST {
        return Err("it is too large".into());
    }
    let kept: Kept = serde_json::from_slice(&fs::read(file).map_err(|error| error.to_string())?)
        .map_err(|error| error.to_string())?;
    match file.file_stem().and_then(|stem| stem.to_str()) == Some(&*kept.id) {
        true => Ok(kept),
        false => Err("it is another one's".into()),
    }
}
