//! Evidence: every injection goes to a run's ledger.jsonl, and its figures into bounded histograms. One thread does all
//! writing, off every path that traffic or an abort takes.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use squall_core::fault::What;
use squall_core::observe::Record;
use squall_core::plan::FaultRef;
use squall_core::time::{MILLI, Time};
use tracing::warn;

use crate::compile::Actives;
use crate::stamp::Anchor;
use crate::store::{Appender, Store};

/// Lines that one run's ledger takes; the counts beyond stay exact.
const MAX_LINES: u64 = 4_000_000;
/// Values above 2^60 (36 years in ns) count as that.
const MAX_VALUE: u64 = 1 << 60;
/// Fewer delays than this say nothing about accuracy.
const MIN_DELAYS: u64 = 20;

/// What a run's injections came to.
#[derive(Debug)]
pub(crate) struct Evidence {
    anchor: Anchor,
    /// Nothing was done: what was achieved says nothing.
    observed: bool,
    /// Why what a fault does is only near to what it stands for, where that is so.
    approximated: Vec<(Arc<FaultRef>, &'static str)>,
    values: Mutex<BTreeMap<(Arc<str>, &'static str), Values>>,
    seen: AtomicU64,
    unwritten: AtomicU64,
}

/// Values of one fault and effect.
#[derive(Clone, Debug, Default)]
struct Values {
    is_time: bool,
    released: u64,
    drawn: Spread,
    scheduled: Spread,
    achieved: Spread,
    error: Spread,
    early: u64,
}

/// Figures in bounded memory: quantiles to three digits. None: nothing yet.
#[derive(Clone, Debug, Default)]
struct Spread(Option<hdrhistogram::Histogram<u64>>);

impl Spread {
    fn add(&mut self, value: u64) {
        if self.0.is_none() {
            self.0 = hdrhistogram::Histogram::new(3).ok();
        }
        if let Some(histogram) = &mut self.0 {
            let _ = histogram.record(value.min(MAX_VALUE)); // it grows as far as that
        }
    }

    fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }

    fn quantile(&self, quantile: f64) -> Option<u64> {
        let histogram = self.0.as_ref()?;
        Some(histogram.value_at_quantile(quantile).clamp(histogram.min(), histogram.max()))
    }

    /// Times in µs with their fraction, anything else as it is.
    #[allow(clippy::cast_precision_loss)]
    fn report(&self, is_time: bool) -> Value {
        let show = |value: u64| if is_time { json!(value as f64 / 1e3) } else { json!(value) };
        let at = |quantile| self.quantile(quantile).map(show);
        json!({ "p50": at(0.5), "p99": at(0.99), "max": self.quantile(1.0).map(show) })
    }
}

impl Evidence {
    pub(crate) fn new(anchor: Anchor, actives: &Actives, observed: bool) -> Evidence {
        let actives = actives.iter().flatten();
        let approximated = actives.filter_map(|active| Some((active.name.clone(), active.fault.approximated()?)));
        Evidence {
            anchor,
            observed,
            approximated: approximated.collect(),
            values: Mutex::default(),
            seen: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
        }
    }

    /// Records taken in.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Records taken in that are not in the file: the limit, or a failure to write.
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Takes a record's figures in.
    pub(crate) fn take(&self, record: &Record) {
        let injection = &record.injection;
        let (what, is_time) = name(injection.what);
        let mut values = self.lock();
        let values = values.entry((record.fault.fault.clone(), what)).or_default();
        values.is_time = is_time;
        if record.released {
            values.released += 1; // cut short: it says nothing about accuracy
        } else {
            values.drawn.add(injection.drawn);
            values.scheduled.add(injection.scheduled);
        }
        if !record.released && !self.observed {
            values.achieved.add(injection.achieved);
            values.error.add(injection.achieved.abs_diff(injection.scheduled));
            values.early += u64::from(injection.achieved < injection.scheduled);
        }
        self.seen.fetch_add(1, Ordering::Release);
    }

    /// Delays whose achieved values were too far off: the 99th percentile of |achieved − scheduled| beyond 5 ms and
    /// beyond 5 % of the median scheduled.
    pub(crate) fn inaccurate(&self) -> Vec<String> {
        let judge = |((fault, what), values): (&(Arc<str>, &'static str), &Values)| {
            let (error, median) = (values.error.quantile(0.99)?, values.scheduled.quantile(0.5)?);
            let allowed = (5 * MILLI).max(median / 20);
            let off = *what == "delayed" && values.error.len() >= MIN_DELAYS && error > allowed;
            off.then(|| {
                format!(
                    "fault `{fault}`: 1 % of its delays were off by {} or more, allowed are {}",
                    ms(error),
                    ms(allowed)
                )
            })
        };
        self.lock().iter().filter_map(judge).collect()
    }

    /// The values of one fault for the report, by effect. Times in µs, the rest in the unit of the effect.
    pub(crate) fn of(&self, fault: &str) -> Vec<Value> {
        let values = self.lock();
        let own = values.iter().filter(|((name, _), _)| &**name == fault);
        own.map(|((_, what), values)| values.report(what)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Arc<str>, &'static str), Values>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, record: &Record) -> Value {
        let injection = &record.injection;
        let mut line = json!({
            "experiment": record.fault.experiment, "fault": record.fault.fault, "kind": record.fault.kind,
            "proxy": record.fault.proxy, "ordinal": record.ordinal, "request": record.request, "unit": record.unit,
            "client": record.client.map(|client| client.to_string()), "flow": record.flow,
            "what": name(injection.what).0, "step": injection.step, "draw": injection.draw, "drawn": injection.drawn,
            "scheduled": injection.scheduled, "achieved": injection.achieved, "released": record.released,
            "time": self.anchor.show(record.at),
        });
        if self.observed {
            line["observed"] = json!(true);
        }
        let same = |(name, _): &&(Arc<FaultRef>, _)| Arc::ptr_eq(name, &record.fault);
        if let Some((_, why)) = self.approximated.iter().find(same) {
            line["approximated"] = json!(why);
        }
        line
    }
}

impl Values {
    fn report(&self, what: &str) -> Value {
        json!({
            "what": what, "unit": match what { _ if self.is_time => "us", "vanished" => "packets", "replied" | "unheard" => "status", "patched" => "messages", "limited" => "requests", "redelivered" => "times", _ => "bytes" }, "count": self.drawn.len() + self.released,
            "cut_short": self.released, "drawn": self.drawn.report(self.is_time),
            "scheduled": self.scheduled.report(self.is_time), "achieved": self.achieved.report(self.is_time),
            "error": self.error.report(self.is_time), "early": self.early,
        })
    }
}

/// An effect's word, and whether its figures are times.
fn name(what: What) -> (&'static str, bool) {
    match what {
        What::Delayed => ("delayed", true),
        What::Paced => ("paced", true),
        What::Held => ("held", false),
        What::Swallowed => ("swallowed", false),
        What::Corrupted => ("corrupted", false),
        What::Answered => ("answered", false),
        What::Inserted => ("inserted", false),
        What::Sliced => ("sliced", false),
        What::Closed => ("closed", false),
        What::Reset => ("reset", false),
        What::Stalled => ("stalled", false),
        What::Refused => ("refused", false),
        What::Vanished => ("vanished", false),
        What::Dropped => ("dropped", false),
        What::Duplicated => ("duplicated", false),
        What::Truncated => ("truncated", false),
        What::Unresolved => ("unresolved", false),
        What::Queued => ("queued", true),
        What::Alerted => ("alerted", false),
        What::Flawed => ("flawed", false),
        What::Unlistened => ("unlistened", false),
        What::Down => ("down", true),
        What::Replied => ("replied", false),
        What::Patched => ("patched", false),
        What::Redelivered => ("redelivered", false),
        What::Unheard => ("unheard", false),
        What::Limited => ("limited", false),
    }
}

#[allow(clippy::cast_precision_loss)]
fn ms(ns: Time) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}

/// The runs whose evidence is being taken.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<HashMap<Arc<str>, Arc<Evidence>>>);

impl Runs {
    pub(crate) fn insert(&self, id: Arc<str>, evidence: Arc<Evidence>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, evidence);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Evidence>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

/// What the writing thread is told besides the ledger.
#[derive(Debug)]
pub(crate) enum Note {
    /// A line for a run's events.jsonl.
    Event(Arc<str>, String),
    /// The run is over: flush and forget its files, then answer.
    Close(Arc<str>, SyncSender<()>),
}

/// The writing thread's work; ends when the engine is gone.
pub(crate) fn write(
    store: &Store,
    ledger: &Receiver<Vec<Record>>,
    notes: &Receiver<Note>,
    find: impl Fn(&str) -> Option<Arc<Evidence>>,
) {
    let mut files: HashMap<Arc<str>, Files> = HashMap::new();
    let mut is_open = true;
    loop {
        if is_open {
            match ledger.recv_timeout(Duration::from_millis(20)) {
                Ok(records) => take(store, &find, &mut files, &records),
                // a run that came to no proper end has left its files open
                Err(RecvTimeoutError::Timeout) => files.retain(|id, files| {
                    files.flush();
                    find(id).is_some()
                }),
                Err(RecvTimeoutError::Disconnected) => is_open = false,
            }
        }
        loop {
            // without a ledger there are only notes to wait for
            let note = match is_open {
                true => notes.try_recv().map_err(|error| error == std::sync::mpsc::TryRecvError::Disconnected),
                false => notes.recv().map_err(|_| true),
            };
            match note {
                Ok(Note::Event(id, line)) if find(&id).is_some() => Files::of(&mut files, store, &id).event(&line),
                // before the start and after the end no file stays open: nobody would close it
                Ok(Note::Event(id, line)) => Files::events_alone(store, &id).event(&line),
                Ok(Note::Close(id, done)) => {
                    files.remove(&id).iter_mut().for_each(Files::flush);
                    let _ = done.try_send(());
                }
                Err(true) => return,
                Err(false) => break,
            }
        }
    }
}

fn take(
    store: &Store,
    find: &impl Fn(&str) -> Option<Arc<Evidence>>,
    files: &mut HashMap<Arc<str>, Files>,
    records: &[Record],
) {
    for record in records {
        let id = &record.fault.experiment;
        let Some(evidence) = find(id) else { continue };
        let line = evidence.line(record).to_string();
        Files::of(files, store, id).record(&line, &evidence);
        evidence.take(record);
    }
}

/// The open files of one run; none: they could not be opened, which was said once.
struct Files {
    ledger: Option<BufWriter<Appender>>,
    events: Option<Appender>,
    lines: u64,
    /// Lines that may still be in the buffer, and whose they are.
    pending: u64,
    of: Option<Arc<Evidence>>,
}

impl Files {
    fn of<'a>(files: &'a mut HashMap<Arc<str>, Files>, store: &Store, id: &Arc<str>) -> &'a mut Files {
        files.entry(id.clone()).or_insert_with(|| Files {
            ledger: Files::open(store, id, "ledger.jsonl").map(BufWriter::new),
            ..Files::events_alone(store, id)
        })
    }

    fn events_alone(store: &Store, id: &str) -> Files {
        Files { ledger: None, events: Files::open(store, id, "events.jsonl"), lines: 0, pending: 0, of: None }
    }

    fn open(store: &Store, id: &str, file: &str) -> Option<Appender> {
        let opened = store.append(id, file);
        opened.inspect_err(|error| warn!("run {id} goes on, but its {file} can not be written: {error}")).ok()
    }

    fn event(&mut self, line: &str) {
        if let Some(events) = &mut self.events {
            let _ = writeln!(events, "{line}");
        }
    }

    /// Counts it as unwritten until it is in the file.
    fn record(&mut self, line: &str, evidence: &Arc<Evidence>) {
        self.lines += 1;
        evidence.unwritten.fetch_add(1, Ordering::Relaxed);
        let Some(ledger) = self.ledger.as_mut().filter(|_| self.lines <= MAX_LINES) else { return };
        if writeln!(ledger, "{line}").is_ok() {
            self.pending += 1;
            self.of.get_or_insert_with(|| evidence.clone());
        }
    }

    fn flush(&mut self) {
        let (Some(ledger), Some(evidence)) = (&mut self.ledger, &self.of) else { return };
        if ledger.flush().is_ok() {
            evidence.unwritten.fetch_sub(std::mem::take(&mut self.pending), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_exact_to_three_digits() {
        let mut spread = Spread::default();
        assert_eq!(spread.report(false), json!({"p50": null, "p99": null, "max": null}));
        (0..100).for_each(|_| spread.add(1_024));
        assert_eq!(spread.report(false), json!({"p50": 1_024, "p99": 1_024, "max": 1_024}));
        assert_eq!(spread.report(true)["p50"], json!(1.024));
        spread.add(u64::MAX);
        assert_eq!(spread.quantile(1.0), spread.quantile(0.999), "what is too large counts as the largest");
        let mut none = Spread::default();
        none.add(0);
        assert_eq!(none.quantile(0.99), Some(0), "an error of nothing is not one of a bucket's width");
    }
}
