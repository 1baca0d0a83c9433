//! Many rules compiled together.

use super::MatchSpec;
use super::condition::{Facts, Rule, View};
use super::index::Index;
use super::sets::{MANY, Place, Sets};
use crate::http::Request;

/// Rules compiled together, once per plan: which of them hold for a request costs close to the same for 10 and for 1,000.
///
/// A request is looked up in an index by its parts; of the rules that may hold then, each is evaluated. The regular
/// expressions about one subject run in one pass where there are many.
#[derive(Debug, Default)]
pub struct Rules {
    /// Those that need no answer.
    early: Part,
    /// Those that do.
    late: Part,
}

#[derive(Debug, Default)]
struct Part {
    /// The place of each among all rules, ascending.
    places: Vec<u32>,
    rules: Vec<Rule>,
    index: Index,
    sets: Sets,
    /// Rules that only an expression tells apart from others, by set and expression.
    told_by: Vec<(usize, Vec<Vec<u32>>)>,
}

impl Rules {
    /// Compiles rules in order; none stands for one that always holds.
    pub fn compile<'a>(rules: impl IntoIterator<Item = Option<&'a MatchSpec>>) -> Rules {
        let everything = MatchSpec::default();
        let all = (0_u32..).zip(rules.into_iter().map(|rule| rule.unwrap_or(&everything)));
        let (late, early): (Vec<_>, Vec<_>) = all.partition(|(_, rule)| rule.needs_answer());
        Rules { early: Part::compile(&early), late: Part::compile(&late) }
    }

    /// Appends the places (from 0) of the rules that hold, ascending. Without a response: of the rules that need none. With
    /// one: of the rules that need one.
    pub fn matching(&self, request: &Request, facts: &Facts<'_>, into: &mut Vec<u32>) {
        let part = if facts.response.is_some() { &self.late } else { &self.early };
        if !part.rules.is_empty() {
            part.matching(&View::new(request, facts), into);
        }
    }

    /// Whether any rule needs the answer's head.
    pub fn needs_answer(&self) -> bool {
        !self.late.rules.is_empty()
    }
}

impl Part {
    fn compile(rules: &[(u32, &MatchSpec)]) -> Part {
        let places = rules.iter().map(|(place, _)| *place).collect();
        let mut rules: Vec<Rule> = rules.iter().map(|(_, rule)| Rule::compile(rule)).collect();
        let (mut index, sets) = (Index::compile(&rules), Sets::compile(&mut rules));
        let mut told_by: Vec<(usize, Vec<Vec<u32>>)> = Vec::new();
        index.take_rest(|rule| {
            let Some(Place { set, at }) = rules.get(rule as usize).and_then(Rule::place) else { return false };
            let of_set = match told_by.iter().position(|(other, _)| *other == set) {
                Some(known) => &mut told_by[known].1,
                None => {
                    told_by.push((set, Vec::new()));
                    let last = told_by.len() - 1;
                    &mut told_by[last].1
                }
            };
            of_set.resize(of_set.len().max(at + 1), Vec::new());
            of_set[at].push(rule);
            true
        });
        Part { places, index, sets, told_by, rules }
    }

    fn matching(&self, view: &View<'_>, into: &mut Vec<u32>) {
        let start = into.len();
        self.index.candidates(view, into);
        let mut found = (!self.told_by.is_empty()).then(|| self.sets.found());
        for ((set, rules), found) in self.told_by.iter().zip(found.iter().cycle()) {
            for at in found.in_set(*set, view) {
                into.extend(rules.get(at).into_iter().flatten());
            }
        }
        into[start..].sort_unstable();
        found = match into.len() - start >= MANY {
            true => found.or_else(|| Some(self.sets.found())),
            false => None,
        };
        let (mut kept, mut last) = (start, None);
        for at in start..into.len() {
            let candidate = into[at];
            if last.replace(candidate) == Some(candidate) {
                continue;
            }
            let own = candidate as usize;
            let Some((rule, place)) = self.rules.get(own).zip(self.places.get(own)) else { continue };
            if rule.holds(view, found.as_ref()) {
                into[kept] = *place;
                kept += 1;
            }
        }
        into.truncate(kept);
    }
}
