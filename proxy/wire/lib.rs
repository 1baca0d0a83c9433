//! squall's data plane: one thread per worker, each with its own runtime, its own timer and its own connections.
//!
//! A listener accepts and hands the connection to the least loaded worker (`listen`, `worker`); a `pump` asks the
//! faults whether it may go on, dials the upstream (`dial`) and moves the bytes. A connection that no fault selects
//! has no chain: its bytes go through the worker's buffer or a borrowed pipe (`lane`, `splice`). One that is
//! selected has a `squall_core::chain::Chain`, which decides; the pump reads, waits, writes and resets.
//!
//! Plans reach the workers through `squall_core::cell::Cell`: every poll looks at its epoch, and a bell makes each
//! worker walk its own connections, a bounded part at a time, so that nothing waits for traffic: first all are permitted
//! to go on, then what was held is written.
//!
//! What faults cannot see: the kernel reads ahead of them. A sender under a slow rate or a hold gets rid of what the
//! receive buffer of its connection takes (a few hundred KiB at first, up to `tcp_rmem`'s maximum) before it feels
//! back-pressure; what the receiver sees is paced where it is written, so its rate is exact. The buffer is not made smaller
//! for the time of a fault, because Linux has no way back from that: the connection would stay slower after an abort.

mod bell;
pub mod clock;
mod dial;
mod door;
mod ends;
mod entrance;
mod filter;
mod header;
mod http;
mod lane;
mod listen;
mod memory;
mod meter;
mod original;
mod plane;
mod pump;
mod reset;
mod socket;
mod splice;
pub mod timer;
mod tls;
mod udp;
mod ways;
mod worker;

pub use clock::SystemClock;
pub use plane::{Admit, Allow, Options, Plane, raise_descriptor_limit, with_former_descriptor_limit};
pub use tls::{Bundle, Ca};
