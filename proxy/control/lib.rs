//! squall's control port and its client: HTTP and JSON under /v1, metrics, health, events.
//!
//! It runs on a thread of its own, so that traffic cannot delay it. A request passes `guard` (who asks, in what form),
//! finds its handler in the table of `routes` (from which the OpenAPI document is made as well), and reaches the rest
//! of the program through [`app::App`] only.

pub mod access;
pub mod api;
pub mod app;
mod audit;
pub mod client;
mod connections;
mod events;
mod guard;
mod metrics;
mod openapi;
pub mod place;
mod pool;
pub mod problem;
mod routes;
pub mod server;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod tokens;
pub mod toxiproxy;

pub use client::Client;
pub use server::{Server, Settings};
