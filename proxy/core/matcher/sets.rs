//! The regular expressions of many rules about one subject, evaluated together: one pass over the value for all of them.

use std::cell::OnceCell;
use std::collections::HashMap;

use regex::bytes::{RegexSet, RegexSetBuilder, SetMatches};

use super::condition::{Rule, View};
use super::pattern::{Subject, Text, readable};

/// With fewer survivors, or fewer expressions about a subject, one by one is cheaper.
pub(super) const MANY: usize = 8;
/// Bytes that the expressions about one subject may take together; above they are evaluated one by one.
const MEMORY: usize = 32 << 20;

/// Where an expression is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) set: usize,
    pub(super) at: usize,
}

/// Sets by subject.
#[derive(Debug, Default)]
pub(super) struct Sets(Vec<(Subject, RegexSet)>);

impl Sets {
    /// Compiles the expressions of all rules, and tells each where it is. Equal ones are evaluated once.
    pub(super) fn compile(rules: &mut [Rule]) -> Sets {
        let mut wanted: HashMap<Subject, Vec<String>> = HashMap::new();
        let mut known: HashMap<(Subject, String), usize> = HashMap::new();
        for rule in rules.iter_mut() {
            rule.texts(&mut |one| {
                let Text::Regex(regex) = &one.text else { return };
                known.entry((one.subject.clone(), regex.as_str().to_owned())).or_insert_with(|| {
                    let all = wanted.entry(one.subject.clone()).or_default();
                    all.push(regex.as_str().to_owned());
                    all.len() - 1
                });
            });
        }
        let build = |expressions: &[String]| {
            RegexSetBuilder::new(expressions).size_limit(MEMORY).dfa_size_limit(MEMORY).build().ok()
        };
        let many = wanted.into_iter().filter(|(_, expressions)| expressions.len() >= MANY);
        let sets: Vec<(Subject, RegexSet)> =
            many.filter_map(|(subject, expressions)| Some((subject, build(&expressions)?))).collect();
        let by_subject: HashMap<&Subject, usize> =
            sets.iter().enumerate().map(|(at, (subject, _))| (subject, at)).collect();
        for rule in rules {
            rule.texts(&mut |one| {
                let Text::Regex(regex) = &one.text else { return };
                let at = known.get(&(one.subject.clone(), regex.as_str().to_owned()));
                one.place = by_subject.get(&one.subject).zip(at).map(|(set, at)| Place { set: *set, at: *at });
            });
        }
        Sets(sets)
    }

    /// For one request: nothing is evaluated yet.
    pub(super) fn found(&self) -> Found<'_> {
        Found { sets: self, matches: self.0.iter().map(|_| OnceCell::new()).collect() }
    }
}

/// What the expressions have found in one request, as far as somebody asked: by set, for each of the values.
pub(super) struct Found<'a> {
    sets: &'a Sets,
    matches: Vec<OnceCell<Vec<SetMatches>>>,
}

impl Found<'_> {
    /// Whether an expression holds for one of the values.
    pub(super) fn holds(&self, place: Place, view: &View<'_>) -> bool {
        self.matches(place.set, view).iter().any(|matches| matches.matched(place.at))
    }

    /// The expressions of a set that hold, for each of the values.
    pub(super) fn in_set(&self, set: usize, view: &View<'_>) -> impl Iterator<Item = usize> {
        self.matches(set, view).iter().flat_map(SetMatches::iter)
    }

    fn matches(&self, set: usize, view: &View<'_>) -> &[SetMatches] {
        let Some(((subject, expressions), matches)) = self.sets.0.get(set).zip(self.matches.get(set)) else {
            return &[];
        };
        matches.get_or_init(|| {
            let mut all = Vec::new();
            view.any(subject, |value| {
                all.push(expressions.matches(&readable(value)));
                false
            });
            all
        })
    }
}
