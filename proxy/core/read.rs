//! Reading the files of the language: the only I/O in this crate. Never blocks on a pipe, never reads more than it may.

use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Source};

/// The longest file that is taken, bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// Reads a scenario or configuration. A byte order mark is left out.
///
/// # Errors
/// When there is no such file, it is not a regular file, longer than [`MAX_BYTES`], not UTF-8, or holds a NUL.
#[allow(clippy::result_large_err)] // once per file
pub fn load(path: &Path) -> Result<Arc<Source>, Diagnostic> {
    let name = path.display().to_string();
    let text = bytes(path)
        .and_then(|bytes| text(bytes).map_err(|(why, before)| (why, Some(before))))
        .map_err(|(why, before)| refuse(&name, why, before))?;
    Ok(Arc::new(Source { name, text }))
}

/// Why, and what was readable before the place where it went wrong.
type Refused = (String, Option<String>);

fn refuse(name: &str, why: String, before: Option<String>) -> Diagnostic {
    let text = before.unwrap_or_default();
    let end = text.len();
    let source = Arc::new(Source { name: name.into(), text });
    if end > 0 {
        return Diagnostic::error(why).at(&source, end..end);
    }
    let mut diagnostic = Diagnostic::error(why);
    diagnostic.source = Some(source);
    diagnostic
}

fn bytes(path: &Path) -> Result<Vec<u8>, Refused> {
    let cannot = |error: std::io::Error| (format!("can not read the file: {error}"), None);
    // what it is first: opening a FIFO waits for a writer, opening a device may act on it
    let meta = std::fs::metadata(path).map_err(cannot)?;
    regular(&meta)?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(target_os = "linux")]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, 0o4000); // O_NONBLOCK: it may have become a FIFO
    let file = options.open(path).map_err(cannot)?;
    regular(&file.metadata().map_err(cannot)?)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err((too_long(None), None));
    }
    Ok(bytes)
}

fn regular(meta: &std::fs::Metadata) -> Result<(), Refused> {
    if meta.is_dir() {
        return Err(("this is a directory; name a file".into(), None));
    }
    if !meta.is_file() {
        return Err(("this is not a regular file (a pipe, a socket or a device)".into(), None));
    }
    if meta.len() > MAX_BYTES {
        return Err((too_long(Some(meta.len())), None));
    }
    Ok(())
}

fn too_long(len: Option<u64>) -> String {
    let len = len.map_or(String::new(), |len| format!(" ({len} bytes)"));
    format!("the file is too long{len}: at most {MAX_BYTES} bytes")
}

/// The text of a file or of a request's body.
///
/// # Errors
/// What is wrong, and the text before it, when it is not UTF-8 or holds a NUL.
pub fn text(bytes: Vec<u8>) -> Result<String, (String, String)> {
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()).into_owned();
        (format!("this is not UTF-8: byte {valid} (from 0) is wrong"), before)
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    match text.find('\0') {
        Some(at) => Err((format!("byte {at} (from 0) is NUL, which no text has"), text[..at].into())),
        None => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::result_large_err)]
    use std::fs;

    use super::*;

    /// A directory of its own, gone afterwards.
    struct Place(std::path::PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("squall-read-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Place(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refused(path: &Path) -> String {
        load(path).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_text_file_is_refused_without_waiting() {
        let place = Place::new("kinds");
        let path = place.0.join("x");
        assert!(refused(&path).contains("can not read the file"));
        assert!(refused(&place.0).contains("this is a directory"));
        assert!(refused(Path::new("/dev/zero")).contains("not a regular file"));
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(refused(&path).contains("not a regular file"));
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let place = Place::new("long");
        let path = place.0.join("x");
        fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
        assert!(refused(&path).contains("too long (104857600 bytes): at most 1048576 bytes"));
    }

    #[test]
    fn texts_are_told_from_other_bytes() {
        let place = Place::new("text");
        let path = place.0.join("x");
        let written = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            load(&path)
        };
        assert_eq!(written(b"\xef\xbb\xbfa = 1\r\n").unwrap().text, "a = 1\r\n");
        let error = written(b"a = 1\nb = \"\xff\"").unwrap_err();
        assert!(error.message.contains("not UTF-8"));
        assert_eq!(error.line_column(), Some((2, 6)));
        assert!(written(b"a\0").unwrap_err().message.contains("NUL"));
        assert_eq!(written(b"").unwrap().text, "");
    }
}
