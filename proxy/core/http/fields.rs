//! The fields of a message: their text in one piece, and where in it each of them is.

use std::fmt;

/// Fields in order, as sent: names keep their case (and compare without it), values their bytes. Two allocations, used again
/// after [`Fields::clear`].
#[derive(Clone, Default)]
pub struct Fields {
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// Where a field is in the text: its name, then at once its value.
#[derive(Clone, Copy, Debug)]
struct Line {
    at: u32,
    name: u16,
    value: u32,
}

impl Fields {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| self.field(*line))
    }

    /// The value of the first field of this name.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(other, _)| is_same(other, name)).map(|(_, value)| value)
    }

    /// The same where it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| is_same(other, name)).map(|(_, value)| value)
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Whether one of the comma-separated elements of the fields of this name is `token`, without regard to case
    /// (RFC 9110, 5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let elements = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        elements.map(<[u8]>::trim_ascii).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Adds one behind all others. What is longer than a field can be (64 KiB of name, 4 GiB in all) is left out; whether it
    /// may be sent is for the caller to tell: [`is_field_name`], [`is_field_value`].
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let (Ok(at), Ok(name_len)) = (u32::try_from(self.text.len()), u16::try_from(name.len())) else { return };
        let Ok(value_len) = u32::try_from(value.len()) else { return };
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.lines.push(Line { at, name: name_len, value: value_len });
    }

    /// Puts one in the place of the first of its name, and takes the others of it away; adds it where there is none.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        let Some(first) = self.iter().position(|(other, _)| other.eq_ignore_ascii_case(name)) else {
            return self.push(name, value);
        };
        let before = self.lines.len();
        self.push(name, value);
        if self.lines.len() == before {
            return;
        }
        self.lines.swap_remove(first); // the new one, the last, comes into its place
        let own = self.lines[first].at;
        self.retain_lines(|line, other| line.at == own || !other.eq_ignore_ascii_case(name));
    }

    /// Takes all fields of this name away; returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.lines.len();
        self.retain(|other, _| !is_same(other, name));
        before - self.lines.len()
    }

    /// Keeps the fields for which `keep` (name, value) says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Fields { text, lines } = self;
        lines.retain(|line| {
            let (name, value) = line.of(text);
            keep(name, value)
        });
    }

    /// Bytes of memory that they take up.
    pub fn room(&self) -> usize {
        self.text.capacity() + self.lines.capacity() * size_of::<Line>()
    }

    /// Takes all away and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.lines.clear();
    }

    fn retain_lines(&mut self, mut keep: impl FnMut(&Line, &[u8]) -> bool) {
        let Fields { text, lines } = self;
        lines.retain(|line| keep(line, line.of(text).0));
    }

    fn field(&self, line: Line) -> (&[u8], &[u8]) {
        line.of(&self.text)
    }
}

impl Line {
    fn of(self, text: &[u8]) -> (&[u8], &[u8]) {
        let at = self.at as usize;
        let value = at + usize::from(self.name);
        (&text[at..value], &text[value..value + self.value as usize])
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Fields {
        let mut all = Fields::default();
        fields.into_iter().for_each(|(name, value)| all.push(name, value));
        all
    }
}

/// The same names, in whatever case, with the same values, in the same order.
impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        let mut pairs = self.iter().zip(other.iter());
        self.len() == other.len() && pairs.all(|((a, x), (b, y))| a.eq_ignore_ascii_case(b) && x == y)
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        f.debug_list().entries(self.iter().map(|(name, value)| format!("{}: {}", text(name), text(value)))).finish()
    }
}

fn is_same(name: &[u8], other: &str) -> bool {
    name.eq_ignore_ascii_case(other.as_bytes())
}

/// Whether bytes may stand as a field's name: a token (RFC 9110, 5.1 and 5.6.2).
pub fn is_field_name(name: &[u8]) -> bool {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !name.is_empty() && name.iter().all(is_token)
}

/// Whether bytes may stand as a field's value: no control character but the tab (RFC 9110, 5.5).
pub fn is_field_value(value: &[u8]) -> bool {
    value.iter().all(|b| !b.is_ascii_control() || *b == b'\t')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(all: &[(&str, &str)]) -> Fields {
        all.iter().copied().collect()
    }

    #[test]
    fn names_compare_without_case_and_keep_it() {
        let all = fields(&[("Host", "a"), ("X-Tag", "1"), ("x-tag", "2")]);
        assert_eq!(all.value("x-TAG"), Some(&b"1"[..]));
        assert_eq!(all.values("x-tag").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(all.iter().nth(1).unwrap().0, b"X-Tag");
        assert_eq!(all, fields(&[("host", "a"), ("x-tag", "1"), ("X-Tag", "2")]));
    }

    #[test]
    fn set_takes_the_place_of_all_of_its_name() {
        let mut all = fields(&[("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")]);
        all.set("a", "new");
        assert_eq!(all, fields(&[("a", "new"), ("b", "2"), ("c", "4")]));
        all.set("d", "5");
        assert_eq!(all.len(), 4);
        assert_eq!(all.remove("B"), 1);
        assert_eq!(all, fields(&[("a", "new"), ("c", "4"), ("d", "5")]));
        all.clear();
        assert!(all.is_empty() && all.value("a").is_none());
    }

    #[test]
    fn a_token_is_found_in_any_element_of_a_list() {
        let all = fields(&[("connection", "keep-alive, Upgrade"), ("connection", "x")]);
        assert!(all.has_token("Connection", "upgrade") && all.has_token("connection", "X"));
        assert!(!all.has_token("connection", "keep") && !all.has_token("te", "x"));
    }

    #[test]
    fn names_and_values_that_could_split_a_message_are_told() {
        assert!(is_field_name(b"x-a!") && !is_field_name(b"a b") && !is_field_name(b"") && !is_field_name(b"a:"));
        assert!(is_field_value(b"a\tb \xff") && !is_field_value(b"a\r\nb") && !is_field_value(b"\0"));
    }
}
