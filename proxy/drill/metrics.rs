//! The metrics of guards, expectations and forecasts: one set of words, taken from workloads where there are any, else
//! from the turns of proxies.

use std::collections::VecDeque;
use std::sync::Arc;

use squall_core::observe::{Histogram, Reading};
use squall_core::plane::WorkloadReading;
use squall_core::scenario::Metric;
use squall_core::time::{SECOND, Time};

/// Snapshots that a sliding window keeps, whatever its length.
const SNAPSHOTS: u64 = squall_core::tripwire::STEPS;

/// Where figures are taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watch {
    /// Indices of the experiment's workloads: requests and their latency.
    pub(crate) workloads: Vec<usize>,
    /// Proxies: connections, and turns where there is no workload.
    pub(crate) proxies: Vec<Arc<str>>,
    /// All of these speak HTTP: where there is no workload, their requests are what is counted.
    pub(crate) http: bool,
}

impl Watch {
    /// Whether a metric is taken from the turns of the proxies.
    pub(crate) fn reads_turns(&self, metric: Metric) -> bool {
        self.workloads.is_empty() && is_latency(metric) | matches!(metric, Metric::Throughput | Metric::Recovery)
    }

    /// The word that a report puts beside a figure.
    pub(crate) fn label(&self, metric: Metric) -> &'static str {
        match metric {
            Metric::Waiting if self.http => "request",
            Metric::ConnectionErrorRate | Metric::ActiveConnections | Metric::Waiting => "connection",
            _ if self.workloads.is_empty() && !self.http => "turn",
            _ => "request",
        }
    }

    /// Why a metric can't be read here, if so.
    pub(crate) fn lacks(&self, metric: Metric) -> Option<&'static str> {
        match metric {
            Metric::ErrorRate if self.workloads.is_empty() && !self.http => {
                Some("error_rate needs a workload or an HTTP proxy; on TCP there is connection_error_rate")
            }
            Metric::ConnectionErrorRate | Metric::ActiveConnections | Metric::Waiting if self.proxies.is_empty() => {
                Some("no proxy of squall is watched")
            }
            _ if self.workloads.is_empty() && self.proxies.is_empty() => {
                Some("neither a workload nor a proxy is watched")
            }
            _ => None,
        }
    }
}

/// Whether a metric is a latency (ns).
pub(crate) fn is_latency(metric: Metric) -> bool {
    quantile(metric).is_some()
}

/// What a watch has counted: growing sums, but for `active`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Requests answered as expected.
    pub(crate) ok: u64,
    /// Requests that failed or could never be sent, and that no fault ended.
    pub(crate) failed: u64,
    /// Requests that a fault ended: in no rate.
    pub(crate) failed_injected: u64,
    /// What the client felt, injected delay included.
    pub(crate) latency: Histogram,
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Connections that failed and that squall did not inject.
    pub(crate) broken: u64,
    /// Connections open now.
    pub(crate) active: u64,
    /// Connections, or exchanges, that wait for their upstream now.
    pub(crate) waiting: u64,
}

impl Figures {
    /// Adds a workload.
    pub(crate) fn workload(&mut self, reading: &WorkloadReading) {
        self.ok += reading.ok;
        self.failed += reading.failed + reading.unsent;
        self.failed_injected += reading.failed_injected;
        self.latency.merge(&reading.latency);
    }

    /// Adds a proxy; its requests, or turns, only where no workload tells what clients felt.
    pub(crate) fn proxy(&mut self, reading: &Reading, turns: bool) {
        self.accepted += reading.accepted;
        self.broken += reading.failed();
        self.active += reading.active;
        self.waiting += reading.waiting;
        if turns {
            self.latency.merge(&reading.turns);
            let http = &reading.http;
            self.ok += http.ended().saturating_sub(http.failed());
            self.failed += http.failed();
            self.failed_injected += http.answers_injected + http.cut_injected;
        }
    }

    /// What came since an earlier reading.
    pub(crate) fn since(&self, earlier: &Figures) -> Figures {
        Figures {
            ok: self.ok.saturating_sub(earlier.ok),
            failed: self.failed.saturating_sub(earlier.failed),
            failed_injected: self.failed_injected.saturating_sub(earlier.failed_injected),
            latency: self.latency.since(&earlier.latency),
            accepted: self.accepted.saturating_sub(earlier.accepted),
            broken: self.broken.saturating_sub(earlier.broken),
            active: self.active,
            waiting: self.waiting,
        }
    }

    /// Adds another stretch of the same watch.
    pub(crate) fn add(&mut self, other: &Figures) {
        self.ok += other.ok;
        self.failed += other.failed;
        self.failed_injected += other.failed_injected;
        self.latency.merge(&other.latency);
        self.accepted += other.accepted;
        self.broken += other.broken;
        self.active = other.active;
        self.waiting = other.waiting;
    }

    /// Events in all: requests, or turns, or connections, whichever are most.
    pub(crate) fn counted(&self) -> u64 {
        (self.ok + self.failed + self.failed_injected).max(self.latency.len()).max(self.accepted)
    }

    /// How many events a value of this metric rests on; none: a gauge or a flow, which needs none.
    pub(crate) fn events(&self, metric: Metric) -> Option<u64> {
        match metric {
            Metric::ErrorRate => Some(self.ok + self.failed),
            Metric::ConnectionErrorRate => Some(self.accepted),
            Metric::Throughput | Metric::ActiveConnections | Metric::Waiting => None,
            _ => Some(self.latency.len()),
        }
    }

    /// The metric over a stretch of `length` ns: rates 0 to 1, latencies ns, throughput per second. None: no events.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn value(&self, metric: Metric, length: Time) -> Option<f64> {
        match metric {
            Metric::ErrorRate => share(self.failed, self.ok + self.failed),
            Metric::ConnectionErrorRate => share(self.broken, self.accepted.max(self.broken)),
            Metric::ActiveConnections => Some(self.active as f64),
            Metric::Waiting => Some(self.waiting as f64),
            Metric::Throughput if length == 0 => None,
            Metric::Throughput => Some(self.latency.len() as f64 / (length as f64 / SECOND as f64)),
            Metric::Recovery => None,
            _ => self.latency.quantile(quantile(metric)?).map(|ns| ns as f64),
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// The share of answers that may take longer than a quantile; none: the metric is none.
pub(crate) fn beyond_quantile(metric: Metric) -> Option<f64> {
    match metric {
        Metric::P50 => Some(0.5),
        Metric::P90 => Some(0.1),
        Metric::P95 => Some(0.05),
        Metric::P99 => Some(0.01),
        Metric::P999 => Some(0.001),
        _ => None,
    }
}

fn quantile(metric: Metric) -> Option<f64> {
    match metric {
        Metric::P50 => Some(0.50),
        Metric::P90 => Some(0.90),
        Metric::P95 => Some(0.95),
        Metric::P99 => Some(0.99),
        Metric::P999 => Some(0.999),
        _ => None,
    }
}

/// The metric's word.
pub(crate) fn word(metric: Metric) -> &'static str {
    match metric {
        Metric::ErrorRate => "error_rate",
        Metric::ConnectionErrorRate => "connection_error_rate",
        Metric::P50 => "p50",
        Metric::P90 => "p90",
        Metric::P95 => "p95",
        Metric::P99 => "p99",
        Metric::P999 => "p99.9",
        Metric::Throughput => "throughput",
        Metric::ActiveConnections => "active_connections",
        Metric::Waiting => "waiting",
        Metric::Recovery => "recovery",
    }
}

/// A value of the metric in words.
pub(crate) fn show(metric: Metric, value: f64) -> String {
    match metric {
        Metric::ErrorRate | Metric::ConnectionErrorRate => format!("{:.2} %", value * 100.0),
        Metric::Throughput => format!("{value:.1}/s"),
        Metric::ActiveConnections | Metric::Waiting => format!("{value:.0}"),
        Metric::Recovery => format!("{:.2} s", value / 1e9),
        _ => format!("{:.1} ms", value / 1e6),
    }
}

/// The last stretch of a watch: at least `over` long once it is full, in bounded memory.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    over: Time,
    past: VecDeque<(Time, Figures)>,
}

impl Sliding {
    /// A window of `over` ns.
    pub(crate) fn new(over: Time) -> Sliding {
        Sliding { over: over.max(1), past: VecDeque::new() }
    }

    /// Forgets everything: the window starts anew with the next look.
    pub(crate) fn clear(&mut self) {
        self.past.clear();
    }

    /// Takes a reading in and gives what came in the window, with the window's true length, ns.
    pub(crate) fn look(&mut self, now: Time, figures: &Figures) -> (Figures, Time) {
        let begin = now.saturating_sub(self.over);
        while self.past.get(1).is_some_and(|(at, _)| *at <= begin) {
            self.past.pop_front();
        }
        let spacing = self.over / SNAPSHOTS;
        if self.past.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= spacing) {
            self.past.push_back((now, figures.clone()));
        }
        match self.past.front() {
            Some((at, earlier)) => (figures.since(earlier), now.saturating_sub(*at)),
            None => (Figures::default(), 0),
        }
    }

    /// Whether a window of this length has passed since it was cleared.
    pub(crate) fn is_full(&self, length: Time) -> bool {
        length >= self.over
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use squall_core::observe::HttpReading;
    use squall_core::time::MILLI;

    fn workload(ok: u64, failed: u64, injected: u64) -> Figures {
        let mut latency = Histogram::default();
        (0..ok).for_each(|_| latency.add(10 * MILLI));
        let reading = WorkloadReading { ok, failed, failed_injected: injected, latency, ..Default::default() };
        let mut figures = Figures::default();
        figures.workload(&reading);
        figures
    }

    #[test]
    fn injected_failures_are_in_no_error_rate() {
        assert_eq!(workload(90, 10, 400).value(Metric::ErrorRate, SECOND), Some(0.1));
        assert_eq!(workload(0, 0, 400).value(Metric::ErrorRate, SECOND), None);
        assert_eq!(workload(0, 0, 400).events(Metric::ErrorRate), Some(0));
    }

    #[test]
    fn a_window_forgets_what_is_older_than_itself() {
        let mut sliding = Sliding::new(10 * SECOND);
        for second in 0..100 {
            // all failures are in the first half
            let figures = workload(second * 10, second.min(50) * 10, 0);
            let (window, length) = sliding.look(second * SECOND, &figures);
            assert!(length <= 10 * SECOND + 10 * SECOND / SNAPSHOTS, "{length}");
            if second == 50 {
                assert_eq!(window.value(Metric::ErrorRate, length), Some(0.5));
            }
            if second > 61 {
                assert_eq!(window.value(Metric::ErrorRate, length), Some(0.0), "at {second}");
            }
        }
        assert!(sliding.past.len() as u64 <= SNAPSHOTS + 2);
    }

    #[test]
    fn quantiles_and_throughput_come_from_the_latencies() {
        let figures = workload(100, 0, 0);
        let p99 = figures.value(Metric::P99, SECOND).unwrap();
        assert!((10e6..10.4e6).contains(&p99), "{p99}");
        assert_eq!(figures.value(Metric::Throughput, 2 * SECOND), Some(50.0));
    }

    #[test]
    fn tcp_without_a_workload_has_turns_and_connections_but_no_requests() {
        let watch = Watch { workloads: vec![], proxies: vec!["p".into()], http: false };
        assert!(watch.lacks(Metric::ErrorRate).unwrap().contains("connection_error_rate"));
        assert_eq!(watch.lacks(Metric::P99), None);
        assert!(watch.reads_turns(Metric::P99) && !watch.reads_turns(Metric::ConnectionErrorRate));
        assert_eq!(watch.label(Metric::P99), "turn");
    }

    #[test]
    fn an_http_proxy_without_a_workload_counts_its_requests_and_leaves_out_what_faults_did() {
        let watch = Watch { workloads: vec![], proxies: vec!["p".into()], http: true };
        assert_eq!((watch.lacks(Metric::ErrorRate), watch.label(Metric::ErrorRate)), (None, "request"));
        let http = HttpReading { answers: [0, 0, 90, 0, 5, 3], cut: 2, answers_injected: 50, ..HttpReading::default() };
        let mut figures = Figures::default();
        figures.proxy(&Reading { http, ..Reading::default() }, true);
        assert_eq!((figures.ok, figures.failed, figures.failed_injected), (95, 5, 50));
        assert_eq!(figures.value(Metric::ErrorRate, SECOND), Some(0.05));
    }
}
