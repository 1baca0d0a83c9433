//! How a datagram of a workload is written: its number (8 bytes, big-endian), a checksum of the number (8), and filler, the
//! same in all. With a checksum of its own the number can still be told when the rest was changed.

use squall_core::draw::hash;
use squall_core::scenario::SMALLEST_DATAGRAM;

const HEAD: usize = SMALLEST_DATAGRAM;

pub(super) struct Format {
    /// Enters the checksum: a datagram of another run is none of ours.
    seed: u64,
    filler: Vec<u8>,
}

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// As it was sent; its number.
    Intact(u64),
    /// Changed; its number, if that can still be told.
    Corrupted(Option<u64>),
}

impl Format {
    /// For datagrams of `size` bytes.
    pub(super) fn new(seed: u64, size: usize) -> Format {
        Format { seed, filler: (HEAD..size).map(|at| b' ' + (at % 95) as u8).collect() }
    }

    /// A datagram without its head.
    pub(super) fn blank(&self) -> Vec<u8> {
        [&[0; HEAD], &self.filler[..]].concat()
    }

    /// Room for one, and to see whether one has become longer.
    pub(super) fn room(&self) -> Vec<u8> {
        vec![0; HEAD + self.filler.len() + 1]
    }

    /// Writes the head of datagram `number`.
    pub(super) fn write(&self, number: u64, datagram: &mut [u8]) {
        datagram[..8].copy_from_slice(&number.to_be_bytes());
        datagram[8..HEAD].copy_from_slice(&self.checksum(number));
    }

    /// Reads one that came.
    pub(super) fn read(&self, datagram: &[u8]) -> Seen {
        let Some((number, rest)) = datagram.split_first_chunk() else { return Seen::Corrupted(None) };
        let number = u64::from_be_bytes(*number);
        let Some(filler) = rest.strip_prefix(&self.checksum(number)) else { return Seen::Corrupted(None) };
        if filler == self.filler { Seen::Intact(number) } else { Seen::Corrupted(Some(number)) }
    }

    fn checksum(&self, number: u64) -> [u8; 8] {
        hash([self.seed, number].map(u64::to_be_bytes).as_flattened()).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: &Format, number: u64) -> Vec<u8> {
        let mut datagram = format.blank();
        format.write(number, &mut datagram);
        datagram
    }

    #[test]
    fn every_changed_bit_and_every_other_length_is_seen() {
        for size in [16, 17, 100] {
            let format = Format::new(7, size);
            let sound = written(&format, 41);
            assert_eq!((sound.len(), format.read(&sound)), (size, Seen::Intact(41)));
            for bit in 0..8 * size {
                let mut changed = sound.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let known = (bit >= 8 * HEAD).then_some(41);
                assert_eq!(format.read(&changed), Seen::Corrupted(known), "bit {bit} of {size}");
            }
            for shorter in 0..size {
                let known = (shorter >= HEAD).then_some(41);
                assert_eq!(format.read(&sound[..shorter]), Seen::Corrupted(known), "{shorter} of {size}");
            }
            assert_eq!(format.read(&[&sound[..], b"x"].concat()), Seen::Corrupted(Some(41)));
        }
    }

    #[test]
    fn those_of_another_run_are_none_of_ours() {
        let foreign = written(&Format::new(8, 64), 41);
        assert_eq!(Format::new(7, 64).read(&foreign), Seen::Corrupted(None));
    }
}
