//! `squall audit verify|show [FILE]`

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use squall_core::config::AuditTo;
use squall_core::time::Clock;
use squall_core::unit;
use squall_drill::audit::{self, Checkpoint, Decision, Head, Read, Record};
use squall_wire::SystemClock;

use super::files;
use super::out::{say, tell};
use crate::exit::{Exit, Failure, Outcome};
use crate::language;
use crate::wiring::audit::read_key;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check every record against the one before. Exit code 0: whole; 1: not what was written, or not what the checkpoint
    /// says; 3: whole but for a torn last record; 2: can't be read
    Verify(Verify),
    /// Print records; exit codes as for `verify`
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The log; else the one of the configuration
    file: Option<PathBuf>,
    /// The configuration that says where the log is
    #[arg(long, value_name = "FILE", default_value = "squall.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Verify {
    #[command(flatten)]
    which: Which,
    /// Hash of record number --size, as a checkpoint has it
    #[arg(long, value_name = "HASH", requires = "size")]
    head: Option<String>,
    /// How many records there were at that time
    #[arg(long, value_name = "N", requires = "head")]
    size: Option<u64>,
    /// A whole checkpoint, as squall printed it or a report has it
    #[arg(long, value_name = "JSON", conflicts_with_all = ["head", "size"])]
    checkpoint: Option<String>,
    /// The key that the checkpoint must be signed with
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    which: Which,
    /// From this time on, as in 2026-11-22T18:45:00Z, or not older than this, as in 1h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Of this actor
    #[arg(long)]
    actor: Option<String>,
    /// With this in their action, as in start or abort
    #[arg(long)]
    action: Option<String>,
    /// The JSON of each record, one a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Outcome {
    match args.command {
        Command::Verify(args) => verify(&args),
        Command::Show(args) => show(&args),
    }
}

fn verify(args: &Verify) -> Outcome {
    let file = args.which.file()?;
    let point = args.point()?;
    let mut found = None;
    let read = read(&file, |record, head| {
        if point.as_ref().is_some_and(|(size, _)| *size == record.seq) {
            found = Some(head);
        }
    })?;
    let exit = told(&file, &read);
    let Some((size, head)) = point.filter(|_| exit != Exit::Refuted) else { return Ok(exit) };
    match found {
        None if size == 0 && head == Head::default() => {}
        None => {
            tell!("it ends before the checkpoint: {} records, there were {size}", read.size);
            return Ok(Exit::Refuted);
        }
        Some(found) if found != head => {
            tell!("record {size} is {found}, the checkpoint says {head}: the log was written anew");
            return Ok(Exit::Refuted);
        }
        Some(_) => {}
    }
    say!("the checkpoint holds: record {size} is {head}");
    Ok(exit)
}

impl Verify {
    /// Size and head that the log must have had.
    fn point(&self) -> Result<Option<(u64, Head)>, Failure> {
        let head = |text: &str| text.parse::<Head>().map_err(|why| Failure::input(format!("--head {text}: {why}")));
        if let (Some(size), Some(text)) = (self.size, &self.head) {
            return Ok(Some((size, head(text)?)));
        }
        let Some(text) = &self.checkpoint else { return Ok(None) };
        let point: Checkpoint =
            serde_json::from_str(text).map_err(|error| Failure::input(format!("--checkpoint: {error}")))?;
        if let Some(key) = &self.key
            && !point.is_signed_with(&read_key("--key", key)?)
        {
            return Err(Failure { exit: Exit::Refuted, message: "the checkpoint is not signed with this key".into() });
        }
        Ok(Some((point.size, head(&point.head)?)))
    }
}

fn show(args: &Show) -> Outcome {
    let file = args.which.file()?;
    let since = args.since.as_deref().map(since).transpose()?;
    let is_wanted = |record: &Record| {
        since.as_ref().is_none_or(|since| record.ts >= *since)
            && args.actor.as_ref().is_none_or(|actor| record.actor == *actor)
            && args.action.as_ref().is_none_or(|action| record.action.contains(action.as_str()))
    };
    let read = read(&file, |record, _| {
        if !is_wanted(record) {
            return;
        }
        match args.json {
            true => say!("{}", serde_json::to_string(record).unwrap_or_default()),
            false => say!("{}", line(record)),
        }
    })?;
    match read.broken.is_some() || read.torn > 0 {
        true => Ok(told(&file, &read)),
        false => Ok(Exit::Done),
    }
}

/// A record for people. Text from outside can't reach the terminal's controls.
fn line(record: &Record) -> String {
    let decision = if record.decision == Decision::Deny { "DENIED " } else { "" };
    let object = record.object.as_ref().map(|object| format!(" {object}")).unwrap_or_default();
    let role = record.role.as_ref().map(|role| format!(" ({role})")).unwrap_or_default();
    let peer = record.peer.as_ref().map(|peer| format!(" from {peer}")).unwrap_or_default();
    let reason = record.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let Record { seq, ts, actor, action, .. } = record;
    let text = format!("{seq:>6} {ts} {actor}{role}{peer} {decision}{action}{object}{reason}");
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The moment from which on records are wanted, as records have it.
fn since(text: &str) -> Result<String, Failure> {
    if let Ok(unit::Duration(ago)) = text.parse() {
        let from = SystemClock.wall().checked_sub(Duration::from_nanos(ago));
        return Ok(from.map(audit::stamp).unwrap_or_default());
    }
    let is_stamp =
        text.len() >= 10 && text.as_bytes()[..4].iter().all(u8::is_ascii_digit) && text.as_bytes()[4] == b'-';
    match is_stamp {
        true => Ok(text.trim_end_matches('Z').to_owned()),
        false => Err(Failure::input(format!("--since {text}: expected a time such as 2026-11-22T18:45:00Z, or 1h"))),
    }
}

/// What was found, and the exit code for it.
fn told(file: &Path, read: &Read) -> Exit {
    let shown = file.display();
    if let Some(broken) = &read.broken {
        tell!("{shown} is not what was written, from line {} on: {}", broken.line, broken.why);
        say!("{} records before that are in order, the last is {}", read.size, read.head);
        return Exit::Refuted;
    }
    say!("{} records are in order, the last is {}", read.size, read.head);
    if read.torn > 0 {
        tell!("{shown}: the last record is torn, {} bytes: squall cuts it off when it begins", read.torn);
        return Exit::Undecided;
    }
    Exit::Done
}

fn read(file: &Path, each: impl FnMut(&Record, Head)) -> Result<Read, Failure> {
    let failed = |error: std::io::Error| Failure::input(format!("{}: {error}", file.display()));
    audit::read(BufReader::new(File::open(file).map_err(failed)?), each).map_err(failed)
}

impl Which {
    fn file(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let (config, _) = language::config(&self.config).map_err(|mistakes| files::refuse(&mistakes))?;
        match (config.audit.to, config.control.state) {
            (AuditTo::File(file), _) => Ok(file),
            (AuditTo::State, Some(state)) => Ok(state.join("audit.log")),
            (AuditTo::State, None) => Err(Failure::input("the configuration has no `state`: say which file")),
            (AuditTo::Stdout | AuditTo::Http(_), _) => Err(Failure::input("this log is in no file: say which one")),
        }
    }
}
