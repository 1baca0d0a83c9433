//! HTTP/1 on real sockets: what passes, what faults do to it, and what a hostile peer gets.

mod asked;
mod faults;
mod hostile;
mod names;
mod plain;
pub(crate) mod script;
