//! Who asks: identities, and what their roles let them do.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What somebody may do; each role may do all that those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks; and aborts, as everybody may who is known.
    Viewer,
    /// Ends, holds and marks what runs; starts nothing.
    Aborter,
    /// Hands in, starts and goes on with experiments; changes proxies.
    Operator,
    /// Approves and rejects what others have handed in.
    Approver,
    /// Everything else.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 5] = [Role::Viewer, Role::Aborter, Role::Operator, Role::Approver, Role::Admin];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Aborter => "aborter",
            Role::Operator => "operator",
            Role::Approver => "approver",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let known = Role::ALL.into_iter().find(|role| role.word() == text);
        known.ok_or_else(|| format!("`{text}` is no role: expected viewer, aborter, operator, approver or admin"))
    }
}

/// How it is known who asks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// It is not: whoever reaches the port is the same local operator.
    Nothing,
    /// By a token of this id.
    Token(String),
    /// By a certificate.
    Certificate,
    /// By the kernel, on a unix socket: the user's number.
    User(u32),
}

/// Somebody who asks. Whoever has the same name is the same person, whatever the proof.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// What everybody calls them.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// How they are known.
    pub proof: Proof,
    /// From where they ask: an address, or `unix`.
    pub peer: Arc<str>,
    /// For approvals by group.
    pub groups: Arc<[String]>,
    /// The experiments that they have a say about, by name, `*` for any characters; empty: all, and all else.
    pub scope: Arc<[String]>,
}

impl Identity {
    /// Whoever reaches a port that asks for nothing, and whoever runs a program: may do everything, and can't be told from
    /// anybody else.
    pub fn local() -> Identity {
        Identity::new("local", Role::Admin, Proof::Nothing, "local")
    }

    /// Somebody of no group, with a say about everything that the role covers.
    pub fn new(name: &str, role: Role, proof: Proof, peer: &str) -> Identity {
        Identity { name: name.into(), role, proof, peer: peer.into(), groups: Arc::default(), scope: Arc::default() }
    }

    /// Whether they can be told from others.
    pub fn is_proven(&self) -> bool {
        self.proof != Proof::Nothing
    }

    /// Whether they have a say about an experiment of this name.
    pub fn covers(&self, experiment: &str) -> bool {
        self.scope.is_empty() || self.scope.iter().any(|pattern| crate::parse::glob(pattern, experiment))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roles_are_ordered_and_parse_what_they_print() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        assert!("root".parse::<Role>().unwrap_err().contains("viewer"));
    }

    #[test]
    fn a_scope_is_about_experiments() {
        let scoped = Identity { scope: ["checkout-*".to_owned()].into(), ..Identity::local() };
        assert!(scoped.covers("checkout-brownout") && !scoped.covers("redis-slow"));
        assert!(Identity::local().covers("anything"));
    }
}
