//! The HTTP data plane.
//!
//! A connection of a proxy that speaks HTTP comes here once its PROXY header is read and the gate has let it by (`session`).
//! HTTP/1.0 and 1.1 are an own strict codec (`h1`) on the worker's own sockets. An exchange (`exchange`) carries one request
//! past its faults to an upstream (`reach`, `pool`) and the answer back; the ends speak what they speak (`ends`), bodies stream
//! (`leg`). Faults on the connection's bytes act beneath (`io`). What wakes a task besides its sockets is its `watch`.

mod client1;
mod ends;
mod exchange;
mod failure;
mod h1;
mod io;
mod leg;
mod line;
mod pool;
mod reach;
mod server1;
mod session;
mod stream;
mod watch;

pub(crate) use io::Io;
pub(crate) use pool::Pool;
pub(crate) use reach::{Origin, greeting};
pub(crate) use session::begin;
pub(crate) use watch::{Task, Watcher};
