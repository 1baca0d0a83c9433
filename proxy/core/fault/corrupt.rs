//! `corrupt`: bits are flipped.

use bytes::Bytes as Buffer;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::fault::registry::{Kind, Misfit};
use crate::fault::{Act, Cx, Datagram, Effect, Fault, Flow, Hooks, Injection, Item, Needs, Offer, Packet, Phase, What};
use crate::unit::Bytes;

/// Flips one bit in every `one_per` bytes of the stream, at a place drawn for each of these stretches from its offset: the
/// same bytes are flipped the same way whatever the reads. Every flip is on record with its offset.
///
/// On HTTP it is the body of an exchange, without its framing, whose bits are flipped.
///
/// On UDP each datagram is cut into stretches for itself. A place drawn behind its end flips nothing, so that short
/// datagrams are hit as seldom as they are short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    one_per: u64,
}

/// The fields of a corruption.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The length of the stretches in each of which one bit is flipped; at least 1B. They count from the connection's
    /// first byte, so a connection that carries less may stay whole; on UDP from each datagram's. Default 1KiB.
    #[serde(default = "kibibyte")]
    one_per: Bytes,
}

fn kibibyte() -> Bytes {
    Bytes(1024)
}

impl Kind for Corrupt {
    const NAME: &'static str = "corrupt";
    const ABOUT: &'static str = "Flips bits, one in every so many bytes";
    const EXAMPLE: &'static str = r#"[[fault]]
kind    = "corrupt"
proxy   = "redis"
one_per = "4KiB"
"#;
    const DIRECTION: Option<Flow> = Some(Flow::Downstream);
    const PHASES: &'static [Phase] = &[Phase::MidBody];
    type Config = Config;
    type Makes = Corrupt;

    fn build(config: Config) -> Result<Corrupt, Misfit> {
        if config.one_per.0 == 0 {
            return Err(Misfit::new("one_per", "`one_per` must be at least 1B"));
        }
        Ok(Corrupt { one_per: config.one_per.0 })
    }

    fn summary(fault: &Corrupt) -> String {
        format!("one bit flipped per {}", Bytes(fault.one_per))
    }
}

/// Where a bit is flipped.
struct Flip {
    step: u64,
    draw: u64,
    offset: u64,
    bit: u32,
}

impl Fault for Corrupt {
    const KIND: &'static str = "corrupt";
    const HOOKS: Hooks = Hooks::BOTH;
    const EFFECT: Effect = Effect::Mutates;
    type Shared = ();
    type State = ();

    fn needs(&self) -> Needs {
        Needs::Bytes
    }

    fn stream(&self, cx: &mut Cx<'_, Self>, offer: &Offer<'_>) -> Act {
        let Item::Bytes(bytes) = offer.item else {
            return Act::Pass(offer.len());
        };
        let Some(&first) = bytes.first() else {
            return Act::Pass(0);
        };
        let flip = self.next_flip(cx, offer.offset);
        if flip.offset > offer.offset {
            // everything before the flip may be spliced
            return Act::Pass(usize::try_from(flip.offset - offer.offset).unwrap_or(usize::MAX));
        }
        cx.inject(flip.injection());
        Act::Take { n: 1, put: single(first ^ (1 << flip.bit)) }
    }

    fn packet(&self, cx: &mut Cx<'_, Self>, datagram: &Datagram<'_>) -> Packet {
        let mut changed = None;
        for stretch in 0..(datagram.bytes.len() as u64).div_ceil(self.one_per) {
            let flip = self.flip(cx, datagram.step | stretch << STRETCH, stretch * self.one_per);
            let place = usize::try_from(flip.offset).unwrap_or(usize::MAX);
            if place < datagram.bytes.len()
                && let Some(byte) = changed.get_or_insert_with(|| datagram.bytes.to_vec()).get_mut(place)
            {
                *byte ^= 1 << flip.bit;
                cx.inject(flip.injection());
            }
        }
        changed.map_or(Packet::Pass, |changed| Packet::Replace(changed.into()))
    }
}

/// Where a datagram's step holds the number of the stretch: there are fewer than 2^16 in a datagram.
const STRETCH: u32 = 48;

impl Flip {
    fn injection(&self) -> Injection {
        let (drawn, scheduled, achieved) = (self.offset, self.offset, self.offset);
        Injection { what: What::Corrupted, step: self.step, draw: Some(self.draw), drawn, scheduled, achieved }
    }
}

impl Corrupt {
    /// The first flip at or behind `offset`.
    fn next_flip(&self, cx: &Cx<'_, Self>, offset: u64) -> Flip {
        let start = offset / self.one_per * self.one_per;
        let flip = self.flip(cx, start, start);
        if flip.offset >= offset {
            return flip;
        }
        let next = start.saturating_add(self.one_per);
        self.flip(cx, next, next)
    }

    /// The flip of the stretch that begins at `start`.
    fn flip(&self, cx: &Cx<'_, Self>, step: u64, start: u64) -> Flip {
        let draw = cx.draw.at(step);
        let bit = (u128::from(draw) * u128::from(self.one_per) * 8) >> 64;
        let place = u64::try_from(bit / 8).unwrap_or(0);
        Flip { step, draw, offset: start.saturating_add(place), bit: (bit % 8) as u32 }
    }
}

/// A buffer of one byte, without allocating.
fn single(byte: u8) -> Buffer {
    static EVERY: [u8; 256] = {
        let mut every = [0; 256];
        let mut i = 0_u8;
        while i < 255 {
            every[i as usize] = i;
            i += 1;
        }
        every[255] = 255;
        every
    };
    let i = usize::from(byte);
    Buffer::from_static(&EVERY[i..=i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::driver::Driver;
    use crate::time::SECOND;

    fn corrupted(one_per: u64, reads: &[usize]) -> Driver<Corrupt> {
        let mut driver = Driver::new(Corrupt { one_per }, Flow::Downstream);
        let mut next = (0..=255_u8).cycle();
        for n in reads {
            let bytes: Vec<u8> = next.by_ref().take(*n).collect();
            driver.at(0).push(&bytes);
        }
        driver.run_until(SECOND);
        driver
    }

    #[test]
    fn one_bit_in_each_stretch_is_flipped() {
        let driver = corrupted(64, &[6400]);
        let whole = (0..=255_u8).cycle();
        let changed: Vec<(usize, u32)> = (driver.out.iter().zip(whole).enumerate())
            .filter(|(_, ((_, got), sent))| got != sent)
            .map(|(i, ((_, got), sent))| (i, (got ^ sent).count_ones()))
            .collect();
        assert_eq!(driver.out.len(), 6400);
        assert!(changed.iter().all(|(_, bits)| *bits == 1));
        assert_eq!(changed.iter().map(|(i, _)| i / 64).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        let recorded: Vec<u64> = driver.injected.iter().map(|i| i.achieved).collect();
        assert_eq!(recorded, changed.iter().map(|(i, _)| *i as u64).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_bytes_are_flipped_whatever_the_reads() {
        let whole = corrupted(10, &[1000]).out;
        assert_eq!(whole, corrupted(10, &[1; 1000]).out);
        assert_eq!(whole, corrupted(10, &[3, 500, 497]).out);
        assert_eq!(corrupted(1, &[100]).injected.len(), 100);
    }
}
