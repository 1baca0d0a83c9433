//! squall's data plane: one thread per worker, each with its own runtime, its own timer and its own connections.
//!
//! A listener accepts and hands the connection to the least loaded worker (`listen`, `worker`); a `pump` asks the
//! faults whether it may go on, dials the upstream (`dial`) and moves the bytes. A connection that no fault selects
//! has no chain: its bytes go through the worker's buffer or a borrowed pipe (`lane`, `splice`). One that is
//! selected has a `squall_core::chain::Chain`, which decides; the pump reads, waits, writes and resets.
//!
//! Plans reach the workers through `squall_core::cell::Cell`: every poll looks at its epoch, and a bell makes each
//! worker walk its own connections, so that nothing waits for traffic.

mod bell;
pub mod clock;
mod dial;
mod ends;
mod lane;
mod listen;
mod meter;
mod plane;
mod pump;
mod reset;
mod socket;
mod splice;
pub mod timer;
mod ways;
mod worker;

pub use clock::SystemClock;
pub use plane::{Allow, Options, Plane, raise_descriptor_limit};
