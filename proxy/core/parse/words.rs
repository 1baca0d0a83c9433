//! The nearest valid word, and lists of what was expected.

/// The word that somebody most likely meant; none if nothing is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let distance = |known: &str| {
        if known.replace('-', "_") == word.to_lowercase().replace('-', "_") { 0 } else { edits(word, known) }
    };
    let near = known.into_iter().map(|known| (distance(known), known)).min_by_key(|(edits, _)| *edits);
    near.filter(|(edits, _)| *edits <= allowed).map(|(_, known)| known)
}

/// The help that goes with [`nearest`].
pub(crate) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// "expected one of …", cut short where there are many.
pub(crate) fn expected<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 40;
    let mut known: Vec<&str> = known.into_iter().collect();
    let more = known.len().saturating_sub(SHOWN);
    known.truncate(SHOWN);
    let list: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    match (list.as_slice(), more) {
        ([], _) => "nothing may stand here".into(),
        ([one], 0) => format!("expected {one}"),
        (_, 0) => format!("expected one of {}", list.join(", ")),
        _ => format!("expected one of {} and {more} more", list.join(", ")),
    }
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let known = ["latency", "bandwidth", "cut", "limit_data"];
        for (word, meant) in [
            ("latenzy", "latency"),
            ("latnecy", "latency"),
            ("limit-data", "limit_data"),
            ("cuts", "cut"),
            ("Latency", "latency"),
        ] {
            assert_eq!(nearest(word, known), Some(meant), "{word}");
        }
        assert_eq!(nearest("shred", known), None);
        assert_eq!(nearest("", known), None);
    }
}
