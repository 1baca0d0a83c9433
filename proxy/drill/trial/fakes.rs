//! A data plane and a stand in memory, on a clock that is moved by hand.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use squall_core::cell::{Cell, Shard};
use squall_core::observe::{Histogram, Reading};
use squall_core::plan::FaultRef;
use squall_core::plane::{
    DataPlane, Felt, PlaneError, ProxyInfo, Service, ServiceReading, Stand, Workload, WorkloadReading,
};
use squall_core::scenario::{ProxySpec, ServiceSpec, WorkloadSpec};
use squall_core::time::{Clock, MILLI, Now, SECOND, Time};
use squall_core::tripwire::Event;

use crate::audit::{self, Audit, Record, Sink};

/// Moved by hand. Starts at 1000 s.
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn new() -> Arc<HandClock> {
        Arc::new(HandClock(AtomicU64::new(1000 * SECOND)))
    }

    pub(crate) fn forward(&self, ns: Time) {
        self.0.fetch_add(ns, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        let mono = self.0.load(Ordering::SeqCst);
        Now { mono, boot: mono + 500 * SECOND }
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

/// A state directory that nobody else has.
pub(crate) fn state() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let n = NEXT.fetch_add(1, Ordering::SeqCst);
    std::env::temp_dir().join(format!("squall-drill-{}-{n}", std::process::id()))
}

/// An audit log in memory, on a disk that can be full.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
    begun: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub(crate) fn audit(&self, clock: Arc<dyn Clock>) -> Audit {
        let told = self.told.clone();
        self.begun.store(false, Ordering::SeqCst);
        let tell = move |text: &str| told.lock().unwrap().push(text.to_owned());
        Audit::over(Box::new(self.clone()), "here".into(), Some(b"key".to_vec()), clock, tell).unwrap()
    }

    pub(crate) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    /// Every record; the chain must hold.
    #[track_caller]
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let read = audit::read(&*self.bytes(), |record, _| records.push(record.clone())).unwrap();
        assert_eq!((read.torn, read.broken), (0, None));
        records
    }

    /// What was told: checkpoints and what happened to the log.
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl Sink for Log {
    fn ready(&mut self) -> Result<Option<audit::Read>, String> {
        let first = !self.begun.swap(true, Ordering::SeqCst);
        Ok(first.then(|| audit::read(&*self.bytes(), |_, _| ()).unwrap()))
    }
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.lock().unwrap().extend_from_slice(line);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn name(&self) -> String {
        "memory".into()
    }
}

pub(crate) struct Plane {
    cell: Arc<Cell>,
    pub(crate) hand: Arc<HandClock>,
    clock: Arc<dyn Clock>,
    pub(crate) open: Mutex<BTreeMap<String, (ProxyInfo, Reading)>>,
    /// Proxies that can't be bound.
    pub(crate) taken: Mutex<Vec<String>>,
    /// Where what is opened now listens.
    pub(crate) listens: Mutex<String>,
    /// Nothing comes through what is opened now.
    pub(crate) deaf: AtomicBool,
    /// What was opened and closed, in order.
    pub(crate) log: Mutex<Vec<String>>,
}

impl Plane {
    pub(crate) fn new() -> Arc<Plane> {
        let hand = HandClock::new();
        Arc::new(Plane {
            cell: Arc::default(),
            clock: hand.clone(),
            hand,
            open: Mutex::default(),
            taken: Mutex::default(),
            listens: Mutex::new("127.0.0.1:4000".into()),
            deaf: AtomicBool::new(false),
            log: Mutex::default(),
        })
    }

    /// A worker that carries out every bell at once, while it is told to be awake.
    pub(crate) fn worker(self: &Arc<Plane>) -> (Arc<Shard>, Arc<AtomicBool>) {
        let awake = Arc::new(AtomicBool::new(true));
        let own: Arc<Mutex<Option<Arc<Shard>>>> = Arc::default();
        let (plane, told, shard) = (Arc::downgrade(self), awake.clone(), own.clone());
        let joined = self.cell.join(Arc::new(move || {
            let (Some(plane), true) = (plane.upgrade(), told.load(Ordering::SeqCst)) else { return };
            if let Some(shard) = &*shard.lock().unwrap() {
                plane.acknowledge(shard);
            }
        }));
        *own.lock().unwrap() = Some(joined.clone());
        (joined, awake)
    }

    pub(crate) fn acknowledge(&self, shard: &Shard) {
        shard.permitted_at.store(self.hand.now().mono, Ordering::SeqCst);
        shard.epoch.store(self.cell.epoch(), Ordering::SeqCst);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.open.lock().unwrap().keys().cloned().collect()
    }
}

impl DataPlane for Plane {
    fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }
    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
    fn open(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError> {
        if self.taken.lock().unwrap().contains(&spec.name) {
            return Err(PlaneError::Bind(spec.listen.clone(), "address in use".into()));
        }
        if spec.name.starts_with("squall-residue") && !self.deaf.load(Ordering::SeqCst) {
            // nothing lies between: what is asked of it is that it passes bytes
            return Ok(ProxyInfo { spec: spec.clone(), listen: spec.upstream.clone(), address: None });
        }
        self.log.lock().unwrap().push(format!("open {} to {}", spec.name, spec.upstream));
        let info = ProxyInfo { spec: spec.clone(), listen: self.listens.lock().unwrap().clone(), address: None };
        self.open.lock().unwrap().insert(spec.name.clone(), (info.clone(), Reading::default()));
        Ok(info)
    }
    fn change(&self, spec: &ProxySpec) -> Result<ProxyInfo, PlaneError> {
        Err(PlaneError::Unknown(spec.name.clone()))
    }
    fn disconnect(&self, _: &str) -> Result<(), PlaneError> {
        Ok(())
    }

    fn cut_off(&self, name: &str) -> Result<(), PlaneError> {
        self.close(name)
    }

    fn close(&self, name: &str) -> Result<(), PlaneError> {
        self.log.lock().unwrap().push(format!("close {name}"));
        self.open.lock().unwrap().remove(name).map(|_| ()).ok_or_else(|| PlaneError::Unknown(name.into()))
    }
    fn proxies(&self) -> Vec<ProxyInfo> {
        self.open.lock().unwrap().values().map(|(info, _)| info.clone()).collect()
    }
    fn reading(&self, name: &str) -> Option<Reading> {
        self.open.lock().unwrap().get(name).map(|(_, reading)| reading.clone())
    }
    fn injected_end(&self, _: SocketAddr) -> Option<Arc<FaultRef>> {
        None
    }
}

/// Services and load in memory: what clients see is written by the test.
#[derive(Default)]
pub(crate) struct Doubles {
    pub(crate) seen: Arc<Mutex<WorkloadReading>>,
    /// Services and workloads that run.
    pub(crate) alive: Arc<AtomicU64>,
    /// The next look at a workload panics.
    pub(crate) panics: Arc<AtomicBool>,
    /// Who wants to be told of requests.
    pub(crate) felt: Mutex<Vec<Felt>>,
    /// Workloads can't be started.
    pub(crate) broken: AtomicBool,
}

impl Doubles {
    /// Requests answered after 10 ms.
    pub(crate) fn answered(&self, n: u64) {
        {
            let mut seen = self.seen.lock().unwrap();
            seen.ok += n;
            (0..n).for_each(|_| seen.latency.add(10 * MILLI));
        }
        let felt = self.felt.lock().unwrap().clone();
        felt.iter().for_each(|felt| {
            (0..n).for_each(|_| felt(&[Event::Took(10 * MILLI), Event::Request { failed: false }]));
        });
    }

    /// Requests that fail, and that no fault ended.
    pub(crate) fn failed(&self, n: u64) {
        self.seen.lock().unwrap().failed += n;
        let felt = self.felt.lock().unwrap().clone();
        felt.iter().for_each(|felt| (0..n).for_each(|_| felt(&[Event::Request { failed: true }])));
    }

    fn add(&self) -> Alive {
        self.alive.fetch_add(1, Ordering::SeqCst);
        Alive(self.alive.clone(), self.seen.clone(), self.panics.clone())
    }
}

struct Alive(Arc<AtomicU64>, Arc<Mutex<WorkloadReading>>, Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for Alive {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 5000))
    }
    fn reading(&self) -> ServiceReading {
        ServiceReading { connections: 3, requests: 2, turned_away: 1, unknown: 0 }
    }
}

impl Workload for Alive {
    fn reading(&self) -> WorkloadReading {
        assert!(!self.2.swap(false, Ordering::SeqCst), "the test wants it");
        self.1.lock().unwrap().clone()
    }
    fn finish(&self, _: Duration) -> WorkloadReading {
        Workload::reading(self)
    }
}

impl Stand for Doubles {
    fn service(&self, _: &ServiceSpec) -> Result<Box<dyn Service>, String> {
        Ok(Box::new(self.add()))
    }
    fn workload(
        &self,
        _: &WorkloadSpec,
        _: &str,
        _: u64,
        _: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>,
        felt: Option<Felt>,
    ) -> Result<Box<dyn Workload>, String> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("no descriptors left".into());
        }
        self.felt.lock().unwrap().extend(felt);
        Ok(Box::new(self.add()))
    }
}

/// Latencies: `n` times `ms`.
pub(crate) fn latencies(n: u64, ms: u64) -> Histogram {
    let mut histogram = Histogram::default();
    (0..n).for_each(|_| histogram.add(ms * MILLI));
    histogram
}
