//! The program ends at any moment: every operation on the disk, cut at any byte, is a point at which another one begins.
//!
//! Courses of the engine run on a clock that is moved by hand and on a disk that keeps what was done to it, in order. For
//! each point the disk is put together as it was then, and opened as a new process opens it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use squall_core::config::Safety;
use squall_core::draw::hash;
use squall_core::observe::Ledger;
use squall_core::plane::DataPlane;
use squall_core::time::{Clock, MILLI};
use squall_core::who::Identity;

use super::fakes::{Doubles, HandClock, Plane, state};
use super::{fault, guard, scenario, window};
use crate::audit::{self, Audit, Sink};
use crate::engine::{Engine, Keep, Setup};
use crate::live::Running;
use crate::store::{Appender, Disk, Store};
use crate::view::State;
use squall_core::scenario::{GuardAction, Metric};

/// Points in all, and courses that they are on.
const POINTS: usize = 100_000;
const COURSES: usize = 40;

/// Something done to the disk.
#[derive(Clone, Debug)]
enum Op {
    /// A line of the audit log.
    Log(Arc<[u8]>),
    Write(String, Arc<[u8]>),
    Rename(String, String),
    Remove(String),
}

/// What is on a disk.
#[derive(Clone, Debug, Default)]
struct Content {
    log: Vec<u8>,
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Content {
    /// Carries an operation out, the last one up to `cut` bytes of it.
    fn take(&mut self, op: &Op, cut: Option<usize>) {
        let part = |bytes: &Arc<[u8]>| -> Arc<[u8]> { cut.map_or_else(|| bytes.clone(), |cut| bytes[..cut].into()) };
        match op {
            Op::Log(line) => self.log.extend_from_slice(&part(line)),
            Op::Write(file, bytes) => drop(self.files.insert(file.clone(), part(bytes))),
            Op::Rename(from, to) => {
                let moved = self.files.remove(from).unwrap();
                self.files.insert(to.clone(), moved);
            }
            Op::Remove(file) => drop(self.files.remove(file)),
        }
    }
}

/// A disk in memory that remembers. Runs' own files to add to lead nowhere: nothing is recovered from them.
#[derive(Clone, Debug, Default)]
struct Virtual(Arc<Mutex<(Content, Vec<Op>)>>);

impl Virtual {
    fn of(content: Content) -> Virtual {
        Virtual(Arc::new(Mutex::new((content, Vec::new()))))
    }

    fn act(&self, op: Op) {
        let (content, ops) = &mut *self.0.lock().unwrap();
        content.take(&op, None);
        ops.push(op);
    }

    fn content(&self) -> Content {
        self.0.lock().unwrap().0.clone()
    }

    fn ops(&self) -> Vec<Op> {
        self.0.lock().unwrap().1.clone()
    }
}

impl Disk for Virtual {
    fn runs(&self) -> io::Result<Vec<String>> {
        let ids = self
            .0
            .lock()
            .unwrap()
            .0
            .files
            .keys()
            .filter_map(|file| Some(file.split_once('/')?.0.to_owned()))
            .collect::<BTreeSet<_>>();
        Ok(ids.into_iter().collect())
    }
    fn has(&self, id: &str) -> bool {
        self.runs().unwrap().contains(&id.to_owned())
    }
    fn make(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn read(&self, id: &str, file: &str) -> io::Result<Vec<u8>> {
        let found = self.0.lock().unwrap().0.files.get(&format!("{id}/{file}")).map(|bytes| bytes.to_vec());
        found.ok_or(io::ErrorKind::NotFound.into())
    }
    fn write(&self, id: &str, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.act(Op::Write(format!("{id}/{file}"), bytes.into()));
        Ok(())
    }
    fn rename(&self, id: &str, from: &str, to: &str) -> io::Result<()> {
        self.act(Op::Rename(format!("{id}/{from}"), format!("{id}/{to}")));
        Ok(())
    }
    fn remove(&self, id: &str, file: &str) -> io::Result<()> {
        self.act(Op::Remove(format!("{id}/{file}")));
        Ok(())
    }
    fn append(&self, _: &str, _: &str) -> io::Result<Appender> {
        struct Nowhere;
        impl Write for Nowhere {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        Ok(Box::new(Nowhere))
    }
    fn shown(&self, id: &str) -> String {
        id.into()
    }
}

/// The audit log on that disk; with what is known of it, if it need not be read again.
#[derive(Debug)]
struct OnIt(Virtual, bool, Option<audit::Read>);

impl OnIt {
    fn of(disk: &Virtual) -> Box<OnIt> {
        Box::new(OnIt(disk.clone(), false, None))
    }
}

impl Sink for OnIt {
    fn ready(&mut self) -> Result<Option<audit::Read>, String> {
        if std::mem::replace(&mut self.1, true) {
            return Ok(None);
        }
        let content = &mut self.0.0.lock().unwrap().0;
        let read = self.2.take().unwrap_or_else(|| audit::read(&*content.log, |_, _| ()).unwrap());
        assert_eq!(read.broken, None);
        content.log.truncate(usize::try_from(read.bytes).unwrap());
        Ok(Some(read))
    }
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.0.act(Op::Log(line.into()));
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn name(&self) -> String {
        "memory".into()
    }
}

/// An engine on a disk, driven by hand.
struct Trial {
    plane: Arc<Plane>,
    doubles: Arc<Doubles>,
    engine: Engine,
    runs: Vec<Running>,
    _ledger: Ledger,
    _runtime: tokio::runtime::Runtime,
}

impl Trial {
    fn on(disk: &Virtual) -> Trial {
        let (plane, doubles) = (Plane::new(), Arc::new(Doubles::default()));
        let (ledger, from) = Ledger::new(64);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = plane.clock().clone();
        let setup = Setup {
            audit: Audit::over(OnIt::of(disk), "here".into(), None, clock, |_| ()).unwrap(),
            plane: plane.clone(),
            stand: doubles.clone(),
            ledger: from,
            environment: "local".into(),
            safety: Safety::default(),
            state: state(),
        };
        let store = Store::on(Arc::new(disk.clone()), "now");
        let engine = Engine::with_store(setup, store, runtime.handle().clone()).unwrap();
        Trial { plane, doubles, engine, runs: Vec::new(), _ledger: ledger, _runtime: runtime }
    }

    fn go(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.plane.hand.forward(50 * MILLI);
            self.doubles.answered(5);
            self.engine.tick(&mut self.runs);
        }
    }

    /// Waits until nothing is under way: the ends of runs are on threads of their own.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.engine.tick(&mut self.runs);
            if self.engine.list().iter().all(|view| !view.state.is_under_way()) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        panic!("{:#?} does not end", self.engine.list());
    }
}

/// A course by its number: runs that end as planned, by a guard, an abort, the lever, or not at all.
fn course(number: usize) -> Vec<Op> {
    let draw = |n: usize, of: u64| hash(format!("{number} {n}").as_bytes()) % of;
    let disk = Virtual::default();
    let mut trial = Trial::on(&disk);
    for n in 0..3 {
        let words = scenario(&format!("s{n}"))
            .fault(fault("late").window(window(0, 1 + draw(n, 2))))
            .guard(guard("slow", Metric::P99, if draw(n + 10, 3) == 0 { 1e6 } else { 1e9 }).then(GuardAction::Abort));
        let id = trial.engine.submit(words.checked(), &Identity::local()).unwrap().id;
        trial.engine.start(&id, Keep::Owned, &Identity::local()).unwrap();
        trial.go(draw(n + 20, 30));
        match draw(n + 30, 6) {
            0 => drop(trial.engine.abort(&id, "enough", Duration::ZERO)),
            1 => {
                let _ = trial.engine.pause(&id);
                trial.go(2);
                let _ = trial.engine.resume(&id);
            }
            2 => {
                trial.engine.engage("enough", "ann");
                trial.engine.keep_lever().unwrap();
                trial.settle();
                trial.engine.release_lever("ann").unwrap();
            }
            _ => trial.go(160),
        }
        if draw(n + 40, 4) > 0 || n < 2 {
            trial.engine.abort_all("the next one comes", Duration::ZERO);
            trial.settle();
        }
    }
    trial.engine.audit().check().unwrap();
    disk.ops()
}

/// What is known of a log: how it reads, and which runs began and ended in it.
#[derive(Clone, Debug, Default)]
struct Known {
    read: audit::Read,
    started: BTreeSet<String>,
    ended: BTreeSet<String>,
}

impl Known {
    /// Reads what follows.
    fn and(&self, more: &[u8]) -> Known {
        let Known { read, mut started, mut ended } = self.clone();
        let read = audit::read_on(read, more, |record, _| {
            let object = record.object.clone().unwrap_or_default();
            match record.action.as_str() {
                audit::START => drop(started.insert(object)),
                audit::END => drop(ended.insert(object)),
                _ => {}
            }
        });
        Known { read: read.unwrap(), started, ended }
    }
}

/// What another process finds and makes of it; gives how many orphans there were. `known`: of its log, torn part included.
/// `wholly`: reads it as that process does, from its first byte, and then once more.
fn recovers(left: Content, known: &Known, wholly: bool, clock: &Arc<dyn Clock>) -> usize {
    let whole = usize::try_from(known.read.bytes).unwrap();
    let kept = left.log[..whole].to_vec();
    let disk = Virtual::of(left);
    let open = |sink: Box<OnIt>| {
        Store::on(Arc::new(disk.clone()), "now");
        Audit::recover(sink, clock.clone()).unwrap();
    };
    let orphans =
        disk.runs().unwrap().iter().filter(|id| run(&disk, id).is_some_and(|run| run["over"] == false)).count();
    open(match wholly {
        true => OnIt::of(&disk),
        false => Box::new(OnIt(disk.clone(), false, Some(known.read.clone()))),
    });
    let after = disk.content();
    assert!(after.log.starts_with(&kept), "nothing but a torn record is lost");
    let sound = Known { read: audit::Read { torn: 0, ..known.read.clone() }, ..known.clone() };
    let Known { read, started, ended } = sound.and(&after.log[whole..]);
    assert_eq!((read.torn, &read.broken), (0, &None));
    assert!(started.is_subset(&ended), "{started:?} have begun, {ended:?} have ended");
    for id in disk.runs().unwrap() {
        let Some(run) = run(&disk, &id) else {
            assert!(!started.contains(&id), "{id} acted and has left no trace");
            continue;
        };
        assert_eq!(run["over"], json!(true), "{id}");
        assert!(run["reason"] == "aborted: crash" || ended.contains(&id), "{id}: {run}");
    }
    let runs = disk.runs().unwrap();
    assert!(started.iter().all(|id| runs.contains(id)), "{started:?} acted, {runs:?} left a trace");
    if wholly {
        assert_eq!(audit::read(&*after.log, |_, _| ()).unwrap(), read);
        open(OnIt::of(&disk));
        let again = audit::read(&*disk.content().log, |_, _| ()).unwrap();
        assert_eq!(again.size, read.size + 1, "the second time it only begins");
    }
    orphans
}

/// A run's card; it is whole or it is not there.
fn run(disk: &Virtual, id: &str) -> Option<Value> {
    disk.read(id, "run.json").ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn whenever_the_program_ends_nothing_is_lost_but_a_torn_last_record() {
    let clock: Arc<dyn Clock> = HandClock::new();
    let (mut points, mut orphans) = (0, 0);
    for number in 0..COURSES {
        let ops = course(number);
        let cuts = |op: &Op| match op {
            Op::Log(bytes) | Op::Write(_, bytes) => bytes.len(),
            Op::Rename(..) | Op::Remove(_) => 1,
        };
        let all: usize = ops.iter().map(cuts).sum();
        let wanted = POINTS / COURSES;
        let (mut before, mut known) = (Content::default(), Known::default());
        let mut place = 0;
        for op in &ops {
            // points at even distances over all bytes of the course, and each operation's beginning
            for cut in 0..cuts(op) {
                let is_one = (place * wanted) / all != ((place + 1) * wanted) / all;
                place += 1;
                if cut > 0 && !is_one {
                    continue;
                }
                let (mut left, mut seen) = (before.clone(), known.clone());
                if cut > 0 {
                    left.take(op, Some(cut));
                    seen.read.torn = if matches!(op, Op::Log(_)) { cut as u64 } else { 0 };
                }
                orphans += recovers(left, &seen, points % 50 == 0, &clock);
                points += 1;
            }
            before.take(op, None);
            if let Op::Log(line) = op {
                known = known.and(line);
            }
        }
        recovers(before.clone(), &known, true, &clock);
        // the whole engine on what is left: nothing runs, nothing acts, and the next one starts
        let disk = Virtual::of(before);
        let mut next = Trial::on(&disk);
        assert!(next.plane.cell().plan().load().is_empty() && next.engine.list().is_empty());
        let id = next
            .engine
            .submit(scenario("s0").fault(fault("late").window(window(0, 1))).checked(), &Identity::local())
            .unwrap()
            .id;
        assert_ne!(id, "s0-1", "an id is never used twice");
        next.engine.start(&id, Keep::Owned, &Identity::local()).unwrap();
        next.engine.abort_all("that is enough", Duration::ZERO);
        next.settle();
        assert!(next.engine.list().iter().all(|view| view.state == State::Stopped));
    }
    assert!(points >= POINTS, "{points} points");
    assert!(orphans > points / 100, "{orphans} orphans at {points} points");
}
