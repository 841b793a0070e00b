//! The distribution of values: counts of those that fall between fixed bounds.
//!
//! Floor 2, pure. Noting a value costs a binary search among at most 19 bounds and two additions, and
//! allocates nothing.

/// Bounds for times in microseconds, from the duration of a request on one machine to more than any client
/// waits.
pub const TIME_BOUNDS_US: [u64; 19] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Bounds for how many things share one operation.
pub const SIZE_BOUNDS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096];

/// How long things took, in microseconds.
pub type Times = Histogram<19>;

/// How many things shared one operation.
pub type Sizes = Histogram<12>;

/// Counts of values between `N` bounds and above them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    /// At each position, how many values are at most the bound there and above the bound before it.
    counts: [u64; N],
    above: u64,
    sum: u64,
}

impl Times {
    /// An empty histogram of times.
    #[must_use]
    pub const fn of_times() -> Times {
        Histogram::new(&TIME_BOUNDS_US)
    }
}

impl Sizes {
    /// An empty histogram of sizes.
    #[must_use]
    pub const fn of_sizes() -> Sizes {
        Histogram::new(&SIZE_BOUNDS)
    }
}

impl<const N: usize> Histogram<N> {
    const fn new(bounds: &'static [u64; N]) -> Histogram<N> {
        Histogram { bounds, counts: [0; N], above: 0, sum: 0 }
    }

    /// Counts one value.
    pub fn note(&mut self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        match self.counts.get_mut(place) {
            Some(count) => *count += 1,
            None => self.above += 1,
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// Each bound with the number of values that are at most that large.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let at_most = self.counts.iter().scan(0, |at_most, count| {
            *at_most += count;
            Some(*at_most)
        });
        self.bounds.iter().copied().zip(at_most)
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.above
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_with_the_first_bound_that_it_does_not_exceed_and_with_all_above() {
        let mut sizes = Sizes::of_sizes();
        for value in [0, 1, 2, 3, 4, 5, 5_000] {
            sizes.note(value);
        }
        let at_most: Vec<_> = sizes.cumulative().take(4).collect();
        assert_eq!(at_most, [(1, 2), (2, 3), (4, 5), (8, 6)]);
        assert_eq!(sizes.cumulative().last(), Some((4_096, 6)));
        assert_eq!((sizes.count(), sizes.sum()), (7, 5_015));
    }

    #[test]
    fn bounds_ascend() {
        assert!(TIME_BOUNDS_US.is_sorted_by(|a, b| a < b));
        assert!(SIZE_BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
