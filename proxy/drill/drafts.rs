//! Experiments that wait for approvals, kept so that a restart loses neither them nor who has agreed: a file for each in
//! `drafts/` of the state directory, written beside and renamed before anybody is told that it counts. Their digest is
//! computed anew from what is in the file: a file that says something else than it did is nobody's approval.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
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
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
            let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            out.write_all(&serde_json::to_vec(kept).map_err(io::Error::other)?)?;
            out.sync_all()?;
            fs::rename(&beside, &file)?;
            fs::File::open(&self.directory)?.sync_all()
        };
        keep().map_err(|error: io::Error| {
            let _ = fs::remove_file(&beside); // half of it is nothing
            format!("{} can't be written: {error}", file.display())
        })
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
    let text = text(file).map_err(|error| error.to_string())?;
    let kept: Kept = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    match file.file_stem().and_then(|stem| stem.to_str()) == Some(&*kept.id) {
        true => Ok(kept),
        false => Err("it is another one's".into()),
    }
}

/// What is in a file that only its owner can have written: an approval in any other is anybody's.
fn text(file: &Path) -> io::Result<Vec<u8>> {
    let found = fs::symlink_metadata(file)?;
    if !found.is_file() {
        return Err(io::Error::other("it is no file")); // and opening a pipe would wait for whoever writes into it
    }
    if found.permissions().mode() & 0o022 != 0 {
        return Err(io::Error::other("others than its owner can write it"));
    }
    let mut text = Vec::new();
    fs::File::open(file)?.take(LARGEST + 1).read_to_end(&mut text)?;
    match text.len() as u64 > LARGEST {
        true => Err(io::Error::other("it is too large")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(id: &str) -> Kept {
        Kept {
            id: id.into(),
            seed: 7,
            digest: "d".into(),
            scenario: "{}".into(),
            submitted: Identity::local(),
            approvals: Vec::new(),
        }
    }

    #[test]
    fn only_files_that_nobody_else_can_write_are_drafts() {
        let state = crate::trial::state();
        let drafts = Drafts::of(&state);
        ["a-1", "b-1", "c-1", "d-1"].into_iter().for_each(|id| drafts.keep(&kept(id)).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&drafts.directory), mode(&drafts.file("a-1"))), (0o700, 0o600));
        fs::set_permissions(drafts.file("b-1"), fs::Permissions::from_mode(0o620)).unwrap();
        fs::rename(drafts.file("c-1"), drafts.file("e-1")).unwrap();
        fs::write(drafts.file("d-1"), vec![b' '; usize::try_from(LARGEST).unwrap() + 1]).unwrap();
        std::os::unix::fs::symlink(drafts.file("a-1"), drafts.file("f-1")).unwrap();
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, drafts.file("g-1"), fifo, mode, 0).unwrap();
        let ids: Vec<String> = drafts.all().into_iter().map(|kept| kept.id).collect();
        assert_eq!(ids, ["a-1"]);
        drafts.forget("a-1");
        assert!(drafts.all().is_empty());
        fs::remove_dir_all(&state).unwrap();
    }
}
