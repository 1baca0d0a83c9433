//! The HTTP data plane.
//!
//! A connection of a proxy that speaks HTTP comes here once its PROXY header is read and the gate has let it by (`session`).
//! HTTP/1.0 and 1.1 are an own strict codec (`h1`) on the worker's own sockets; HTTP/2 is the `h2` crate on the same
//! (`carrier`), with a task per stream (`session2`, `client2`) and connections to upstreams that exchanges share (`channel2`,
//! `server2`). An exchange (`exchange`) carries one request past its faults to an upstream (`reach`, `pool`) and the answer
//! back, in memory that the worker lends (`spare`); the ends speak what they speak (`ends`), bodies stream (`leg`). Faults on
//! the connection's bytes act beneath (`io`). What wakes a task besides its sockets is its `watch`.

mod calm;
mod carrier;
mod channel2;
mod client1;
mod client2;
mod ends;
mod exchange;
mod failure;
mod flow2;
mod h1;
mod head2;
mod io;
mod leg;
mod line;
mod names;
mod pool;
mod reach;
mod server1;
mod server2;
mod session;
mod session2;
mod spare;
mod stream;
mod told;
mod upgrade;
mod watch;

pub(crate) use io::Io;
pub(crate) use pool::Pool;
pub(crate) use reach::{Origin, greeting};
pub(crate) use session::{Counted, begin, go_on};
pub(crate) use spare::Spare;
pub(crate) use stream::Stream;
pub(crate) use watch::{Task, Watcher};
