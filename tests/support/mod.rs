//! What the tests are written in.

mod echo;
mod line;
pub mod namespace;
pub mod postgres;
pub mod programs;
pub mod python;
pub mod redis;
mod room;
mod running;
mod serve;
mod stage;
pub mod wait;

pub use echo::{echo, round_trip};
pub use line::{End, Line, Peer, pattern};
pub use room::Room;
pub use running::{Ended, Running};
pub use serve::Serve;
pub use stage::{Stage, scenario};
