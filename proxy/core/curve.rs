//! A number that may change with time: a constant, a ramp or a ladder of steps.

use crate::time::Time;

/// A number in a scenario: constant, or a curve over the time since the fault's window opened.
#[derive(Clone, Debug, PartialEq)]
pub enum Curve<T> {
    /// The same throughout.
    Constant(T),
    /// Straight from one value to the other, then constant.
    Ramp {
        /// At the opening.
        from: T,
        /// At `over` and after.
        to: T,
        /// Length in ns.
        over: Time,
    },
    /// One value after the other, each for `hold`; the last one stays.
    Steps {
        /// At least one.
        steps: Vec<T>,
        /// Length of a step in ns.
        hold: Time,
    },
}

/// Numbers that a ramp can run over.
pub trait Between: Copy {
    /// The value at `part` (0 to 1) of the way from `self` to `to`.
    fn between(self, to: Self, part: f64) -> Self;
}

impl Between for f64 {
    fn between(self, to: f64, part: f64) -> f64 {
        self + (to - self) * part
    }
}

impl Between for u64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn between(self, to: u64, part: f64) -> u64 {
        (self as f64 + (to as f64 - self as f64) * part).round() as u64
    }
}

impl<T: Between> Curve<T> {
    /// The value at `elapsed` ns after the opening.
    #[allow(clippy::cast_precision_loss)]
    pub fn at(&self, elapsed: Time) -> T {
        match self {
            Curve::Constant(value) => *value,
            Curve::Ramp { to, over, .. } if elapsed >= *over => *to,
            Curve::Ramp { from, to, over } => from.between(*to, elapsed as f64 / *over as f64),
            Curve::Steps { steps, hold } => {
                let step = usize::try_from(elapsed / (*hold).max(1)).unwrap_or(usize::MAX);
                steps[step.min(steps.len() - 1)]
            }
        }
    }
}

impl<T> Curve<T> {
    /// Every value that is named, for limits and for display.
    pub fn values(&self) -> Vec<&T> {
        match self {
            Curve::Constant(value) => vec![value],
            Curve::Ramp { from, to, .. } => vec![from, to],
            Curve::Steps { steps, .. } => steps.iter().collect(),
        }
    }

    /// The same curve over other values.
    pub fn map<U>(&self, f: impl Fn(&T) -> U) -> Curve<U> {
        match self {
            Curve::Constant(value) => Curve::Constant(f(value)),
            Curve::Ramp { from, to, over } => Curve::Ramp { from: f(from), to: f(to), over: *over },
            Curve::Steps { steps, hold } => Curve::Steps { steps: steps.iter().map(f).collect(), hold: *hold },
        }
    }
}
