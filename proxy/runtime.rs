//! Where state goes that nobody placed elsewhere: a directory of this process's own, beside the file through which clients
//! find its control port.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The CA's directory in that of the state.
const CA: &str = "ca";

/// A state directory for this process: `state-<pid>` in the runtime directory.
///
/// # Errors
/// When it can not be made, or belongs to somebody else, or others may write to it.
pub(crate) fn own_state() -> io::Result<PathBuf> {
    let ports = squall_control::place::file();
    let runtime = ports.parent().ok_or(io::ErrorKind::NotFound)?;
    let state = runtime.join(format!("state-{}", std::process::id()));
    private(runtime)?;
    private(&state)?;
    Ok(state)
}

/// Where the CA of a state directory is: of none, beside the file through which clients find control ports, for all
/// processes of this user.
///
/// # Errors
/// As for [`own_state`].
pub(crate) fn ca(state: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(state) = state {
        return Ok(state.join(CA));
    }
    let ports = squall_control::place::file();
    let runtime = ports.parent().ok_or(io::ErrorKind::NotFound)?;
    private(runtime)?;
    Ok(runtime.join(CA))
}

/// A directory for this user only that is gone, with all that is in it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Empty: what an earlier process left there is removed.
    ///
    /// # Errors
    /// As for [`own_state`].
    pub(crate) fn new(directory: PathBuf) -> io::Result<Scratch> {
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => private(&directory)?,
        }
        Ok(Scratch(directory))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _others_clear_it_away = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes a directory for this user only, or believes in one that is.
pub(crate) fn private(directory: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let found = std::fs::symlink_metadata(directory)?;
    let ours =
        found.is_dir() && found.uid() == rustix::process::getuid().as_raw() && found.permissions().mode() & 0o022 == 0;
    if ours {
        return Ok(());
    }
    let why = format!("{} belongs to somebody else, or others may write to it", directory.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}
