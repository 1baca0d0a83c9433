//! Tests that need more than one file, and the words that all tests of this crate are written in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod course;
mod crash;
mod fakes;
mod guards;
mod ladder;
mod running;
mod words;

pub(crate) use fakes::{HandClock, Log, latencies, state};
pub(crate) use words::{expect, fault, guard, probe, scenario, steady, step, window};
