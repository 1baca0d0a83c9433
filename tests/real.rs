//! squall between real programs: Redis and its clients, PostgreSQL and pgbench, dnsmasq and dig, and the golden drills.

mod addresses;
mod distribution;
mod dns;
mod drill;
mod ends;
mod gigabytes;
mod headers;
mod limits;
mod postgres;
mod probes;
mod redis;
mod replication;
mod saturated;
mod streaming;
mod transparent;
