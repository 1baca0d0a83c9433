//! squall between real programs: Redis and its clients, PostgreSQL and pgbench, and the golden drills.

mod distribution;
mod drill;
mod ends;
mod gigabytes;
mod headers;
mod limits;
mod postgres;
mod redis;
mod replication;
mod saturated;
mod streaming;
mod transparent;
