//! The step on which the percentage of a fault stands, where it is a ladder: set by the engine, read by every worker at
//! every selection.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Time;
use crate::window::Window;

/// Events that a step must have brought before the next one, unless a scenario says otherwise.
pub const MIN_EVENTS: u64 = 20;
/// Bits of the word in which the step stands; the others hold the opening.
const STEP: u32 = 16;
/// More steps than this are refused: a step fits into its bits.
pub const MOST_STEPS: usize = 100;

/// Where a ladder stands. In an opening of the window for which nobody has set a step it stands on the first: a ladder
/// never climbs by itself, and starts anew with each opening.
#[derive(Debug)]
pub struct Ladder {
    first: Time,
    every: Option<Time>,
    /// The opening's number and the step in one word, so that nobody sees a step of another opening.
    place: AtomicU64,
}

impl Ladder {
    /// On the first step of every opening of this window.
    pub fn new(window: &Window) -> Ladder {
        Ladder { first: window.at, every: window.every.filter(|every| *every > 0), place: AtomicU64::new(0) }
    }

    /// The step, from 0, in the opening that began at `opened`, ns on the timeline.
    #[inline]
    pub fn step(&self, opened: Time) -> usize {
        let place = self.place.load(Ordering::Acquire);
        let step = usize::try_from(place & ((1 << STEP) - 1)).unwrap_or(0);
        if place >> STEP == self.opening(opened) { step } else { 0 }
    }

    /// Puts it on a step, from 0, of the opening that began at `opened`, ns on the timeline. Ring the cell afterwards.
    pub fn set(&self, opened: Time, step: usize) {
        let step = step.min(MOST_STEPS) as u64;
        self.place.store(self.opening(opened) << STEP | step, Ordering::Release);
    }

    /// Another value whenever it has been put somewhere else.
    pub fn mark(&self) -> u64 {
        self.place.load(Ordering::Acquire)
    }

    fn opening(&self, opened: Time) -> u64 {
        let number = self.every.map_or(0, |every| opened.saturating_sub(self.first) / every);
        number & (u64::MAX >> STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_where_it_was_put_and_anew_with_each_opening() {
        let window = Window { at: 10, length: Some(5), every: Some(20), times: None };
        let ladder = Ladder::new(&window);
        assert_eq!((ladder.step(10), ladder.step(30)), (0, 0));
        let before = ladder.mark();
        ladder.set(10, 2);
        assert_eq!((ladder.step(10), ladder.step(30)), (2, 0));
        assert_ne!(ladder.mark(), before);
        ladder.set(30, 1);
        assert_eq!((ladder.step(10), ladder.step(30), ladder.step(50)), (0, 1, 0));
        let once = Ladder::new(&Window { at: 7, length: None, every: None, times: None });
        once.set(7, MOST_STEPS);
        assert_eq!(once.step(7), MOST_STEPS);
    }
}
