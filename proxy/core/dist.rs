//! Latency distributions: inverse CDFs by table on one draw, so that the same draw gives the same delay everywhere.

use crate::time::Time;

/// A distribution of delays, in ns; its parameters may be curves.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {}

#[allow(missing_docs, unused_variables, clippy::todo, clippy::unused_self)]
impl Distribution {
    /// The delay for 64 random bits, `elapsed` ns after the fault's window opened.
    pub fn sample(&self, draw: u64, elapsed: Time) -> Time {
        todo!()
    }
}
