//! `trickle`: a body comes in drips.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::running::Running;
use crate::fault::{Act, Cx, Effect, Fault, Flow, Hooks, Item, Offer, Phase, Until, What};
use crate::time::Time;
use crate::unit::{Bytes, Duration};

/// Holds the first byte of a body for a time, then lets it go in pieces of `chunk` bytes with a `gap` between them, each in
/// a write of its own: a slow sender, as clients with a limit on silence rather than on the whole take it for alive.
///
/// Where the pieces are cut depends on the offset in the body alone. On record are the waits, summed up as those of
/// `bandwidth` are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trickle {
    first_byte: Time,
    chunk: u64,
    gap: Time,
}

/// The fields of a trickle.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long the body's first byte waits once it has come. Default 0.
    #[serde(default)]
    first_byte: Duration,
    /// Bytes of a piece, at least 1. Default 1B.
    #[serde(default = "one")]
    chunk: Bytes,
    /// From the end of one piece to the beginning of the next. Default 0.
    #[serde(default)]
    gap: Duration,
}

fn one() -> Bytes {
    Bytes(1)
}

/// What is remembered of one body.
#[derive(Debug, Default)]
pub struct Memory {
    /// Since when the head waits, and until when it was to.
    waits: Option<(Time, Time)>,
    sums: Running,
}

impl Kind for Trickle {
    const NAME: &'static str = "trickle";
    const ABOUT: &'static str =
        "Lets the body of a request or an answer come in drips: late, in small pieces, with gaps";
    const EXAMPLE: &'static str = r#"[[fault]]
kind       = "trickle"
proxy      = "redis"
first_byte = "2s"
chunk      = "16B"
gap        = "100ms"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Trickle;

    fn build(config: Config) -> Result<Trickle, Misfit> {
        let Config { first_byte, chunk, gap } = config;
        if chunk.0 == 0 {
            return Err(Misfit::new("chunk", "`chunk` must be at least 1B"));
        }
        if first_byte.0 == 0 && gap.0 == 0 {
            return Err(Misfit::new("gap", "nothing would come late: give `gap`, `first_byte` or both"));
        }
        Ok(Trickle { first_byte: first_byte.0, chunk: chunk.0, gap: gap.0 })
    }

    fn summary(fault: &Trickle) -> String {
        let first = match fault.first_byte {
            0 => String::new(),
            time => format!("first byte after {}", Duration(time)),
        };
        if fault.gap == 0 {
            return first;
        }
        let comma = if first.is_empty() { "" } else { ", " };
        format!("{first}{comma}{} every {}", Bytes(fault.chunk), Duration(fault.gap))
    }
}

impl Fault for Trickle {
    const KIND: &'static str = "trickle";
    const HOOKS: Hooks = Hooks::BODY;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if offer.is_empty() {
            if matches!(offer.item, Item::Fin) {
                cx.state.sums.flush(What::Paced, cx.now, cx.injected);
            }
            return Act::Pass(0);
        }
        let due = match offer.offset {
            0 => offer.arrived.saturating_add(self.first_byte),
            at if at.is_multiple_of(self.chunk) => cx.span.passed.map_or(0, |end| end.saturating_add(self.gap)),
            _ => 0,
        };
        if due > cx.now {
            let since = cx.state.waits.map_or(cx.now, |(since, _)| since);
            cx.state.waits = Some((since, due));
            return Act::Hold(Until::At(due));
        }
        if let Some((since, due)) = cx.state.waits.take() {
            let figures = (due.saturating_sub(since), cx.now.saturating_sub(since));
            cx.state.sums.add(What::Paced, offer.turn, cx.now, figures, cx.injected);
        }
        if self.gap == 0 {
            return Act::Pass(offer.len());
        }
        let left = self.chunk - offer.offset % self.chunk;
        Act::Piece(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::{MILLI, SECOND};

    fn trickle(text: &str) -> Trickle {
        Trickle::build(toml::from_str(text).unwrap()).unwrap()
    }

    fn driven(text: &str, reads: &[usize]) -> Driver<Trickle> {
        let mut driver = Driver::new(trickle(text), Flow::Downstream);
        reads.iter().for_each(|n| driver.at(0).push(&vec![1; *n]));
        driver.at(0).fin();
        driver.run_until(100 * SECOND);
        driver
    }

    #[test]
    fn the_first_byte_waits_and_pieces_follow_with_gaps_whatever_the_reads() {
        let ms = |ms: u64, n| (ms * MILLI, n);
        for reads in [&[25][..], &[1; 25], &[3, 22], &[10, 15]] {
            let driver = driven("first_byte = '2s'\nchunk = '10B'\ngap = '100ms'", reads);
            assert_eq!(driver.arrivals(), [ms(2000, 10), ms(2100, 10), ms(2200, 5)], "{reads:?}");
            let waited: u64 = driver.injected.iter().map(|i| i.achieved).sum();
            assert_eq!((waited, driver.closed_at), (2200 * MILLI, Some(2200 * MILLI)), "{reads:?}");
        }
        assert_eq!(driven("first_byte = '1s'", &[9, 9]).arrivals(), [ms(1000, 18)]);
    }

    #[test]
    fn a_trickle_that_delays_nothing_is_refused() {
        let build = |text: &str| Trickle::build(toml::from_str(text).unwrap());
        assert_eq!(build("").unwrap_err().field, Some("gap"));
        assert_eq!(build("gap = '1s'\nchunk = '0B'").unwrap_err().field, Some("chunk"));
        assert_eq!(Trickle::summary(&trickle("gap = '1s'")), "1B every 1s");
    }
}
