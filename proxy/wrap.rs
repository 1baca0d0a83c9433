//! `squall wrap`: the whole of squall in one process, around a program whose upstreams can't be configured.
//!
//! Every opened host is an ordinary HTTP proxy of the data plane, named `host:NAME`: TLS ends there at a certificate made on
//! the fly and begins anew towards the service. In front of them stands a forward proxy on loopback ([`front`]), which the
//! program finds by the usual variables ([`variables`]).

pub mod adhoc;
pub mod base_urls;
pub mod bypass;
pub mod bypassed;
pub mod child;
pub mod exit;
pub mod expect;
pub mod front;
pub mod head;
pub mod hosts;
pub mod operations;
mod owner;
pub mod project;
pub mod relay;
pub mod running;
pub mod secrets;
pub mod session;
pub mod stand_in;
pub mod told;
pub mod trust;
pub mod tunnels;
pub mod variables;
pub mod verdict;
