//! The Toxiproxy-compatible API, held against the original's contract and its clients.

mod better;
mod cases;
mod clients;
mod prompt;
mod safety;
mod support;
mod wire;
