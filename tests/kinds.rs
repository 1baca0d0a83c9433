//! Every kind of fault on real sockets: its effect, its removal on a live connection, and together with latency.

mod bandwidth;
mod blackhole;
mod change;
mod connect;
mod connection_limit;
mod corrupt;
mod cut;
mod down;
mod half_open;
mod latency;
mod ledger;
mod observe;
mod paced;
mod pad;
mod partition;
mod preset;
mod selection;
mod several;
mod slicer;
mod slow_close;
mod timeline;
mod udp;
mod vanishing;
