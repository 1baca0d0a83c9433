//! What the tests are written in.

mod echo;
mod room;
mod running;

pub use echo::{echo, round_trip};
pub use room::Room;
pub use running::{Ended, Running};
