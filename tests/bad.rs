//! Bad input: each mistake has its message, and nothing is lost.

mod api;
mod files;
mod ports;
mod reload;
mod state;
mod ways;
