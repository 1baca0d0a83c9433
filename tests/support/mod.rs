//! What the tests are written in.

pub mod api;
pub mod dns;
mod echo;
pub mod history;
mod knock;
mod line;
pub mod namespace;
pub mod nginx;
pub mod postgres;
pub mod programs;
pub mod prometheus;
pub mod python;
pub mod redis;
mod room;
mod running;
mod serve;
mod stage;
pub mod tls;
pub mod wait;

pub use echo::{echo, round_trip};
pub use knock::{Knock, may_drop_packets, retransmissions, without_privileges};
pub use line::{End, Line, Peer, pattern};
pub use room::Room;
pub use running::{Ended, Running};
pub use serve::Serve;
pub use stage::{Stage, scenario};

/// What a scenario has to say to be armed besides its end, with a guard that never fires: the first lines of a text.
pub const GOVERNED: &str = "owner = 'tests'\nhypothesis = 'it holds'\nenvironments = ['local', 'test', 'staging']\n\
                            guard = [{ metric = 'active_connections', above = 1000000 }]\n";

/// Held by a test that must not meet others that put load on the machine, or that does so itself. Within one process
/// only: between processes (nextest) the group `timing` does the same.
pub fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
