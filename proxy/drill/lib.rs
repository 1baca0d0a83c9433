//! The experiment engine: states, timeline, guards, probes, verdict, evidence.
//!
//! A run's core (`run`) is without I/O and works on whatever time it is given; `live` drives it on real clocks. Faults
//! are lifted by the workers themselves through the switch, so that nothing here has to work for a fault to end.

pub mod approve;
pub mod audit;
pub mod engine;
pub mod lever;
pub mod notify;
pub mod place;
pub mod resident;
pub mod view;

mod abort;
mod arm;
mod before;
mod book;
mod bring;
mod compile;
mod drafts;
mod events;
mod evidence;
mod guard;
mod ladder;
mod lease;
mod live;
mod marks;
mod metrics;
mod phases;
mod probe;
mod report;
mod residue;
mod run;
mod schedule;
mod stamp;
mod steps;
mod store;
mod verdict;

#[cfg(test)]
mod trial;
