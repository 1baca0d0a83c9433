//! `squall wrap`: real clients around which it stands, against stand-ins of the APIs that they call.

mod child;
mod clients;
mod faults;
mod network;
mod sdks;
mod verdicts;
mod ways;
mod wrapped;
