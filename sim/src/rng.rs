//! The only source of randomness: a generator made from the seed.

use raft_core::SplitMix64;

/// A sequence of random numbers, with the distributions that are drawn from it.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    /// The sequence of this seed. Streams that must not affect each other use different `stream` numbers.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Rng {
        let mut first = SplitMix64::new(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // One step makes the sequences of neighbouring seeds unrelated.
        Rng(SplitMix64::new(first.next_u64()))
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 up to but excluding `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Not the generator's own method: multiplication keeps the high bits, and costs less than a
        // remainder.
        u64::try_from((u128::from(self.next_u64()) * u128::from(bound)) >> 64)
            .expect("the product is below bound << 64")
    }

    /// From `min` up to and including `max`.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max.saturating_sub(min).saturating_add(1))
    }

    /// True with this probability, in parts per million.
    pub fn ppm(&mut self, ppm: u32) -> bool {
        // Most kinds of faults are absent from most runs: then no number is drawn.
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// True with this probability, in per cent.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these; `None` if there are none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let len = u64::try_from(of.len()).expect("a length fits 64 bits");
        of.get(usize::try_from(self.below(len)).expect("below a length")).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_and_another_stream_another() {
        let (mut a, mut b, mut c) = (Rng::new(1, 1), Rng::new(1, 1), Rng::new(1, 2));
        let of = |rng: &mut Rng| (0..8).map(|_| rng.next_u64()).collect::<Vec<_>>();
        let first = of(&mut a);
        assert_eq!(first, of(&mut b));
        assert_ne!(first, of(&mut c));
    }

    #[test]
    fn bounds_hold() {
        let mut rng = Rng::new(3, 0);
        assert!((0..1000).all(|_| (4..=6).contains(&rng.between(4, 6))));
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.pick::<u8>(&[]), None);
    }
}
