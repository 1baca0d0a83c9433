//! `slicer`: bytes arrive in small pieces.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Act, Cx, Effect, Fault, Flow, Hooks, Injection, Offer, Until, What};
use crate::time::{SECOND, Time};
use crate::unit::{Bytes, Duration};

/// Cuts the stream into pieces of `size` bytes, give or take `variation`, each in a write of its own, with a `gap` between
/// them: finds readers that take one read for one message.
///
/// Where the cuts are depends on the offset in the stream alone. No byte waits for its piece to fill: a piece of which only
/// a part has come goes out in parts. Without a gap the kernel may join pieces again on their way; with one, throughput is
/// at most `size` / `gap`. On record are the first piece of each turn and one each second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slicer {
    size: u64,
    variation: u64,
    gap: Time,
}

/// The fields of a slicer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bytes in a piece, on average; at least 1.
    size: Bytes,
    /// How many bytes more or less; below `size`. Default 0.
    #[serde(default)]
    variation: Bytes,
    /// From the end of one piece to the beginning of the next. Default 0.
    #[serde(default)]
    gap: Duration,
}

/// What one direction of a connection remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// Turn and time of the latest record.
    recorded: Option<(u64, Time)>,
}

impl Kind for Slicer {
    const NAME: &'static str = "slicer";
    const ABOUT: &'static str = "Cuts the stream into small pieces with gaps between them";
    const EXAMPLE: &'static str = r#"[[fault]]
kind      = "slicer"
proxy     = "redis"
size      = "64B"
variation = "32B"
gap       = "1ms"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    type Config = Config;
    type Makes = Slicer;

    fn build(config: Config) -> Result<Slicer, Misfit> {
        let Config { size: Bytes(size), variation: Bytes(variation), gap: Duration(gap) } = config;
        if size == 0 {
            return Err(Misfit::new("size", "`size` must be at least 1B"));
        }
        if variation >= size {
            let message =
                format!("`variation` must be below `size`: {} is not below {}", config.variation, config.size);
            return Err(Misfit::new("variation", message));
        }
        Ok(Slicer { size, variation, gap })
    }

    fn summary(fault: &Slicer) -> String {
        let variation = if fault.variation > 0 { format!(" ± {}", Bytes(fault.variation)) } else { String::new() };
        format!("pieces of {}{variation}, {} apart", Bytes(fault.size), Duration(fault.gap))
    }
}

impl Fault for Slicer {
    const KIND: &'static str = "slicer";
    const HOOKS: Hooks = Hooks::STREAM;
    const EFFECT: Effect = Effect::Keeps;
    type Shared = ();
    type State = Memory;

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        if offer.is_empty() {
            return Act::Pass(0);
        }
        let next = cx.span.passed.map_or(0, |end| end.saturating_add(self.gap));
        if next > cx.now && self.is_cut(cx, offer.offset) {
            return Act::Hold(Until::At(next));
        }
        let (nominal, draw, end) = self.piece_end(cx, offer.offset);
        let left = end - offer.offset;
        let (turn, now) = (offer.turn, cx.now);
        if cx.state.recorded.is_none_or(|(last, at)| last != turn || now.saturating_sub(at) >= SECOND) {
            cx.state.recorded = Some((turn, now));
            cx.inject(Injection {
                what: What::Sliced,
                step: nominal,
                draw: Some(draw),
                drawn: left,
                scheduled: left,
                achieved: left,
            });
        }
        Act::Piece(usize::try_from(left).unwrap_or(usize::MAX))
    }
}

impl Slicer {
    fn is_cut(&self, cx: &Cx<'_, Self>, offset: u64) -> bool {
        offset > 0 && self.piece_end(cx, offset - 1).2 == offset
    }

    /// The end of the piece that holds `offset`: the first cut behind it, with its step and draw. Cuts are at multiples
    /// of the size, each moved by up to half the variation, so that pieces differ by up to all of it.
    fn piece_end(&self, cx: &Cx<'_, Self>, offset: u64) -> (u64, u64, u64) {
        let before = offset / self.size;
        let mut cut = before.max(1); // the beginning is no cut
        loop {
            let nominal = cut * self.size;
            let draw = cx.draw.at(nominal);
            let moved = (u128::from(draw) * (u128::from(self.variation) + 1)) >> 64;
            let moved = u64::try_from(moved).unwrap_or(0);
            let place = nominal + moved - self.variation.div_ceil(2);
            if place > offset {
                return (nominal, draw, place);
            }
            cut += 1; // at most twice: a cut moves by less than half a size
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::MILLI;

    fn slicer(size: u64, variation: u64, gap_ms: u64) -> Slicer {
        Slicer { size, variation, gap: gap_ms * MILLI }
    }

    fn pieces(fault: Slicer, reads: &[usize]) -> Vec<(Time, usize)> {
        let mut driver = Driver::new(fault, Flow::Downstream);
        reads.iter().for_each(|n| driver.at(0).push(&vec![0; *n]));
        driver.run_until(3600 * SECOND);
        driver.arrivals()
    }

    #[test]
    fn pieces_have_their_size_with_gaps_between() {
        let ms = |n| n * MILLI;
        assert_eq!(pieces(slicer(10, 0, 2), &[25]), [(0, 10), (ms(2), 10), (ms(4), 5)]);
    }

    #[test]
    fn pieces_vary_within_bounds_and_around_the_size() {
        let sizes: Vec<usize> = pieces(slicer(100, 99, 1), &[50_000, 50_000]).into_iter().map(|(_, n)| n).collect();
        let inner = &sizes[1..sizes.len() - 1];
        assert!(inner.iter().all(|n| (1..=199).contains(n)));
        assert!(inner.iter().any(|n| *n < 60) && inner.iter().any(|n| *n > 140));
        assert!((990..=1010).contains(&sizes.len()), "{}", sizes.len());
    }

    #[test]
    fn cuts_depend_on_offsets_not_on_reads() {
        let fault = slicer(7, 5, 1);
        let whole = pieces(fault.clone(), &[500]);
        assert_eq!(whole, pieces(fault.clone(), &[1; 500]));
        assert_eq!(whole, pieces(fault, &[499, 1]));
    }

    #[test]
    fn a_part_of_a_piece_goes_at_once_and_the_gap_counts_from_the_end_of_the_whole() {
        let mut driver = Driver::new(slicer(10, 0, 5), Flow::Downstream);
        driver.at(0).push(&[0; 3]);
        driver.at(MILLI).push(&[0; 7]);
        driver.at(2 * MILLI).push(&[0; 10]);
        driver.run_until(SECOND);
        assert_eq!(driver.arrivals(), [(0, 3), (MILLI, 7), (6 * MILLI, 10)]);
    }

    #[test]
    fn pieces_are_not_joined_and_without_gap_they_go_at_once() {
        let mut driver = Driver::new(slicer(1, 0, 0), Flow::Downstream);
        driver.at(0).push(&[0; 9]);
        driver.at(0).fin();
        driver.run_until(SECOND);
        assert_eq!((driver.pieces.len(), driver.closed_at, driver.injected.len()), (9, Some(0), 1));
    }

    #[test]
    fn sizes_that_do_not_fit_are_named() {
        let build = |text: &str| Slicer::build(toml::from_str(text).unwrap());
        assert_eq!(build("size = '0B'").unwrap_err().field, Some("size"));
        assert_eq!(build("size = '5B'\nvariation = '5B'").unwrap_err().field, Some("variation"));
        assert_eq!(Slicer::summary(&build("size = '5B'\ngap = '1ms'").unwrap()), "pieces of 5B, 1ms apart");
    }
}
