//! Whatever the text, the answer is a checked scenario or at least one message.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

const PIECES: &[&str] = &[
    "",
    "\"",
    "'''",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    "\n",
    "\r\n",
    "#",
    "-1",
    "0",
    "nan",
    "-inf",
    "1e999",
    "\"-5ms\"",
    "18446744073709551616",
    "\"99999999h\"",
    "\u{feff}",
    "\u{1b}",
    "ä",
    "[[fault]]\n",
    "[[proxy]]\n",
    "name = \"a\"\n",
    "kind = \"cut\"\n",
    "for = \"0s\"\n",
    "every = \"1s\"\n",
    "{ from = 1, to = 2, over = \"1s\" }",
    "{ steps = [] }",
    "\"${x}\"",
    "true",
    "[[[[[[[[",
    "a.a.a.a.a.a.a.a.",
    "proxy = \"*\"\n",
    "1979-05-27",
];

#[test]
fn random_changes_never_break_the_reader() {
    let files =
        ["first-drill.toml", "redis-slow.toml", "checkout-brownout.toml", "library-example.toml", "squall.toml"];
    let texts: Vec<String> = files.iter().map(|file| golden(file).text.clone()).collect();
    let change = (any::<prop::sample::Index>(), 0..60_usize, 0..PIECES.len());
    let changes = (0..texts.len(), prop::collection::vec(change, 1..4));
    let config = Config { cases: 3000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (taken, refused) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let result = runner.run(&changes, |(file, changes)| {
        let mut text: Vec<char> = texts[file].chars().collect();
        for (place, length, piece) in changes {
            let at = place.index(text.len().max(1)).min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        let outcome = check_all(&[source(&text.iter().collect::<String>())], &Options::default());
        let shown = render(&outcome.diagnostics, false);
        let is_taken = outcome.config.is_some() || !outcome.scenarios.is_empty();
        prop_assert_eq!(is_taken, !outcome.has_errors(), "{}", shown);
        prop_assert!(
            outcome.diagnostics.iter().all(|one| one.span.is_some() || one.field.is_some() || one.source.is_some())
        );
        let count = if is_taken { &taken } else { &refused };
        count.set(count.get() + 1);
        Ok(())
    });
    result.unwrap();
    assert!(taken.get() > 100 && refused.get() > 1000, "{} {}", taken.get(), refused.get());
}
