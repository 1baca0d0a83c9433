//! Where records go.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::verify::{self, Read};

/// A place for records. Used by one thread.
pub(crate) trait Sink: Send + Debug {
    /// Makes it ready, if it is not, and says where the chain stands; none: it goes on where the caller left it.
    ///
    /// # Errors
    /// In words, with what to do.
    fn ready(&mut self) -> Result<Option<Read>, String>;

    /// Adds a line, or nothing of it as far as that can be.
    ///
    /// # Errors
    /// When it is not there.
    fn append(&mut self, line: &[u8]) -> io::Result<()>;

    /// Has what was added survive a loss of power.
    ///
    /// # Errors
    /// When that can't be told.
    fn sync(&mut self) -> io::Result<()>;

    /// For messages.
    fn name(&self) -> String;
}

/// A file: made with mode 0600, locked for one writer, added to only.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    /// Bytes of whole records.
    length: u64,
    /// A record that was written in part could not be taken back yet.
    dirty: bool,
}

impl LogFile {
    pub(super) fn new(path: PathBuf) -> LogFile {
        LogFile { path, open: None }
    }

    fn is_still_there(&self) -> bool {
        let known = self.open.as_ref().map(|open| open.inode);
        known.is_some() && std::fs::metadata(&self.path).ok().map(|found| found.ino()) == known
    }

    fn open(&mut self) -> Result<Read, String> {
        self.open = None;
        let shown = self.path.display();
        let file = open(&self.path).map_err(|error| format!("{shown}: {error}"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{shown} is being written by another squall: give this one a `state` of its own"));
            }
            Err(TryLockError::Error(error)) => return Err(format!("{shown} can't be locked: {error}")),
        }
        let read = verify::read(BufReader::new(&file), |_, _| ()).map_err(|error| format!("{shown}: {error}"))?;
        if let Some(broken) = &read.broken {
            return Err(format!(
                "{shown} is not what was written, from line {} on: {}. Keep it as evidence under another name (`mv {shown} \
                 {shown}.broken`); squall then begins a new one",
                broken.line, broken.why
            ));
        }
        let inode = file.metadata().map_err(|error| format!("{shown}: {error}"))?.ino();
        self.open = Some(Open { file, inode, length: read.bytes, dirty: read.torn > 0 });
        Ok(read)
    }
}

impl Sink for LogFile {
    fn ready(&mut self) -> Result<Option<Read>, String> {
        let found = if self.is_still_there() { None } else { Some(self.open()?) };
        if let Some(open) = &mut self.open {
            open.clean().map_err(|error| format!("{}: {error}", self.path.display()))?;
        }
        Ok(found)
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.is_still_there() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was moved away"));
        }
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        open.clean()?;
        open.file.write_all(line).inspect_err(|_| {
            open.dirty = true;
            let _ = open.clean(); // again before the next record
        })?;
        open.length += line.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| open.file.sync_data())
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Open {
    /// Takes back what was written in part: a smaller file needs no room.
    fn clean(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::End(0))?;
            self.dirty = false;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(nofollow).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")),
    }
}

/// Standard output: a chain of its own for each process.
#[derive(Debug, Default)]
pub(super) struct StandardOutput {
    begun: bool,
}

impl Sink for StandardOutput {
    fn ready(&mut self) -> Result<Option<Read>, String> {
        Ok((!std::mem::replace(&mut self.begun, true)).then(Read::default))
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line)?;
        out.flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        "standard output".into()
    }
}
