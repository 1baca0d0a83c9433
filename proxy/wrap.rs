//! `squall wrap`: the whole of squall in one process, around a program whose upstreams can't be configured.
//!
//! Every opened host is an ordinary HTTP proxy of the data plane, named `host:NAME`: TLS ends there at a certificate made on
//! the fly and begins anew towards the service. In front of them stands a forward proxy on loopback ([`front`]), which the
//! program finds by the usual variables ([`variables`]).

pub mod bypass;
pub mod child;
pub mod exit;
pub mod front;
pub mod head;
pub mod hosts;
mod owner;
pub mod project;
pub mod relay;
pub mod session;
pub mod trust;
pub mod tunnels;
pub mod variables;
