//! A history of writes, and whether the cluster kept what it had acknowledged.

use std::collections::BTreeSet;
use std::time::Instant;

/// What a client was told about its write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Acknowledged by its node, and within the time it was given by so many replicas.
    Acknowledged { replicas: u64 },
    /// Refused: it must not be anywhere.
    Refused,
    /// No answer: it may be there or not.
    Unknown,
}

/// One write of a number that no other write has.
#[derive(Clone, Debug)]
pub struct Write {
    pub number: u64,
    pub node: usize,
    /// When the client was told.
    pub told: Instant,
    pub answer: Answer,
}

/// A part of the plan that may cost writes: a primary cut off and replaced. What it acknowledged alone, meanwhile, is lost.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    pub node: usize,
    pub cut_off: Instant,
    pub demoted: Instant,
}

/// What became of the acknowledged writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Lost everywhere, and the plan says why.
    pub explained: BTreeSet<u64>,
    /// Everything else that is not as it must be, in words.
    pub unexplained: Vec<String>,
}

/// Holds what every node has in the end, all links being whole again, against what clients were told. Every acknowledged
/// write must be on every node, unless the plan explains its loss; then it is on none. What nobody wrote, and what was
/// refused, must be nowhere.
pub fn check(history: &[Write], nodes: &[BTreeSet<u64>], plan: &[Replaced]) -> Findings {
    let mut findings = Findings::default();
    for write in history {
        let number = write.number;
        let on: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].contains(&number)).collect();
        let explained = plan.iter().any(|replaced| replaced.explains(write));
        match &write.answer {
            Answer::Refused if !on.is_empty() => {
                findings.unexplained.push(format!("{number} was refused and is on {on:?}"));
            }
            Answer::Refused => {}
            _ if !on.is_empty() && on.len() < nodes.len() => {
                findings.unexplained.push(format!("{number} ({:?}) is on {on:?} alone", write.answer));
            }
            Answer::Acknowledged { .. } if on.is_empty() && explained => drop(findings.explained.insert(number)),
            Answer::Acknowledged { replicas } if on.is_empty() => {
                findings
                    .unexplained
                    .push(format!("{number}, acknowledged by {} and {replicas} more, is lost", write.node));
            }
            Answer::Acknowledged { .. } | Answer::Unknown => {}
        }
    }
    let written: BTreeSet<u64> = history.iter().map(|write| write.number).collect();
    for (node, has) in nodes.iter().enumerate() {
        let strange = has.difference(&written).map(|number| format!("{number} is on {node}, and nobody wrote it"));
        findings.unexplained.extend(strange);
    }
    findings
}

impl Replaced {
    fn explains(&self, write: &Write) -> bool {
        write.answer == Answer::Acknowledged { replicas: 0 }
            && write.node == self.node
            && (self.cut_off..=self.demoted).contains(&write.told)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Node 0 is cut off after 10 s and replaced by node 1 after 20 s; a write a second.
    fn history() -> (Vec<Write>, Vec<BTreeSet<u64>>, [Replaced; 1]) {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let write = |number| {
            let (node, replicas) = match number {
                0..10 => (0, 2),
                10..20 => (0, 0),
                _ => (1, 1),
            };
            Write { number, node, told: at(number), answer: Answer::Acknowledged { replicas } }
        };
        let kept: BTreeSet<u64> = (0..10).chain(20..30).collect();
        let replaced = Replaced { node: 0, cut_off: at(10), demoted: at(20) };
        ((0..30).map(write).collect(), vec![kept; 3], [replaced])
    }

    #[test]
    fn what_the_replaced_primary_alone_had_taken_is_explained() {
        let (history, nodes, plan) = history();
        let explained = (10..20).collect();
        assert_eq!(check(&history, &nodes, &plan), Findings { explained, unexplained: vec![] });
    }

    #[test]
    fn without_a_plan_every_loss_is_told() {
        let (history, nodes, _) = history();
        assert_eq!(check(&history, &nodes, &[]).unexplained.len(), 10);
    }

    /// Each mutation of a history that is fine must be found, and only it.
    #[test]
    fn a_loss_that_the_plan_does_not_explain_is_found() {
        type Mutation = fn(&mut Vec<Write>, &mut Vec<BTreeSet<u64>>);
        let mutations: [(&str, Mutation); 7] = [
            ("5, acknowledged by 0 and 2 more, is lost", |_, nodes| {
                nodes.iter_mut().for_each(|has| assert!(has.remove(&5)));
            }),
            ("12, acknowledged by 0 and 1 more, is lost", |history, _| {
                history[12].answer = Answer::Acknowledged { replicas: 1 };
            }),
            ("9, acknowledged by 0 and 0 more, is lost", |history, nodes| {
                history[9].answer = Answer::Acknowledged { replicas: 0 }; // a second before it was cut off
                nodes.iter_mut().for_each(|has| assert!(has.remove(&9)));
            }),
            ("25, acknowledged by 1 and 0 more, is lost", |history, nodes| {
                history[25].answer = Answer::Acknowledged { replicas: 0 }; // by the new primary
                nodes.iter_mut().for_each(|has| assert!(has.remove(&25)));
            }),
            ("3 (Acknowledged { replicas: 2 }) is on [0, 2] alone", |_, nodes| assert!(nodes[1].remove(&3))),
            ("99 is on 2, and nobody wrote it", |_, nodes| assert!(nodes[2].insert(99))),
            ("21 was refused and is on [0, 1, 2]", |history, _| history[21].answer = Answer::Refused),
        ];
        for (told, mutate) in mutations {
            let (mut history, mut nodes, plan) = history();
            mutate(&mut history, &mut nodes);
            assert_eq!(check(&history, &nodes, &plan).unexplained, [told]);
        }
    }

    #[test]
    fn what_was_never_answered_may_be_there_or_not() {
        let (mut history, mut nodes, plan) = history();
        history[5].answer = Answer::Unknown;
        assert!(check(&history, &nodes, &plan).unexplained.is_empty());
        nodes.iter_mut().for_each(|has| assert!(has.remove(&5)));
        assert!(check(&history, &nodes, &plan).unexplained.is_empty());
        nodes[0].insert(5);
        assert_eq!(check(&history, &nodes, &plan).unexplained.len(), 1, "but not here and not there");
    }
}
