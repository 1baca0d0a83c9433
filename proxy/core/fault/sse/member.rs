//! Finds the text of a JSON member in a stream of bytes (RFC 8259, sections 4 and 7), without keeping any of it.

/// How far it has got in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seek {
    /// So many bytes of the name with its quotes have come.
    Name(usize),
    /// The name has come, and perhaps spaces.
    Colon,
    /// The colon too.
    Quote,
    /// The text has begun; the last byte was a backslash that escapes the next.
    Text { escapes: bool },
}

impl Default for Seek {
    fn default() -> Seek {
        Seek::Name(0)
    }
}

impl Seek {
    /// Takes the next byte. Returns whether it belongs to the text of a member of this name, its quotes apart.
    pub(super) fn step(&mut self, name: &str, byte: u8) -> bool {
        let from_the_start = Seek::Name(usize::from(byte == b'"'));
        let (next, is_text) = match (*self, byte) {
            (Seek::Text { escapes: true }, _) => (Seek::Text { escapes: false }, true),
            (Seek::Text { .. }, b'"') => (Seek::Name(0), false),
            (Seek::Text { .. }, _) => (Seek::Text { escapes: byte == b'\\' }, true),
            (Seek::Name(0), _) => (from_the_start, false),
            (Seek::Name(n), b'"') if n == name.len() + 1 => (Seek::Colon, false),
            (Seek::Name(n), _) if name.as_bytes().get(n - 1) == Some(&byte) => (Seek::Name(n + 1), false),
            (Seek::Colon, b':') => (Seek::Quote, false),
            (Seek::Quote, b'"') => (Seek::Text { escapes: false }, false),
            (Seek::Colon | Seek::Quote, b' ' | b'\t') => (*self, false),
            _ => (from_the_start, false),
        };
        *self = next;
        is_text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, json: &str) -> String {
        let mut seek = Seek::default();
        json.bytes().filter(|byte| seek.step(name, *byte)).map(char::from).collect()
    }

    #[test]
    fn the_text_of_a_member_is_found_and_nothing_else() {
        for (json, found) in [
            (r#"{"a":"b"}"#, "b"),
            (r#"{"x":1, "a" : "b\"c\\","b":"a"}"#, r#"b\"c\\"#),
            (r#"{"a":null,"aa":"x","b":"a"}"#, ""),
            (r#"{"t":"{\"a\":\"x\"}"}"#, ""),
            (r#"["a","a":"y",""a":"z"]"#, "yz"),
            (r#"{"a":"""#, ""),
        ] {
            assert_eq!(text("a", json), found, "{json}");
        }
        assert_eq!(text("arguments", r#"{"arguments":"{\"ci"}"#), r#"{\"ci"#);
    }
}
