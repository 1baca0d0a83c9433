//! Every kind of fault on real sockets: its effect, its removal on a live connection, and together with latency.

mod bandwidth;
mod blackhole;
mod corrupt;
mod cut;
mod latency;
mod ledger;
mod observe;
mod partition;
mod preset;
mod selection;
mod several;
mod slicer;
mod timeline;
mod vanishing;
