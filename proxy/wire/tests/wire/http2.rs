//! HTTP/2 on real sockets: what passes, how faults end it, and what a hostile peer gets.

mod ends;
mod floods;
pub(crate) mod peers;
mod raw;
mod settings;
mod spec;

mod versions;
