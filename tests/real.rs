//! squall between real programs: Redis and its clients, PostgreSQL and pgbench, dnsmasq and dig, nginx, curl and h2load, those
//! of `http`, and the golden drills.

mod addresses;
mod brownout;
mod distribution;
mod dns;
mod drill;
mod ends;
mod gigabytes;
mod headers;
mod held;
mod http;
mod http2;
mod limits;
mod postgres;
mod probes;
mod recordings;
mod redis;
mod replication;
mod saturated;
mod streaming;
mod tls;
mod transparent;
