//! How deep a TOML text is nested, told before it is parsed: a tree of a million levels can't even be dropped.

/// Levels of brackets, and of dotted keys, that are taken.
pub(crate) const MAX: usize = 32;

/// The place where a text gets deeper than [`MAX`]. Knows just enough of TOML to pass over strings and comments.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut brackets, mut dots) = (0, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = after_string(bytes, at);
                continue;
            }
            b'#' => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'[' | b'{' => (brackets, dots) = (brackets + 1, 0),
            b']' | b'}' => (brackets, dots) = (brackets.saturating_sub(1), 0),
            b'\n' | b'=' | b',' => dots = 0,
            b'.' => dots += 1,
            _ => {}
        }
        if brackets > MAX || dots >= MAX {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// Where the string that begins at `at` is over.
fn after_string(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let mut at = if triple { at + 3 } else { at + 1 };
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' && quote == b'"' {
            at += 2;
        } else if triple && bytes[at..].starts_with(&[quote; 3]) {
            return at + 3;
        } else if !triple && (*byte == quote || *byte == b'\n') {
            return at + 1;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_nesting_from_text() {
        for fine in [
            "a.b.c = [[1], {x.y = 1.5}]",
            "a = '''[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[['''",
            "a = \"\\\"[\" # [[[",
        ] {
            assert_eq!(too_deep(fine), None, "{fine}");
        }
        let dots = format!("x = \"...\"\n{}a = 1", "a.".repeat(100_000));
        assert_eq!(too_deep(&dots), Some(10 + 63));
        assert_eq!(too_deep(&"[".repeat(100_000)), Some(32));
        assert!(too_deep(&format!("a = {}", "{b = ".repeat(100))).is_some());
        for torn in ["\"", "'''", "\"\\", "'a", "\"\"\"a\"\""] {
            assert_eq!(too_deep(torn), None);
        }
    }
}
