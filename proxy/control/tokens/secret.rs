//! A token as it is shown: `sqt_<id>_<32 random bytes><checksum>`, id and rest in base62. The prefix and the checksum (as in
//! GitHub's "Behind GitHub's new authentication token formats") let scanners of leaked secrets find it without asking anybody.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

/// What every token begins with.
pub(crate) const PREFIX: &str = "sqt_";
/// Characters of an id.
pub(super) const ID: usize = 8;
/// Random bytes of the secret.
const BYTES: usize = 32;
/// Characters that they take: 62^43 > 256^32.
const BODY: usize = 43;
/// Characters of the checksum: 62^6 > 2^32.
const CHECK: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token as its owner has it. It is not shown by accident: ask for its [`Secret::text`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one, from the system's random numbers. Errors: it gives none.
    pub fn new() -> std::io::Result<Secret> {
        let mut bytes = [0_u8; BYTES + 8];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
        }
        let (body, id) = bytes.split_at(BYTES);
        let plain = format!("{PREFIX}{}_{}", base62(id, ID), base62(body, BODY));
        let check = checksum(&plain);
        Ok(Secret(plain + &check))
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.0[PREFIX.len()..PREFIX.len() + ID]
    }

    /// SHA-256, hex. 256 random bits need no slow hash.
    pub fn sha256(&self) -> String {
        Sha256::digest(self.0.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this is its hash; takes the same time wherever the two differ.
    pub(super) fn matches(&self, sha256: &str) -> bool {
        let own = self.sha256();
        let differences = own.bytes().zip(sha256.bytes()).fold(0, |found, (a, b)| black_box(found | (a ^ b)));
        differences == 0 && own.len() == sha256.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.id())
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Secret, String> {
        let is_shaped = text.is_ascii()
            && text.len() == PREFIX.len() + ID + 1 + BODY + CHECK
            && text.strip_prefix(PREFIX).and_then(|rest| rest.as_bytes().get(ID)) == Some(&b'_')
            && text[PREFIX.len()..].bytes().filter(|b| *b != b'_').all(|b| b.is_ascii_alphanumeric());
        let (plain, check) = text.split_at_checked(text.len().saturating_sub(CHECK)).unwrap_or_default();
        match is_shaped && checksum(plain) == check {
            true => Ok(Secret(text.to_owned())),
            false => Err("this is not a token of squall's, or a character of it is wrong".into()),
        }
    }
}

/// A number in base 62, its most significant byte first, in exactly so many digits: those beyond are cut off.
fn base62(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_usize;
        for byte in &mut number {
            let value = rest << 8 | usize::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or_default();
            rest = value % 62;
        }
        *digit = DIGITS[rest];
    }
    text.into_iter().map(char::from).collect()
}

fn checksum(text: &str) -> String {
    base62(&crc32(text.as_bytes()).to_be_bytes(), CHECK)
}

/// CRC-32 as in IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_are_long_different_and_checked() {
        let (one, two) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.text().parse::<Secret>().unwrap(), one);
        assert!(one.matches(&one.sha256()) && !one.matches(&two.sha256()) && !one.matches(""));
        assert!(!format!("{one:?}").contains(&one.text()[16..]));
        let mut wrong = one.text().to_owned().into_bytes();
        for at in 0..wrong.len() {
            let right = wrong[at];
            wrong[at] = if right == b'a' { b'b' } else { b'a' };
            assert!(String::from_utf8(wrong.clone()).unwrap().parse::<Secret>().is_err(), "at {at}");
            wrong[at] = right;
        }
        for text in ["", "sqt_", &one.text()[1..], &format!("{}a", one.text()), "sqt_ü"] {
            assert!(text.parse::<Secret>().is_err(), "{text}");
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926); // the check value of the standard
        assert_eq!((base62(&[61], 2), base62(&[1, 0], 2), base62(&[62], 1)), ("0z".into(), "48".into(), "0".into()));
    }
}
