//! Reading a log: every record against the one before.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use super::line::{Head, LEAD, Record};

/// Bytes of one record: fields are bounded, so a longer line is none of squall's.
const MOST: u64 = 64 << 10;

/// A log that was read to its end, or to where it breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Records that are in order.
    pub size: u64,
    /// Hash of the last of them; zeros: there is none.
    pub head: Head,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes behind them that are a record's beginning: whoever wrote it ended in mid-write.
    pub torn: u64,
    /// Where and why it is not what was written; none: it is.
    pub broken: Option<Broken>,
    /// Runs that have a start and no end, with the digest of their plan.
    pub(crate) open: BTreeMap<String, Option<String>>,
}

/// Where a log is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Number of the line, from 1; it should hold the record of that number.
    pub line: u64,
    /// In words.
    pub why: String,
}

/// Reads a log to its end, handing out every record that is in order. Stops where it breaks.
///
/// # Errors
/// When it can't be read.
pub fn read(log: impl BufRead, each: impl FnMut(&Record, Head)) -> io::Result<Read> {
    read_on(Read::default(), log, each)
}

/// Reads what follows what was `read` already.
pub(crate) fn read_on(mut read: Read, log: impl BufRead, mut each: impl FnMut(&Record, Head)) -> io::Result<Read> {
    let mut log = log.take(0);
    let mut line = Vec::new();
    loop {
        line.clear();
        log.set_limit(MOST);
        let length = log.read_until(b'\n', &mut line)? as u64;
        if length == 0 {
            return Ok(read);
        }
        let broken = |why: String| Some(Broken { line: read.size + 1, why });
        let Some(whole) = line.strip_suffix(b"\n") else {
            match length < MOST {
                true => read.torn = length,
                false => read.broken = broken(format!("a line of more than {MOST} bytes is no record")),
            }
            return Ok(read);
        };
        match take(whole, &read) {
            Ok((record, head)) => {
                (read.size, read.head, read.bytes) = (read.size + 1, head, read.bytes + length);
                each(&record, head);
                follow(&mut read.open, record);
            }
            Err(why) => {
                read.broken = broken(why);
                return Ok(read);
            }
        }
    }
}

fn take(line: &[u8], before: &Read) -> Result<(Record, Head), String> {
    let (lead, json) = line.split_at_checked(LEAD).ok_or("it is too short for a record")?;
    let said = std::str::from_utf8(lead).ok().and_then(|lead| lead.strip_suffix(' '));
    let said: Head = said.ok_or("it does not begin with a hash and a space")?.parse()?;
    let head = before.head.next(json);
    let record: Record = serde_json::from_slice(json).map_err(|error| format!("its JSON can't be read: {error}"))?;
    if record.prev != before.head.to_string() {
        return Err(format!("it follows {}, but the record before it is {}", record.prev, before.head));
    }
    if record.seq != before.size + 1 {
        return Err(format!("it is record {}, where {} should be", record.seq, before.size + 1));
    }
    if head != said {
        return Err(format!("its bytes hash to {head}, but it says {said}"));
    }
    Ok((record, head))
}

/// Keeps which runs have begun and not ended.
fn follow(open: &mut BTreeMap<String, Option<String>>, record: Record) {
    let Some(run) = record.object else { return };
    match record.action.as_str() {
        super::START if record.decision == super::Decision::Allow => {
            open.insert(run, record.plan_hash);
        }
        super::END => {
            open.remove(&run);
        }
        _ => {}
    }
}
