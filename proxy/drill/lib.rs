//! The experiment engine: states, timeline, guards, probes, verdict, evidence.

pub mod engine;
pub mod view;
