//! The audit log, the safety lever, and what squall leaves behind however it ends.

mod clocks;
mod crash;
mod disk;
mod lever;
pub mod log;
mod notify;
