//! One record: `<64 hex> <json>\n`, where the hex is SHA-256(0x00 ‖ the 32 bytes of the previous hash ‖ the json's exact
//! bytes). No canonical form is needed, so any tool that hashes bytes can check it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use squall_core::who::Identity;

/// Characters of a field that may come from outside; what is longer ends in `…`.
const FIELD: usize = 500;
/// Bytes of the hash and the space behind it.
pub(super) const LEAD: usize = 65;

/// SHA-256 of a record, which the next one carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Head([u8; 32]);

impl Head {
    /// Of the record with these bytes of JSON, behind `self`.
    pub(super) fn next(self, json: &[u8]) -> Head {
        Head(Sha256::new().chain_update([0]).chain_update(self.0).chain_update(json).finalize().into())
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Head, String> {
        let wrong = || "a hash has 64 digits 0-9 a-f".to_owned();
        let is_plain = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_plain {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Head(bytes))
    }
}

/// Whether it was let.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Decision {
    #[default]
    Allow,
    Deny,
}

/// What somebody did or tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Act {
    /// Who: the name of a token, a user of this machine, or `squall` for what it does by itself.
    pub actor: String,
    /// As what.
    pub role: Option<String>,
    /// From where: an address, or `unix`.
    pub peer: Option<String>,
    /// One word, or method and route of a request.
    pub action: String,
    /// To what: the id of an experiment, the name of a proxy.
    pub object: Option<String>,
    /// Digest of the plan that it is about.
    pub plan_hash: Option<String>,
    /// Whether it was let.
    pub decision: Decision,
    /// In words.
    pub reason: Option<String>,
}

impl Act {
    /// Something that squall does by itself.
    pub fn own(action: &str, object: Option<&str>, reason: impl Into<String>) -> Act {
        Act {
            actor: "squall".into(),
            action: action.into(),
            object: object.map(str::to_owned),
            reason: Some(reason.into()),
            ..Act::default()
        }
    }

    /// Something that somebody does.
    pub fn by(who: &Identity, action: &str, object: Option<&str>, reason: impl Into<String>) -> Act {
        Act {
            actor: who.name.to_string(),
            role: Some(who.role.to_string()),
            peer: Some(who.peer.to_string()),
            ..Act::own(action, object, reason)
        }
    }

    /// About the plan with this digest; empty: none.
    #[must_use]
    pub fn plan(self, digest: &str) -> Act {
        Act { plan_hash: Some(digest.to_owned()).filter(|digest| !digest.is_empty()), ..self }
    }
}

/// A record as it is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 1, without gaps.
    pub seq: u64,
    /// Wall clock, RFC 3339 in UTC with microseconds: for people, it may jump.
    pub ts: String,
    /// `CLOCK_MONOTONIC` of this boot, ns: what order and distance are told by.
    pub mono_ns: u64,
    /// Of the kernel's; empty where there is none.
    pub boot_id: String,
    /// As in [`Act`].
    pub actor: String,
    /// As in [`Act`].
    pub role: Option<String>,
    /// As in [`Act`].
    pub peer: Option<String>,
    /// As in [`Act`].
    pub action: String,
    /// As in [`Act`].
    pub object: Option<String>,
    /// As in [`Act`].
    pub plan_hash: Option<String>,
    /// As in [`Act`].
    pub decision: Decision,
    /// As in [`Act`].
    pub reason: Option<String>,
    /// Hash of the record before, hex; zeros: it is the first.
    pub prev: String,
}

impl Record {
    /// The whole line, and the hash that the next record carries.
    pub(super) fn line(&self, prev: Head) -> (Vec<u8>, Head) {
        let json = serde_json::to_vec(self).unwrap_or_default(); // text and numbers: nothing that JSON lacks
        let head = prev.next(&json);
        let mut line = format!("{head} ").into_bytes();
        line.extend_from_slice(&json);
        line.push(b'\n');
        (line, head)
    }
}

/// Text from outside, short enough for a record.
pub(super) fn bounded(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(FIELD) {
        text.truncate(at);
        text.push('…');
    }
    text
}
