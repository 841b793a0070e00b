//! The only source of chance: a number made from the seed, then the next.

use raft_core::SplitMix64;

/// A sequence of numbers, and what is made of them.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    /// The sequence of this seed. Streams that must not disturb each other take different `stream` numbers.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Rng {
        let mut first = SplitMix64::new(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        // Neighbouring seeds have left each other's neighbourhood after one step.
        Rng(SplitMix64::new(first.any()))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.any()
    }

    /// From 0 up to and excluding `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Not the generator's own: multiplying keeps the high bits, and costs less than a remainder.
        u64::try_from((u128::from(self.any()) * u128::from(bound)) >> 64)
            .expect("the product is below bound << 64")
    }

    /// From `min` up to and including `max`.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max.saturating_sub(min).saturating_add(1))
    }

    /// True this many times in a million.
    pub fn ppm(&mut self, ppm: u32) -> bool {
        // Most runs do not know most faults: then no number is spent.
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// True this many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these; `None` where there are none.
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
        let of = |rng: &mut Rng| (0..8).map(|_| rng.any()).collect::<Vec<_>>();
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
