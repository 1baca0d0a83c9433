//! Tokens: who they are, what they may do, until when. The file has no secrets in it: of each token an id and a hash.

mod file;
mod secret;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use squall_core::stamp;
use squall_core::who::{Identity, Proof, Role};

pub use self::file::{TokenFile, change};
pub(crate) use self::secret::PREFIX;
pub use self::secret::Secret;

/// Tokens in one file at most.
pub const ROOM: usize = 1_000;

/// The content of a token file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// In the order in which they were made.
    #[serde(default, rename = "token")]
    pub all: Vec<Token>,
}

/// One token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Eight letters and digits, the second part of the secret: names it without giving it away.
    pub id: String,
    /// Who has it; tokens of the same name are the same person.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// For approvals by group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Experiments that it is about, by name, `*` for any characters; empty: all, and everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// When it was made, RFC 3339.
    pub made: String,
    /// From when on it is refused, RFC 3339.
    pub expires: String,
    /// Since when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// SHA-256 of the secret, hex.
    pub sha256: String,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who has it.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// For approvals by group.
    pub groups: Vec<String>,
    /// See [`Token::scope`].
    pub scope: Vec<String>,
    /// How long it holds.
    pub lasts: Duration,
}

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no token, or none of these.
    Unknown,
    /// It was one until then.
    Expired,
    /// It was taken back.
    Revoked,
}

impl Tokens {
    /// Reads a file's text. Errors: in words, with the token that is wrong.
    pub fn parse(text: &str) -> Result<Tokens, String> {
        let tokens: Tokens = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if tokens.all.len() > ROOM {
            return Err(format!("{} tokens: at most {ROOM} are taken", tokens.all.len()));
        }
        for (n, token) in tokens.all.iter().enumerate() {
            token.check()?;
            if tokens.all[..n].iter().any(|other| other.id == token.id) {
                return Err(format!("two tokens have the id `{}`", token.id));
            }
        }
        Ok(tokens)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let head =
            "# Made by `squall token`; read anew when it changes. Secrets are not kept here, only their hashes.\n\n";
        format!("{head}{}", toml::to_string(self).unwrap_or_default()) // text and lists: nothing that TOML lacks
    }

    /// Adds a token; gives its secret, which nobody can ask for again. Errors: names or times that can't be, in words.
    pub fn make(&mut self, wanted: Wanted, now: SystemTime) -> Result<(Token, Secret), String> {
        let secret = Secret::new().map_err(|error| format!("the system gives no random numbers: {error}"))?;
        if self.all.len() >= ROOM {
            return Err(format!("there are {ROOM} tokens already: take out of the file what is not needed any more"));
        }
        let token = Token {
            id: secret.id().to_owned(),
            name: wanted.name,
            role: wanted.role,
            groups: wanted.groups,
            scope: wanted.scope,
            made: stamp::rfc3339(now, 0),
            expires: stamp::rfc3339(later(now, wanted.lasts)?, 0),
            revoked: None,
            sha256: secret.sha256(),
        };
        token.check()?;
        self.all.push(token.clone());
        Ok((token, secret))
    }

    /// Takes back every token of this id or name that still holds; gives them. Errors: there is none.
    pub fn revoke(&mut self, who: &str, now: SystemTime) -> Result<Vec<Token>, String> {
        let holding = self.all.iter_mut().filter(|token| token.is(who) && token.holds(now).is_ok());
        let revoked: Vec<Token> = holding
            .map(|token| {
                token.revoked = Some(stamp::rfc3339(now, 0));
                token.clone()
            })
            .collect();
        match revoked.is_empty() {
            true => Err(format!("no token of the id or name `{who}` holds")),
            false => Ok(revoked),
        }
    }

    /// Puts a new token in the place of the one of this id or name, which holds for `overlap` longer. The new one lasts as
    /// long as the old one was made for unless `lasts` says otherwise. Errors: there is none, or there are several.
    pub fn rotate(
        &mut self,
        who: &str,
        lasts: Option<Duration>,
        overlap: Duration,
        now: SystemTime,
    ) -> Result<(Token, Secret), String> {
        let mut holding = self.all.iter_mut().filter(|token| token.is(who) && token.holds(now).is_ok());
        let (old, several) = (holding.next(), holding.next().is_some());
        let old = old.ok_or_else(|| format!("no token of the id or name `{who}` holds"))?;
        if several {
            return Err(format!("`{who}` has several tokens: say which by its id (`squall token list`)"));
        }
        let times = stamp::parse(&old.expires).zip(stamp::parse(&old.made));
        let made_for = times.and_then(|(end, start)| end.duration_since(start).ok());
        let Token { name, role, groups, scope, .. } = old.clone();
        let lasts = lasts.or(made_for).unwrap_or_default();
        match overlap.is_zero() {
            true => old.revoked = Some(stamp::rfc3339(now, 0)),
            false => {
                let end = stamp::rfc3339(later(now, overlap)?, 0);
                old.expires = old.expires.clone().min(end); // one form, so that the text is ordered as the time is
            }
        }
        self.make(Wanted { name, role, groups, scope, lasts }, now)
    }

    /// Whose secret this is. It takes the same time whether an id is known or not.
    pub fn verify(&self, text: &str, now: SystemTime) -> Result<&Token, Refused> {
        let secret: Secret = text.parse().map_err(|_| Refused::Unknown)?;
        let found = self.all.iter().find(|token| token.id == secret.id());
        let nobody = "0".repeat(64);
        let is_right = secret.matches(found.map_or(&nobody, |token| &token.sha256));
        let token = found.filter(|_| is_right).ok_or(Refused::Unknown)?;
        token.holds(now).map(|()| token)
    }
}

impl Token {
    /// Who shows it.
    pub fn identity(&self, peer: &str) -> Identity {
        Identity {
            groups: self.groups.as_slice().into(),
            scope: self.scope.as_slice().into(),
            ..Identity::new(&self.name, self.role, Proof::Token(self.id.clone()), peer)
        }
    }

    /// Whether it lets anybody in.
    pub fn holds(&self, now: SystemTime) -> Result<(), Refused> {
        if self.revoked.is_some() {
            return Err(Refused::Revoked);
        }
        match stamp::parse(&self.expires) {
            Some(end) if now < end => Ok(()),
            _ => Err(Refused::Expired),
        }
    }

    fn is(&self, who: &str) -> bool {
        self.id == who || self.name == who
    }

    fn check(&self) -> Result<(), String> {
        let who = format!("token `{}`", self.id.escape_debug());
        if self.id.len() != secret::ID || !self.id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(format!("{who}: an id is {} letters and digits", secret::ID));
        }
        for (what, text) in [("name", &self.name)].into_iter().chain(self.groups.iter().map(|group| ("group", group))) {
            let fits = |c: char| !c.is_control() && !c.is_whitespace() && c != '`';
            if !(1..=80).contains(&text.chars().count()) || !text.chars().all(fits) {
                return Err(format!("{who}: a {what} has 1 to 80 characters, none of them a space"));
            }
        }
        if self.scope.iter().any(|pattern| pattern.is_empty() || pattern.chars().any(char::is_control)) {
            return Err(format!("{who}: a scope is the name of an experiment, `*` for any characters"));
        }
        for (field, text) in [("made", &self.made), ("expires", &self.expires)] {
            if stamp::parse(text).is_none() {
                return Err(format!("{who}: `{field}` is not a time such as 2026-11-22T18:45:08Z"));
            }
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("{who}: `sha256` is not 64 hexadecimal digits"));
        }
        Ok(())
    }
}

impl Refused {
    /// In words, for whoever showed it.
    pub fn told(self) -> &'static str {
        match self {
            Refused::Unknown => "this token is not known here",
            Refused::Expired => "this token has expired: `squall token rotate` makes a new one",
            Refused::Revoked => "this token has been revoked",
        }
    }
}

fn later(now: SystemTime, lasts: Duration) -> Result<SystemTime, String> {
    if lasts < Duration::from_secs(1) {
        return Err("a token lasts for a second at least".into());
    }
    now.checked_add(lasts).ok_or_else(|| "that is too far away".into())
}

/// Tokens in force, as many threads see them.
pub(crate) type Shared = Arc<Tokens>;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn wanted(name: &str, role: Role) -> Wanted {
        let lasts = Duration::from_secs(100);
        Wanted { name: name.into(), role, groups: vec!["security".into()], scope: vec![], lasts }
    }

    #[test]
    fn a_token_lets_its_owner_in_until_it_ends() {
        let mut tokens = Tokens::default();
        let (token, secret) = tokens.make(wanted("alice", Role::Operator), at(0)).unwrap();
        tokens = Tokens::parse(&tokens.text()).unwrap();
        assert!(!tokens.text().contains(secret.text()));
        assert_eq!(tokens.verify(secret.text(), at(99)).unwrap(), &token);
        assert_eq!(token.identity("here").groups[..], ["security".to_owned()]);
        assert_eq!(tokens.verify(secret.text(), at(100)), Err(Refused::Expired));
        let other = Secret::new().unwrap();
        assert_eq!(tokens.verify(other.text(), at(0)), Err(Refused::Unknown));
        assert_eq!(tokens.verify("sqt_", at(0)), Err(Refused::Unknown));
        assert_eq!(tokens.revoke("alice", at(5)).unwrap()[0].id, token.id);
        assert_eq!(tokens.verify(secret.text(), at(6)), Err(Refused::Revoked));
        assert!(tokens.revoke("alice", at(5)).is_err());
    }

    #[test]
    fn a_rotated_token_ends_at_once_or_after_the_overlap() {
        let mut tokens = Tokens::default();
        let (_, first) = tokens.make(wanted("ci", Role::Operator), at(0)).unwrap();
        let (_, second) = tokens.rotate("ci", None, Duration::from_secs(10), at(1)).unwrap();
        assert!(tokens.verify(first.text(), at(10)).is_ok());
        assert_eq!(tokens.verify(first.text(), at(11)), Err(Refused::Expired));
        assert!(tokens.verify(second.text(), at(100)).is_ok());
        let (third, _) = tokens.rotate("ci", Some(Duration::from_secs(5)), Duration::ZERO, at(20)).unwrap();
        assert_eq!(tokens.verify(second.text(), at(20)), Err(Refused::Revoked));
        assert_eq!((third.role, third.holds(at(25))), (Role::Operator, Err(Refused::Expired)));
        assert!(tokens.rotate("ci", None, Duration::ZERO, at(26)).is_err());
    }

    #[test]
    fn what_is_no_token_file_is_told_why() {
        let mut tokens = Tokens::default();
        tokens.make(wanted("a", Role::Viewer), at(0)).unwrap();
        let text = tokens.text();
        for (from, to, why) in [
            ("viewer", "root", "unknown variant"),
            ("name = \"a\"", "name = \"a b\"", "none of them a space"),
            ("expires = \"", "expires = \"x", "is not a time"),
            ("sha256 = \"", "sha256 = \"x", "hexadecimal"),
            ("id = \"", "id = \"x", "letters and digits"),
            ("role", "rule", "unknown field"),
        ] {
            let wrong = Tokens::parse(&text.replacen(from, to, 1)).unwrap_err();
            assert!(wrong.contains(why), "{to}: {wrong}");
        }
        let twice = format!("{text}{}", text.split_once("\n\n").unwrap().1);
        assert!(Tokens::parse(&twice).unwrap_err().contains("two tokens"));
        assert!(tokens.make(Wanted { lasts: Duration::ZERO, ..wanted("b", Role::Viewer) }, at(0)).is_err());
    }
}
