//! Checkpoints: what a chain alone can't show is that its end is missing, so where it stood is told elsewhere.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::line::Head;

/// Where a log stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Whose log.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// Hash of the last of them, hex.
    pub head: String,
    /// HMAC-SHA256 over `origin\nsize\nhead\n`, hex, where a key is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Checkpoint {
    pub(super) fn new(origin: &str, size: u64, head: Head, key: Option<&[u8]>) -> Checkpoint {
        let plain = Checkpoint { origin: origin.to_owned(), size, head: head.to_string(), signature: None };
        let signature = key.map(|key| hex(&hmac(key, plain.signed().as_bytes())));
        Checkpoint { signature, ..plain }
    }

    /// Whether it was signed with this key.
    pub fn is_signed_with(&self, key: &[u8]) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
        mac.update(self.signed().as_bytes());
        let signature = self.signature.as_deref().and_then(unhex);
        signature.is_some_and(|signature| mac.verify_slice(&signature).is_ok()) // in constant time
    }

    fn signed(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.head)
    }
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// HMAC-SHA256 (RFC 2104).
pub(crate) fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(text).finalize().into_bytes().into(),
        Err(_) => [0; 32], // a key of any length is taken
    }
}

/// Digits 0-9 a-f.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
