//! The file: written whole or not at all, for its owner's eyes only, read anew when it has changed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{ROOM, Shared, Tokens};

/// Bytes that are read of it at most.
const LARGEST: u64 = 1 << 20;

/// A token file in use.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    tokens: RwLock<Shared>,
    seen: Mutex<Option<Seen>>,
}

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl TokenFile {
    /// Reads it. Errors: it is not there, others may read or write it, or it is no token file.
    pub fn open(path: &Path) -> Result<TokenFile, String> {
        let (tokens, seen) = read(path)?
            .ok_or_else(|| format!("{}: there is no such file; `squall token make` makes it", path.display()))?;
        Ok(TokenFile { path: path.to_owned(), tokens: RwLock::new(tokens.into()), seen: Mutex::new(Some(seen)) })
    }

    /// What is in force.
    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads it anew if it has changed; touches the disk. A file that is gone lets nobody in. Errors: it can't be taken as
    /// it is now, and what was in force stays.
    pub fn refresh(&self) -> Result<bool, String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = fs::metadata(&self.path).ok().map(|found| Seen::of(&found));
        if now == *seen {
            return Ok(false);
        }
        *seen = now; // said once, not with every look
        let (tokens, read_as) = read(&self.path)?.map_or_else(Default::default, |(tokens, seen)| (tokens, Some(seen)));
        *seen = read_as;
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
        Ok(true)
    }
}

impl Seen {
    fn of(found: &fs::Metadata) -> Seen {
        Seen { inode: found.ino(), length: found.len(), changed: (found.ctime(), found.ctime_nsec()) }
    }
}

/// Changes the file under a lock: what `act` leaves is written beside it and put in its place, mode 0600. A file that is
/// not there is made. Errors: in words; then nothing has changed.
pub fn change<T>(path: &Path, act: impl FnOnce(&mut Tokens) -> Result<T, String>) -> Result<T, String> {
    let wrong = |error: io::Error| format!("{}: {error}", path.display());
    let beside = |suffix: &str| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.{suffix}"))
    };
    let lock = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(beside("lock"));
    let lock = lock.map_err(wrong)?;
    lock.lock().map_err(wrong)?; // others wait: two that write would lose one
    let mut tokens = read(path)?.map(|(tokens, _)| tokens).unwrap_or_default();
    let done = act(&mut tokens)?;
    let fresh = beside("new");
    let put = || {
        let _ = fs::remove_file(&fresh); // left behind by a crash
        let mut to = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
        to.write_all(tokens.text().as_bytes())?;
        to.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?.sync_all()
    };
    put().map_err(wrong)?;
    Ok(done)
}

/// None: it is not there.
fn read(path: &Path) -> Result<Option<(Tokens, Seen)>, String> {
    let wrong = |why: &str| format!("{}: {why}", path.display());
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(|error| wrong(&error.to_string()))?,
    };
    if !found.is_file() {
        return Err(wrong("this is not a file")); // looked at first: to open a pipe may take for ever
    }
    let file = File::open(path).map_err(|error| wrong(&error.to_string()))?;
    let found = file.metadata().map_err(|error| wrong(&error.to_string()))?;
    if found.mode() & 0o077 != 0 {
        return Err(wrong("others may read or write it: `chmod 600` it"));
    }
    let mut text = String::new();
    let read = file.take(LARGEST + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(&error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(wrong(&format!("too large for {ROOM} tokens")));
    }
    let tokens = Tokens::parse(&text).map_err(|why| wrong(&why))?;
    Ok(Some((tokens, Seen::of(&found))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Refused, Wanted};
    use super::*;
    use squall_core::who::Role;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, UNIX_EPOCH};

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("squall-tokens-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn wanted(name: &str) -> Wanted {
        let (groups, scope) = Default::default();
        Wanted { name: name.into(), role: Role::Viewer, groups, scope, lasts: Duration::from_secs(60) }
    }

    #[test]
    fn it_is_read_anew_when_it_changes_and_stays_when_it_breaks() {
        let room = directory("anew");
        let path = room.join("tokens.toml");
        assert!(TokenFile::open(&path).unwrap_err().contains("squall token make"));
        let (_, secret) = change(&path, |tokens| tokens.make(wanted("a"), UNIX_EPOCH)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let file = TokenFile::open(&path).unwrap();
        assert!(file.tokens().verify(secret.text(), UNIX_EPOCH).is_ok());
        assert_eq!(file.refresh(), Ok(false));
        change(&path, |tokens| tokens.revoke("a", UNIX_EPOCH)).unwrap();
        assert_eq!(file.refresh(), Ok(true));
        assert_eq!(file.tokens().verify(secret.text(), UNIX_EPOCH), Err(Refused::Revoked));
        fs::write(&path, "[[token]]\nid = 5\n").unwrap();
        assert!(file.refresh().is_err());
        assert_eq!(file.refresh(), Ok(false), "said once");
        assert_eq!(file.tokens().all.len(), 1, "what was in force stays");
        fs::remove_file(&path).unwrap();
        assert_eq!(file.refresh(), Ok(true));
        assert!(file.tokens().all.is_empty(), "a file that is gone lets nobody in");
        fs::remove_dir_all(room).unwrap();
    }

    #[test]
    fn those_who_write_at_once_lose_nothing() {
        let room = directory("at-once");
        let path = room.join("tokens.toml");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || change(path, |tokens| tokens.make(wanted(&n.to_string()), UNIX_EPOCH)).unwrap());
            }
        });
        assert_eq!(TokenFile::open(&path).unwrap().tokens().all.len(), 8);
        fs::remove_dir_all(room).unwrap();
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let room = directory("open");
        let path = room.join("tokens.toml");
        change(&path, |tokens| tokens.make(wanted("a"), UNIX_EPOCH)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(TokenFile::open(&path).unwrap_err().contains("chmod 600"));
        fs::remove_dir_all(room).unwrap();
    }
}
