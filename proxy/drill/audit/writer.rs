//! The thread that writes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use squall_core::time::{SECOND, Time};

use super::line::{Head, Record, bounded};
use super::repeats::Repeats;
use super::sink::Sink;
use super::verify::Read;
use super::{Act, Checkpoint, END, Job, Shared, Stamped};
use crate::stamp::rfc3339;

/// How often a log that can't be written is tried again, and what is due is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A checkpoint is told after so many records, or so long after the first that it does not cover.
const RECORDS: u64 = 64;
const SPAN: Time = 60 * SECOND;
/// Records kept in memory while the log can't be written; the latest are dropped and counted.
const KEPT: usize = 1024;

pub(super) struct Writer {
    sink: Box<dyn Sink>,
    origin: String,
    key: Option<Vec<u8>>,
    shared: Arc<Shared>,
    told: Box<dyn Fn(&str) + Send>,
    boot: String,
    seq: u64,
    head: Head,
    repeats: Repeats,
    /// Records since the last checkpoint, and when the first of them was.
    open: Option<(u64, Time)>,
    /// Records that come before all others, in order.
    owed: VecDeque<Stamped>,
    gap: Option<Gap>,
}

/// Since when, and what, could not be written.
struct Gap {
    since: String,
    kept: VecDeque<Stamped>,
    lost: u64,
}

impl Gap {
    fn told(&self) -> String {
        let Gap { since, kept, lost } = self;
        format!("it could not be written since {since}: {} records of that time follow, {lost} are lost", kept.len())
    }
}

impl Writer {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        origin: String,
        key: Option<Vec<u8>>,
        shared: Arc<Shared>,
        told: Box<dyn Fn(&str) + Send>,
    ) -> Writer {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let (seq, head, repeats, open, owed, gap) = Default::default();
        Writer { sink, origin, key, shared, told, boot, seq, head, repeats, open, owed, gap }
    }

    /// What happens when a log is opened, and nothing else.
    #[cfg(test)]
    pub(super) fn open_only(mut self) -> Result<(), String> {
        self.ready()
    }

    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let _ = self.ready();
        loop {
            match jobs.recv_timeout(LOOK) {
                Ok(job) => self.carry_out(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.shared.clock.now().mono;
            self.note_lost();
            for repeated in self.repeats.due(now, false) {
                let _ = self.write(repeated);
            }
            let _ = self.ready();
            if self.open.is_some_and(|(_, since)| now.saturating_sub(since) >= SPAN) {
                self.tell_checkpoint();
            }
        }
        for repeated in self.repeats.due(0, true) {
            let _ = self.write(repeated);
        }
        if self.open.is_some() {
            self.tell_checkpoint();
        }
    }

    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Write(stamped, None) => drop(self.write(*stamped)),
            Job::Write(stamped, Some(answer)) => {
                let outcome = self.write(*stamped).and_then(|()| self.sink.sync().map_err(|error| self.failed(&error)));
                let _ = answer.try_send(outcome); // who has stopped waiting knows enough
            }
            Job::Often(stamped) => {
                if let Some(first) = self.repeats.take(*stamped) {
                    let _ = self.write(first);
                }
            }
            Job::Try(answer) => drop(answer.try_send(self.ready())),
        }
    }

    /// Records that found no room in the queue leave a gap as well.
    fn note_lost(&mut self) {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let at = self.now();
            self.gap.get_or_insert_with(|| Gap { since: at, kept: VecDeque::new(), lost: 0 }).lost += lost;
        }
    }

    /// Makes the sink ready and writes what is owed to it. After that it can be written.
    fn ready(&mut self) -> Result<(), String> {
        let found = self.sink.ready().map_err(|why| self.fail(why))?;
        if let Some(found) = found {
            self.begin(found);
        }
        self.pay()?;
        if let Some(why) = self.gap.as_ref().map(Gap::told) {
            self.append(self.own("gap", None, why.clone()))?;
            (self.told)(&format!("audit log: {why}"));
            self.owed.extend(self.gap.take().into_iter().flat_map(|gap| gap.kept));
            self.pay()?;
            self.tell_checkpoint();
        }
        *self.shared.failure() = None;
        Ok(())
    }

    /// Goes on where a log ends that was just opened, and owes it what is to be said about that.
    fn begin(&mut self, found: Read) {
        let before = (self.seq > 0).then_some((self.seq, self.head)); // another file is in the old one's place
        (self.seq, self.head) = (found.size, found.head);
        if found.torn > 0 {
            let why =
                format!("{}: the last record was torn: {} bytes of it were cut off", self.sink.name(), found.torn);
            (self.told)(&why);
            self.owed.push_back(self.own("recover", None, why));
        }
        if before == Some((self.seq, self.head)) {
            return; // the same one, back in its place
        }
        if let Some((size, head)) = before {
            let why = format!("the log was moved away while squall ran: it had {size} records, the last is {head}");
            self.owed.push_back(self.own("begin", None, why));
            return;
        }
        self.owed.push_back(self.own("begin", None, format!("squall {} begins", env!("CARGO_PKG_VERSION"))));
        for (run, plan) in found.open {
            let mut closed = self.own(END, Some(&run), "aborted: crash".into());
            closed.act.plan_hash = plan;
            self.owed.push_back(closed);
        }
    }

    fn pay(&mut self) -> Result<(), String> {
        while let Some(stamped) = self.owed.pop_front() {
            if let Err(why) = self.append(stamped.clone()) {
                self.owed.push_front(stamped);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Writes a record, or keeps it for later and says why.
    fn write(&mut self, stamped: Stamped) -> Result<(), String> {
        let sealed = stamped.sealed;
        let outcome = self.ready().and_then(|()| self.append(stamped.clone()));
        if let Err(why) = outcome {
            let gap =
                self.gap.get_or_insert_with(|| Gap { since: rfc3339(stamped.wall, 6), kept: VecDeque::new(), lost: 0 });
            match gap.kept.len() < KEPT {
                true => gap.kept.push_back(stamped),
                false => gap.lost += 1,
            }
            return Err(why);
        }
        if sealed || self.open.is_some_and(|(records, _)| records >= RECORDS) {
            self.tell_checkpoint();
        }
        Ok(())
    }

    fn append(&mut self, stamped: Stamped) -> Result<(), String> {
        let Stamped { act, wall, mono, .. } = stamped;
        let record = Record {
            seq: self.seq + 1,
            ts: rfc3339(wall, 6),
            mono_ns: mono,
            boot_id: self.boot.clone(),
            actor: bounded(act.actor),
            role: act.role.map(bounded),
            peer: act.peer.map(bounded),
            action: bounded(act.action),
            object: act.object.map(bounded),
            plan_hash: act.plan_hash.map(bounded),
            decision: act.decision,
            reason: act.reason.map(bounded),
            prev: self.head.to_string(),
        };
        let (line, head) = record.line(self.head);
        self.sink.append(&line).map_err(|error| self.failed(&error))?;
        (self.seq, self.head) = (record.seq, head);
        let (records, since) = self.open.unwrap_or((0, mono));
        self.open = Some((records + 1, since));
        *self.shared.checkpoint() = Some(self.checkpoint());
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new(&self.origin, self.seq, self.head, self.key.as_deref())
    }

    fn tell_checkpoint(&mut self) {
        self.open = None;
        let _ = self.sink.sync(); // what is told is kept
        (self.told)(&format!("audit checkpoint {}", self.checkpoint()));
    }

    fn failed(&mut self, error: &std::io::Error) -> String {
        self.fail(format!("{}: {error}", self.sink.name()))
    }

    /// Keeps why it can't be written; tells it once.
    fn fail(&mut self, why: String) -> String {
        let why = format!("the audit log can't be written: {why}");
        let mut failure = self.shared.failure();
        if failure.as_ref() != Some(&why) {
            (self.told)(&format!("{why}; nothing starts, traffic goes on"));
            *failure = Some(why.clone());
        }
        why
    }

    fn own(&self, action: &str, object: Option<&str>, why: String) -> Stamped {
        let (wall, mono) = (self.shared.clock.wall(), self.shared.clock.now().mono);
        Stamped { act: Act::own(action, object, why), wall, mono, sealed: false }
    }

    fn now(&self) -> String {
        rfc3339(self.shared.clock.wall(), 6)
    }
}
