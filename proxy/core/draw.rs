//! Counter-based randomness: a draw depends on seed, fault, unit and step, never on what was drawn before.
//!
//! The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

use sha2::{Digest, Sha256};

/// Seed and fault, mixed by a hash when the plan is compiled: 64 bits of key, and as many for selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrawKey {
    draws: [u32; 2],
    selection: [u32; 2],
}

impl DrawKey {
    /// The key for a fault. Names are hashed, so that the order in a file changes nothing.
    pub fn new(seed: u64, experiment: &str, fault: &str) -> DrawKey {
        let mut text = seed.to_le_bytes().to_vec();
        text.extend_from_slice(experiment.as_bytes());
        text.push(0);
        text.extend_from_slice(fault.as_bytes());
        let key = halves(hash(&text));
        DrawKey { draws: key, selection: key }
    }

    /// The same draws, on the units that `other` selects: the parts of a preset are on the same ones.
    pub fn selecting_as(self, other: DrawKey) -> DrawKey {
        DrawKey { selection: other.selection, ..self }
    }

    /// The draws of one unit: an ordinal, or the [`hash`] of a key.
    pub fn unit(self, unit: u64) -> Draw {
        Draw { key: self, unit }
    }
}

/// The draws of one unit of one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    key: DrawKey,
    unit: u64,
}

/// The step that decides selection; no other draw uses it.
pub const SELECTION: u64 = u64::MAX;
/// The step that decides when a unit is let go where that is paced; no other draw uses it.
pub const RELEASE: u64 = u64::MAX - 1;

impl Draw {
    /// 64 random bits for a step.
    pub fn at(&self, step: u64) -> u64 {
        self.block(step, self.key.draws)
    }

    fn block(&self, step: u64, key: [u32; 2]) -> u64 {
        let [a, b] = halves(self.unit);
        let [c, d] = halves(step);
        let block = philox4x32([a, b, c, d], key);
        u64::from(block[0]) | u64::from(block[1]) << 32
    }

    /// What stands for the unit.
    pub fn unit(&self) -> u64 {
        self.unit
    }

    /// The selection draw, 0 up to but not including 100: a unit is selected while this is below the percentage.
    pub fn percentage(&self) -> f64 {
        fraction(self.block(SELECTION, self.key.selection)) * 100.0
    }
}

/// 64 random bits as a number from 0 up to but not including 1.
#[allow(clippy::cast_precision_loss)]
pub fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A stable 64-bit hash: the first bytes of SHA-256.
pub fn hash(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[allow(clippy::cast_possible_truncation)]
fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let [lo0, hi0] = halves(u64::from(counter[0]) * 0xD251_1F53);
        let [lo1, hi1] = halves(u64::from(counter[2]) * 0xCD9E_8D57);
        counter = [hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_known_answers() {
        // Random123's kat_vectors
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([!0; 4], [!0; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }
}
