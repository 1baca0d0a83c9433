//! Bytes by their class, and how far a run of one class goes.

/// Where the run of token bytes (RFC 9110, 5.6.2) from `from` on ends.
pub(super) fn token_end(text: &[u8], from: usize) -> usize {
    run_end(text, from, &TOKEN)
}

/// Where the run of bytes that may stand in a target ends: what can be seen in ASCII, without the `#` of a fragment.
pub(super) fn target_end(text: &[u8], from: usize) -> usize {
    run_end(text, from, &TARGET)
}

/// Whether nothing but what may stand in a target is there.
pub(crate) fn is_target(text: &[u8]) -> bool {
    target_end(text, 0) == text.len()
}

/// Where the run of bytes that may stand in a field's value (RFC 9110, 5.5) ends: at a control character but the tab.
pub(super) fn value_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        match first_control(&text[at..]) {
            None => return text.len(),
            Some(n) if text[at + n] == b'\t' => at += n + 1,
            Some(n) => return at + n,
        }
    }
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && token_end(text, 0) == text.len()
}

/// Without spaces and tabs at both ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(first) = text.iter().position(|byte| !is_space(byte)) else { return &[] };
    let last = text.iter().rposition(|byte| !is_space(byte)).unwrap_or(first);
    &text[first..=last]
}

/// The elements of a list (RFC 9110, 5.6.1), empty ones too.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Whether a line ends here. None: it can't be told yet.
pub(super) fn line_end(text: &[u8], at: usize) -> Option<bool> {
    match text.get(at..)? {
        [] | [b'\r'] => None,
        [b'\r', b'\n', ..] => Some(true),
        _ => Some(false),
    }
}

type Class = [bool; 256];

const TOKEN: Class = {
    let mut class = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        class[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut n = 0;
    while n < others.len() {
        class[others[n] as usize] = true;
        n += 1;
    }
    class
};

const TARGET: Class = {
    let mut class = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7F {
        class[byte] = byte != b'#' as usize;
        byte += 1;
    }
    class
};

fn run_end(text: &[u8], from: usize, class: &Class) -> usize {
    let run = text[from..].iter().position(|byte| !class[usize::from(*byte)]);
    run.map_or(text.len(), |n| from + n)
}

/// Where the first control character is, the tab included; eight bytes at a time.
fn first_control(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let found = controls(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(n * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(u8::is_ascii_control).map(|n| words.len() * 8 + n)
}

/// The highest bit of the lowest byte that is a control character; of those above it, perhaps that of another byte too.
fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    (below(word, 0x20) | below(word ^ (ONES * 0x7F), 1)) & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_character_is_found_wherever_it_stands_and_nothing_else_is_one() {
        for byte in 0..=255_u8 {
            for at in 0..19 {
                let mut text = [b'a'; 19];
                text[at] = byte;
                let expected = if byte != b'\t' && (byte < 0x20 || byte == 0x7F) { at } else { 19 };
                assert_eq!(value_end(&text, 0), expected, "{byte:#x} at {at}");
                text.fill(0xFF);
                text[at] = byte;
                assert_eq!(value_end(&text, 0), expected, "{byte:#x} at {at} among 0xff");
            }
        }
        assert_eq!(value_end(b"a\t\t\tb\t\n", 0), 6);
        assert_eq!(value_end(b"\n123456", 1), 7);
    }

    #[test]
    fn classes_are_those_of_the_standards() {
        for byte in 0..=255_u8 {
            assert_eq!(is_token(&[byte]), squall_core::http::is_field_name(&[byte]), "{byte:#x}");
            assert_eq!(target_end(&[byte], 0) == 1, byte.is_ascii_graphic() && byte != b'#', "{byte:#x}");
        }
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }
}
