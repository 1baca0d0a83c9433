//! Where a control port is: how it is written, and the file through which clients of the same user find it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a control port listens or is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `host:port`, also written `http://host:port`.
    Tcp(String),
    /// `https://host:port`
    Tls(String),
    /// `unix:PATH`
    Unix(PathBuf),
}

impl Place {
    /// The place of a listening socket.
    pub fn of(address: SocketAddr) -> Place {
        Place::Tcp(address.to_string())
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let expected = || {
            format!(
                "`{text}` is not a control port: expected `address:port`, `http://host:port`, `https://host:port` or `unix:PATH`"
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            return if path.is_empty() { Err(expected()) } else { Ok(Place::Unix(PathBuf::from(path))) };
        }
        let secure = text.strip_prefix("https://");
        let address = secure.or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let address = address.strip_suffix('/').unwrap_or(address);
        let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
        let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() || bare_v6 || host.contains(['/', '@', ' ']) || port.parse::<u16>().is_err() {
            return Err(expected());
        }
        Ok(if secure.is_some() { Place::Tls(address.to_owned()) } else { Place::Tcp(address.to_owned()) })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(f, "http://{address}"),
            Place::Tls(address) => write!(f, "https://{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The file that names the control port of this user's squall: `$XDG_RUNTIME_DIR/squall/control`, or `squall-UID/control`
/// under the directory for temporary files.
pub fn file() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => PathBuf::from(dir).join("squall/control"),
        None => std::env::temp_dir().join(format!("squall-{}/control", rustix::process::getuid().as_raw())),
    }
}

/// The published place in `file`; none if no squall has published one. An error if somebody else could have written it.
pub fn published(file: &Path) -> Result<Option<Place>, String> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(None) };
    if let Some(dir) = file.parent() {
        check_owner(dir).map_err(|e| e.to_string())?;
    }
    text.trim().parse().map(Some)
}

/// Puts back what it found when it is dropped, unless another squall has put its own there since.
#[derive(Debug)]
pub struct Published {
    file: PathBuf,
    place: Place,
    before: Option<Place>,
}

/// Writes `place` into `file`, readable by this user only. The latest squall wins until it ends: a drill beside a
/// running `squall serve` gives the place back.
pub fn publish(file: PathBuf, place: Place) -> io::Result<Published> {
    let dir = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => check_owner(dir)?,
    }
    let before = published(&file).ok().flatten();
    replace(&file, &place)?;
    Ok(Published { file, place, before })
}

/// Written beside and renamed: a reader sees the old place or the new one.
fn replace(file: &Path, place: &Place) -> io::Result<()> {
    let fresh = file.with_extension(std::process::id().to_string());
    let _ = std::fs::remove_file(&fresh);
    let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    io::Write::write_all(&mut to, format!("{place}\n").as_bytes())?;
    std::fs::rename(&fresh, file)
}

impl Drop for Published {
    fn drop(&mut self) {
        if published(&self.file).ok().flatten().as_ref() != Some(&self.place) {
            return;
        }
        let _ = match &self.before {
            Some(before) => replace(&self.file, before),
            None => std::fs::remove_file(&self.file),
        };
    }
}

/// In a directory for temporary files anybody may have made the directory: only one that is ours and that nobody else may
/// write is believed.
fn check_owner(dir: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(dir)?;
    let ours = found.is_dir() && found.uid() == rustix::process::getuid().as_raw() && found.mode() & 0o022 == 0;
    match ours {
        true => Ok(()),
        false => Err(io::Error::other(format!("{} is not a directory that only this user can write", dir.display()))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_read_and_printed() {
        for (text, printed) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("http://localhost:7070/", "http://localhost:7070"),
            ("[::1]:0", "http://[::1]:0"),
            ("https://a:1/", "https://a:1"),
            ("unix:/run/s", "unix:/run/s"),
            ("unix:///run/s", "unix:/run/s"),
            ("unix:s", "unix:s"),
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), printed);
        }
        for text in ["", "unix:", "7070", ":7070", "a:b", "::1:80", "https://a", "http://a:1/v1", "a:70000", "u@h:1"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_latest_wins_and_only_its_own_entry_is_taken_back() {
        let dir = std::env::temp_dir().join(format!("squall-place-{}", std::process::id()));
        let file = dir.join("control");
        let (one, two) = (Place::Tcp("127.0.0.1:1".into()), Place::Tcp("127.0.0.1:2".into()));
        assert_eq!(published(&file), Ok(None));
        let first = publish(file.clone(), one).unwrap();
        let second = publish(file.clone(), two.clone()).unwrap();
        drop(first);
        assert_eq!(published(&file), Ok(Some(two)));
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        drop(second);
        assert_eq!(published(&file), Ok(Some(Place::Tcp("127.0.0.1:1".into()))), "what was there before is back");
        std::fs::remove_file(&file).unwrap();
        std::fs::remove_dir(&dir).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_believed() {
        let dir = std::env::temp_dir().join(format!("squall-open-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&dir, open).unwrap();
        std::fs::write(dir.join("control"), "127.0.0.1:1").unwrap();
        assert!(published(&dir.join("control")).is_err());
        assert!(publish(dir.join("control"), Place::Tcp("127.0.0.1:1".into())).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
