//! Steps for people: the timeline stands until a step is marked, or is no longer waited for.

use squall_core::scenario::StepSpec;
use squall_core::time::{SECOND, Time};

use crate::schedule::seconds;

/// The steps of a run, by time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps {
    pub(crate) all: Vec<Step>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) spec: StepSpec,
    /// It has been asked for.
    pub(crate) asked: bool,
    /// How it went; none: not asked for yet, or still waited for.
    pub(crate) done: Option<Done>,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// How long the timeline stood for it, ns.
    pub(crate) waited: Time,
    /// Who marked it and when; none: nobody did.
    pub(crate) mark: Option<StepMark>,
}

/// A step was marked as done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepMark {
    /// From the question to the mark, ns, pauses left out.
    pub(crate) took: Time,
    pub(crate) by: Option<String>,
    pub(crate) text: Option<String>,
}

/// A step that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) spec: StepSpec,
    /// It has been marked, and the run is about to go on.
    pub(crate) mark: Option<StepMark>,
}

/// What the steps ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first of them is asked for now.
    Ask(StepSpec),
    /// It is over: the timeline goes on, up to the next stop; in words.
    GoOn(Option<Time>, String),
}

impl Steps {
    pub(crate) fn new(specs: &[StepSpec]) -> Steps {
        Steps { all: specs.iter().map(|spec| Step { spec: spec.clone(), asked: false, done: None }).collect() }
    }

    /// Where the timeline stops next, ns on it.
    pub(crate) fn stop(&self) -> Option<Time> {
        self.all.iter().find(|step| step.done.is_none()).map(|step| step.spec.at)
    }

    /// Looks at the step that the timeline stands at, `waited` ns after it came there.
    pub(crate) fn look(&mut self, waited: Time, mark: Option<&StepMark>) -> Vec<Turn> {
        let mut turns = Vec::new();
        let Some(step) = self.all.iter_mut().find(|step| step.done.is_none()) else { return turns };
        if !std::mem::replace(&mut step.asked, true) {
            turns.push(Turn::Ask(step.spec.clone()));
        }
        if mark.is_none() && waited < step.spec.within {
            return turns;
        }
        step.done = Some(Done { waited, mark: mark.cloned() });
        let told = step.told();
        turns.push(Turn::GoOn(self.stop(), told));
        turns
    }

    /// How long the timeline had stood for steps before it came to `at`, ns.
    pub(crate) fn waited_before(&self, at: Time) -> Time {
        let before = self.all.iter().filter(|step| step.spec.at < at);
        before.filter_map(|step| step.done.as_ref()).map(|done| done.waited).sum()
    }
}

impl Step {
    /// What became of it, in words.
    pub(crate) fn outcome(&self) -> String {
        match (&self.done, self.asked) {
            (Some(Done { mark: Some(mark), .. }), _) => format!("marked after {}", length(mark.took)),
            (Some(Done { mark: None, .. }), _) => format!("not marked within {}", length(self.spec.within)),
            (None, true) => "not marked: the run ended".into(),
            (None, false) => "not asked for: the run ended before".into(),
        }
    }

    fn told(&self) -> String {
        let mark = self.done.as_ref().and_then(|done| done.mark.as_ref());
        let by = mark.and_then(|mark| mark.by.as_ref()).map_or(String::new(), |by| format!(" by {by}"));
        let text = mark.and_then(|mark| mark.text.as_ref()).map_or(String::new(), |text| format!(": {text}"));
        format!("step `{}` {}{by}{text}", self.spec.name, self.outcome())
    }
}

/// A length of time as people say it.
pub(crate) fn length(ns: Time) -> String {
    match ns {
        ns if ns >= 60 * SECOND && ns % SECOND == 0 => match (ns / (60 * SECOND), ns / SECOND % 60) {
            (minutes, 0) => format!("{minutes} min"),
            (minutes, left) => format!("{minutes} min {left} s"),
        },
        ns => format!("{:.1} s", seconds(ns)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Steps {
        let spec = |name: &str, at, within| StepSpec { name: name.into(), at, manual: "go".into(), within };
        Steps::new(&[spec("first", 10, 100), spec("second", 10, 50), spec("third", 30, 60 * SECOND)])
    }

    #[test]
    fn each_is_asked_for_once_and_waited_for_until_it_is_marked_or_its_time_is_over() {
        let mut steps = steps();
        assert_eq!(steps.stop(), Some(10));
        assert!(matches!(&steps.look(0, None)[..], [Turn::Ask(spec)] if spec.name == "first"));
        assert!(steps.look(99, None).is_empty());
        let mark = StepMark { took: 99, by: Some("ann".into()), text: Some("done".into()) };
        let Some(Turn::GoOn(stop, told)) = steps.look(99, Some(&mark)).pop() else { unreachable!() };
        assert_eq!((stop, told.as_str()), (Some(10), "step `first` marked after 0.0 s by ann: done"));
        let turns = steps.look(50, None);
        assert!(matches!(&turns[..], [Turn::Ask(spec), Turn::GoOn(Some(30), _)] if spec.name == "second"));
        assert_eq!((steps.waited_before(10), steps.waited_before(11), steps.waited_before(40)), (0, 149, 149));
        let outcomes: Vec<String> = steps.all.iter().map(Step::outcome).collect();
        assert_eq!(outcomes, ["marked after 0.0 s", "not marked within 0.0 s", "not asked for: the run ended before"]);
        assert_eq!(steps.stop(), Some(30));
    }

    #[test]
    fn lengths_are_read_by_people() {
        for (ns, expected) in [(300 * SECOND, "5 min"), (90 * SECOND, "1 min 30 s"), (SECOND / 2, "0.5 s")] {
            assert_eq!(length(ns), expected);
        }
    }
}
