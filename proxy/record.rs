//! Writing recordings: exchanges come from a proxy's tap, lose their secrets, and end in a file that a service plays.

mod book;
mod convert;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use squall_core::parse;
use squall_core::recording::{Head, MAX_BYTES};
use squall_core::redact::Redaction;
use squall_core::stamp;
use squall_core::tap::{self, Observed, Tap};
use squall_core::time::Clock;
use squall_wire::SystemClock;

use self::book::{Book, Limits};
use crate::exit::Failure;

/// Exchanges that wait to be written down.
const WAITING: usize = 1024;
/// Bytes of bodies that are held at one moment.
const HELD: usize = 64 << 20;
/// The smallest file: what a head and the routes may take, and as much for exchanges.
const LEAST: u64 = 2 * book::AROUND;
/// How long the recorder waits before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// What is written down.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Who is asked, if it is one: `https://host`.
    pub(crate) upstream: Option<String>,
    /// Fields whose values are kept, besides those that say nothing about who asks.
    pub(crate) keep_header: Vec<String>,
    /// Patterns of secrets besides those that squall knows.
    pub(crate) redact: Vec<String>,
    /// Bytes kept of each body.
    pub(crate) body: u64,
    /// The most exchanges.
    pub(crate) exchanges: usize,
    /// The longest file, bytes.
    pub(crate) size: u64,
}

/// What has become of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Exchanges in the file.
    pub(crate) exchanges: usize,
    /// Routes with a latency.
    pub(crate) routes: usize,
    /// What was left out, in words.
    pub(crate) left_out: Vec<String>,
}

/// Writes down what comes through its tap.
pub(crate) struct Recorder {
    file: PathBuf,
    tap: Arc<Tap>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Book>,
    head: Head,
}

impl Recorder {
    /// Begins. Nothing is written before [`Recorder::finish`].
    ///
    /// # Errors
    /// What is wrong with the options, or a file of this name that is no recording: it would be lost.
    pub(crate) fn start(file: &Path, options: Options) -> Result<Recorder, Failure> {
        replaceable(file)?;
        let redaction = Redaction::new(&options.keep_header, &options.redact).map_err(Failure::input)?;
        if !(LEAST..=MAX_BYTES).contains(&options.size) {
            return Err(Failure::input(format!("a recording has between {LEAST} and {MAX_BYTES} bytes")));
        }
        let body = usize::try_from(options.body.min(options.size)).unwrap_or(usize::MAX);
        let (tap, from) = Tap::new(tap::Limits { waiting: WAITING, body, held: HELD });
        let limits = Limits { exchanges: options.exchanges, size: options.size };
        let book = Book::new(redaction, limits, SystemClock::mono());
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        let thread = std::thread::Builder::new().name("squall-recorder".into());
        let thread = thread.spawn(move || take(book, &from, &ends));
        let thread = thread.map_err(|error| Failure::input(format!("nobody writes the recording: {error}")))?;
        let recorded = Some(stamp::rfc3339(SystemClock.wall(), 0));
        let head = Head { upstream: options.upstream, recorded, left_out: Vec::new() };
        Ok(Recorder { file: file.to_owned(), tap, over, thread, head })
    }

    /// What a proxy's exchanges are to go to.
    pub(crate) fn tap(&self) -> Arc<Tap> {
        self.tap.clone()
    }

    /// Writes the file, once what is to be in it is over.
    ///
    /// # Errors
    /// There is nothing to write, or it can't be written.
    pub(crate) fn finish(self) -> Result<Summary, Failure> {
        self.over.store(true, Ordering::Release);
        let book = self.thread.join().map_err(|_| Failure::input("the recorder has failed: nothing is written"))?;
        let (text, summary) = book.finish(self.head, self.tap.lost());
        if summary.exchanges == 0 {
            let why = "nothing was recorded: no HTTP exchange came through";
            let left_out: String = summary.left_out.iter().map(|words| format!("; left out: {words}")).collect();
            return Err(Failure::input(format!("{why}{left_out}")));
        }
        write(&self.file, &text).map_err(|error| Failure::input(format!("{}: {error}", self.file.display())))?;
        Ok(summary)
    }
}

fn take(mut book: Book, from: &Receiver<Observed>, over: &AtomicBool) -> Book {
    loop {
        match from.recv_timeout(LOOK) {
            Ok(observed) => book.take(observed),
            Err(RecvTimeoutError::Timeout) if !over.load(Ordering::Acquire) => {}
            Err(_) => return book,
        }
    }
}

/// Whether a file of this name may be written over.
fn replaceable(file: &Path) -> Result<(), Failure> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(text) if text.is_empty() || parse::is_recording(&text) => Ok(()),
        Ok(_) => Err(Failure::input(format!("{} is there already, and is no recording", file.display()))),
        Err(error) => Err(Failure::input(format!("{}: {error}", file.display()))),
    }
}

/// Puts a file in its place in one step, for this user only: what nobody has looked through is not for others.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = file.with_file_name(name);
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(&beside);
    let written = made.and_then(|mut to| to.write_all(text.as_bytes())).and_then(|()| fs::rename(&beside, file));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}
