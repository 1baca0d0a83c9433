//! The shipped scenarios: the files of `scenarios/`, embedded in the binary.

/// One shipped scenario.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// Its path under `scenarios/` without the ending: `stripe/rate-limit`.
    pub path: &'static str,
    /// The file's text.
    pub text: &'static str,
}

/// Path and text, by path.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// All shipped scenarios, by path.
pub fn all() -> impl Iterator<Item = Shipped> {
    FILES.iter().map(|&(path, text)| Shipped { path, text })
}

/// The scenario of this path or of this `name`.
pub fn find(name: &str) -> Option<Shipped> {
    all().find(|shipped| shipped.path == name).or_else(|| all().find(|shipped| shipped.field("name") == Some(name)))
}

impl Shipped {
    /// A text field of the scenario's head, as written; none: it has none.
    pub fn field(&self, key: &str) -> Option<&'static str> {
        let head = self.text.lines().take_while(|line| !line.trim_start().starts_with('['));
        head.filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim() == key)
            .and_then(|(_, value)| value.trim().strip_prefix('"')?.split('"').next())
    }

    /// Whether a word occurs in its path, or in what it says about itself.
    pub fn mentions(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let told = ["name", "title", "teaches", "hypothesis", "expected", "owner"];
        self.path.contains(&word)
            || told.iter().filter_map(|key| self.field(key)).any(|text| text.to_lowercase().contains(&word))
            || self.text.lines().any(|line| line.starts_with("tags") && line.to_lowercase().contains(&word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_found_by_path_and_by_name() {
        assert_eq!(find("stripe/rate-limit").map(|s| s.path), Some("stripe/rate-limit"));
        assert_eq!(find("stripe-rate-limit").map(|s| s.path), Some("stripe/rate-limit"));
        assert!(find("no-such-scenario").is_none());
    }

    #[test]
    fn a_word_finds_what_mentions_it() {
        let found: Vec<_> = all().filter(|s| s.mentions("Stripe")).map(|s| s.path).collect();
        assert!(found.len() > 5 && found.iter().all(|path| path.starts_with("stripe/")), "{found:?}");
        assert!(all().filter(|s| s.mentions("catalogue")).count() >= 1);
    }
}
