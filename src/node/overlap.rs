//! How many round trips of one kind may be under way at once, and when the next one may begin.
//!
//! A request that comes during a round trip needs another. If that one begins only when the first has ended,
//! the request takes up to twice as long as it must. If each begins at once, many of them serve few requests
//! each, which costs processor time. What is better depends on whether the processors or the network take
//! most of the time.

use raft_core::Micros;

/// A round trip that takes less than this, in microseconds, is quick: a request that has just missed it does
/// not wait for long.
pub(crate) const QUICK_US: u64 = 200;

/// How many may be under way however closely one follows the other, if they are not quick: a request that
/// has just missed one begins the next at once.
pub(crate) const AT_ONCE_MAX: usize = 2;

/// How many may be under way if they are not quick. The network then takes most of the time. They are spread
/// over the time that one takes, so that whenever a request comes, the next one begins soon.
pub(crate) const SPREAD_MAX: usize = 8;

/// Decides when the next round trip may begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlap {
    /// How long the last one took that has ended, in microseconds.
    last_took_us: u64,
}

impl Overlap {
    /// When another may begin while so many are under way, the last of them since `since`; `None` if one of
    /// them must end first. If they are quick, `quick_max` is how many may be under way.
    pub(crate) fn next_at(&self, count: usize, since: Micros, quick_max: usize) -> Option<Micros> {
        let (at_once_max, pause_us) = if self.is_quick() {
            // The last one may not be quick: whoever is asked may have come to a stand.
            (quick_max, QUICK_US)
        } else {
            (AT_ONCE_MAX, self.last_took_us / SPREAD_MAX as u64)
        };
        if count < at_once_max {
            return Some(since);
        }
        (count < SPREAD_MAX).then(|| since.plus(pause_us))
    }

    /// Whether they are quick. One of them then ends so soon that it is not worth setting a timer for the
    /// next: that would take as much of the processor's time as a few requests.
    pub(crate) fn is_quick(&self) -> bool {
        self.last_took_us < QUICK_US
    }

    /// One has ended that began at `since`.
    pub(crate) fn on_ended(&mut self, now: Micros, since: Micros) {
        self.last_took_us = now.since(since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of a number of round trips begins, after one that took so long, if another is to begin every
    /// so many microseconds and none ends.
    fn begun(took_us: u64, interval_us: u64, quick_max: usize) -> Vec<u64> {
        let mut overlap = Overlap::default();
        overlap.on_ended(Micros(took_us), Micros(0));
        let mut begun = vec![0];
        for number in 1..100 {
            let at = number * interval_us;
            let next_at = overlap.next_at(begun.len(), Micros(begun[begun.len() - 1]), quick_max);
            if next_at.is_some_and(|next_at| next_at <= Micros(at)) {
                begun.push(at);
            }
        }
        begun
    }

    #[test]
    fn quick_ones_overlap_as_far_as_the_caller_allows() {
        for took_us in [0, QUICK_US - 1] {
            for quick_max in [1, 2, 5] {
                assert_eq!(begun(took_us, 0, quick_max), vec![0; quick_max]);
            }
        }
    }

    #[test]
    fn slow_ones_are_spread_over_the_time_that_one_takes_but_for_the_second() {
        assert_eq!(begun(QUICK_US, 0, 1), [0, 0], "a request that comes alone waits for nobody");
        let took_us = SPREAD_MAX as u64 * 1_000;
        assert_eq!(begun(took_us, 0, 1), [0, 0]);
        assert_eq!(begun(took_us, 400, 1), [0, 400, 1_600, 2_800, 4_000, 5_200, 6_400, 7_600]);
        assert_eq!(begun(took_us, 1_000, 1), [0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000]);
    }

    /// Whoever is asked may have come to a stand, or the answer may be lost.
    #[test]
    fn one_that_is_not_quick_after_all_does_not_hold_up_the_others_for_good() {
        assert_eq!(begun(0, QUICK_US / 2, 1)[..3], [0, QUICK_US, 2 * QUICK_US]);
        assert_eq!(begun(0, QUICK_US, 1).len(), SPREAD_MAX);
    }
}
