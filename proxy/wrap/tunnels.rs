//! What is known of hosts that are not opened: how often, how many bytes, how long.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use squall_core::time::Time;

use super::relay::Moved;

/// Hosts that are told apart.
const MOST: usize = 1000;
/// Under which the others are counted together.
const OTHERS: &str = "(others)";

/// Tunnels to one host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// How many came about.
    pub opened: u64,
    /// How many did not.
    pub refused: u64,
    /// Why the latest did not.
    pub why: Option<String>,
    /// Bytes from the program.
    pub up: u64,
    /// Bytes to the program.
    pub down: u64,
    /// How long all of them together were open, ns.
    pub time: Time,
}

/// By `host:port`.
#[derive(Debug, Default)]
pub struct Tunnels(Mutex<BTreeMap<String, Tunnel>>);

impl Tunnels {
    /// One has ended.
    pub fn passed(&self, host: &str, port: u16, moved: Moved, time: Time) {
        self.with(host, port, |tunnel| {
            tunnel.opened += 1;
            tunnel.up += moved.up;
            tunnel.down += moved.down;
            tunnel.time = tunnel.time.saturating_add(time);
        });
    }

    /// One did not come about.
    pub fn refused(&self, host: &str, port: u16, why: String) {
        self.with(host, port, |tunnel| {
            tunnel.refused += 1;
            tunnel.why = Some(why);
        });
    }

    /// All that have ended so far.
    pub fn all(&self) -> BTreeMap<String, Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with(&self, host: &str, port: u16, change: impl FnOnce(&mut Tunnel)) {
        let mut tunnels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = format!("{host}:{port}");
        let is_known = tunnels.contains_key(&place) || tunnels.len() < MOST;
        change(tunnels.entry(if is_known { place } else { OTHERS.to_owned() }).or_default());
    }
}
