//! The timeline of a run: when faults open and close, and when it is planned to end.

use squall_core::scenario::Checked;
use squall_core::time::Time;
use squall_core::window::Window;

/// Openings and closings that one look reports per fault; a window that flaps faster is not told edge by edge.
const EDGES_PER_LOOK: usize = 8;

/// The plan of a run in time. All times are ns on the experiment's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    windows: Vec<Window>,
    /// When the first fault opens.
    pub(crate) first_open: Time,
    /// When the last fault that has an end has ended; none: no fault has one.
    pub(crate) last_end: Option<Time>,
    /// When the run ends by itself.
    pub(crate) planned: Time,
}

/// A window that opened or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Index of the fault.
    pub(crate) fault: usize,
    /// Whether it opened.
    pub(crate) opened: bool,
    /// When.
    pub(crate) at: Time,
}

impl Schedule {
    /// Lays out a scenario. `limit` is the hard end in force, if any. Errors: no end at all, or longer than the limit.
    pub(crate) fn new(checked: &Checked, limit: Option<Time>) -> Result<Schedule, String> {
        let windows: Vec<Window> = checked.faults.iter().map(|fault| fault.window).collect();
        let first_open = windows.iter().map(|window| window.at).min().unwrap_or(0);
        let last_end = checked.faults_end();
        let Some(end) = last_end else {
            let planned = limit.ok_or("no fault has an end: max_duration is missing")?;
            return Ok(Schedule { windows, first_open, last_end, planned });
        };
        let planned = end.saturating_add(checked.recovery_window());
        match checked.max_duration {
            Some(max) if planned > max => Err(format!(
                "the plan takes {:.1} s with its recovery window, longer than max_duration ({:.1} s)",
                seconds(planned),
                seconds(max)
            )),
            _ => Ok(Schedule { windows, first_open, last_end, planned }),
        }
    }

    /// What opened or closed after `from`, up to and including `to`, in order. An opening at 0 is told when `from` is
    /// none.
    pub(crate) fn edges(&self, from: Option<Time>, to: Time) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (fault, window) in self.windows.iter().enumerate() {
            let mut at = match from {
                None if window.at == 0 => {
                    edges.push(Edge { fault, opened: true, at: 0 });
                    0
                }
                from => from.unwrap_or(0),
            };
            for _ in 0..EDGES_PER_LOOK {
                let Some(next) = window.phase(at).next_edge.filter(|next| *next <= to && *next > at) else { break };
                edges.push(Edge { fault, opened: window.phase(next).open_since == Some(next), at: next });
                at = next;
            }
        }
        edges.sort_by_key(|edge| (edge.at, edge.fault));
        edges
    }

    /// Whether the planned time of a fault had passed after `elapsed`.
    pub(crate) fn passed(&self, fault: usize, elapsed: Time) -> bool {
        let end = self.windows.get(fault).and_then(Window::end);
        elapsed >= end.unwrap_or(self.planned).min(self.planned)
    }

    /// Whether any fault is open at `elapsed`.
    pub(crate) fn any_open(&self, elapsed: Time) -> bool {
        self.windows.iter().any(|window| window.phase(elapsed).open_since.is_some())
    }
}

/// Nanoseconds as seconds, for people.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn seconds(ns: Time) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::trial::{fault, scenario, window};
    use squall_core::time::SECOND;

    #[test]
    fn a_run_ends_after_the_last_fault_and_the_recovery_window() {
        let plan =
            scenario("s").fault(fault("a").window(window(2, 3))).fault(fault("b").window(window(1, 6))).checked();
        let schedule = Schedule::new(&plan, None).unwrap();
        assert_eq!((schedule.first_open, schedule.last_end), (SECOND, Some(7 * SECOND)));
        assert_eq!(schedule.planned, 12 * SECOND);
        let short = scenario("s").fault(fault("a").window(window(0, 3))).recovers_within(2).checked();
        assert_eq!(Schedule::new(&short, None).unwrap().planned, 5 * SECOND);
    }

    #[test]
    fn without_an_end_the_limit_is_the_plan_and_without_both_it_is_refused() {
        let endless = scenario("s").fault(fault("a")).checked();
        assert_eq!(Schedule::new(&endless, Some(9 * SECOND)).unwrap().planned, 9 * SECOND);
        assert!(Schedule::new(&endless, None).unwrap_err().contains("max_duration is missing"));
        let long = scenario("s").fault(fault("a").window(window(0, 8))).max_duration(10).checked();
        assert!(Schedule::new(&long, None).unwrap_err().contains("longer than max_duration"));
    }

    #[test]
    fn edges_are_told_once_and_in_order() {
        let flapping = Window { at: 0, length: Some(1), every: Some(4), times: Some(2) };
        let plan = scenario("s").fault(fault("a").window(flapping)).checked();
        let schedule = Schedule::new(&plan, None).unwrap();
        let told = |edges: Vec<Edge>| edges.iter().map(|edge| (edge.opened, edge.at)).collect::<Vec<_>>();
        assert_eq!(told(schedule.edges(None, 0)), [(true, 0)]);
        assert_eq!(told(schedule.edges(Some(0), 4)), [(false, 1), (true, 4)]);
        assert_eq!(told(schedule.edges(Some(4), 100)), [(false, 5)]);
        assert!(schedule.passed(0, 5) && !schedule.passed(0, 4));
    }
}
