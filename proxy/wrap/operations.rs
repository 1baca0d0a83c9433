//! Calls put together: what a program wanted to do, and how often it asked for it.

use squall_core::call::Call;
use squall_core::time::{SECOND, Time};

/// The same request within this time after one that failed is its retry; longer where the answer asked for more.
const RETRIED_WITHIN: Time = 120 * SECOND;

/// One thing that a program wanted done, and its attempts in order.
#[derive(Clone, Debug)]
pub struct Operation<'a> {
    /// At least one.
    pub attempts: Vec<&'a Call>,
}

/// How an operation ended that met a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Every attempt was answered whole.
    Untouched,
    /// The last attempt was answered whole.
    Recovered,
    /// The last attempt failed, or its answer said something wrong.
    GivenUp,
    /// The last answer looked whole, and its end was missing.
    TookShort,
}

impl Operation<'_> {
    /// How it ended.
    pub fn fate(&self) -> Fate {
        let Some(last) = self.attempts.last() else { return Fate::Untouched };
        match () {
            () if last.is_short() => Fate::TookShort,
            () if last.has_failed() || last.is_spoiled() => Fate::GivenUp,
            () if self.attempts.len() > 1 => Fate::Recovered,
            () => Fate::Untouched,
        }
    }

    /// The pauses between an attempt's end and the next one's start, ns, with what the answer had asked for.
    pub fn pauses(&self) -> impl Iterator<Item = (Time, Option<Time>)> {
        self.attempts.windows(2).map(|pair| (pair[1].started.saturating_sub(pair[0].ended), pair[0].retry_after))
    }
}

/// Puts the calls of one host together. A call belongs to an operation whose latest attempt failed before it began, if it asks
/// for the same.
pub fn of<'a>(calls: &[&'a Call]) -> Vec<Operation<'a>> {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.started);
    let mut operations: Vec<Operation<'a>> = Vec::new();
    let mut open: std::collections::HashMap<u64, Vec<usize>> = std::collections::HashMap::new();
    for call in calls {
        let waiting = open.entry(call.asked.same).or_default();
        let retried =
            waiting.iter().position(|at| operations[*at].attempts.last().is_some_and(|last| follows(last, call)));
        let at = match retried {
            Some(place) => waiting.remove(place),
            None => {
                operations.push(Operation { attempts: Vec::new() });
                operations.len() - 1
            }
        };
        operations[at].attempts.push(call);
        if call.has_failed() || call.is_short() || call.is_spoiled() {
            waiting.push(at);
        }
    }
    operations
}

fn follows(before: &Call, call: &Call) -> bool {
    let longest = RETRIED_WITHIN.saturating_add(before.retry_after.unwrap_or(0));
    call.started >= before.ended && call.started - before.ended <= longest
}
