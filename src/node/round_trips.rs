//! Round trips of one kind that are under way, and when the next one may begin.
//!
//! A request that comes during a round trip needs another. If that one begins only when the first has ended,
//! the request takes up to twice as long as it must. If each begins at once, many of them serve few requests
//! each, which costs processor time. What is better depends on whether the processors or the network take
//! most of the time.

use std::collections::VecDeque;

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

/// Round trips of one kind. `T` is what one of them is about.
#[derive(Clone, Debug)]
pub(crate) struct RoundTrips<T> {
    /// Oldest first.
    under_way: VecDeque<RoundTrip<T>>,
    /// How long the last one took that has ended, in microseconds.
    last_took_us: u64,
}

#[derive(Clone, Debug)]
struct RoundTrip<T> {
    began_at: Micros,
    what: T,
}

impl<T> Default for RoundTrips<T> {
    fn default() -> RoundTrips<T> {
        RoundTrips { under_way: VecDeque::new(), last_took_us: 0 }
    }
}

impl<T> RoundTrips<T> {
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// When the oldest one began, and what it is about.
    pub(crate) fn oldest(&self) -> Option<(Micros, &T)> {
        self.under_way.front().map(|oldest| (oldest.began_at, &oldest.what))
    }

    pub(crate) fn latest(&self) -> Option<&T> {
        self.under_way.back().map(|latest| &latest.what)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.under_way.iter_mut().map(|round_trip| &mut round_trip.what)
    }

    /// Whether another one may begin. `quick_max` is how many may begin without a pause while they are quick.
    pub(crate) fn may_begin(&self, now: Micros, quick_max: usize) -> bool {
        self.under_way.is_empty() || self.next_at(quick_max).is_some_and(|at| at <= now)
    }

    /// When another one may begin, if that is worth a timer. If they are quick it is not: one of them ends
    /// soon, and a timer takes as much of the processor's time as a few requests.
    pub(crate) fn timer(&self) -> Option<Micros> {
        if self.last_took_us < QUICK_US { None } else { self.next_at(AT_ONCE_MAX) }
    }

    /// When another one may begin; `None` if none is under way, or if one of them must end first.
    fn next_at(&self, quick_max: usize) -> Option<Micros> {
        let latest = self.under_way.back()?;
        let (at_once_max, pause_us) = if self.last_took_us < QUICK_US {
            // The latest may not be quick: whoever is asked may have come to a stand.
            (quick_max, QUICK_US)
        } else {
            (AT_ONCE_MAX, self.last_took_us / SPREAD_MAX as u64)
        };
        if self.len() < at_once_max {
            return Some(latest.began_at);
        }
        (self.len() < SPREAD_MAX).then(|| latest.began_at.plus(pause_us))
    }

    pub(crate) fn begin(&mut self, now: Micros, what: T) {
        self.under_way.push_back(RoundTrip { began_at: now, what });
    }

    /// The oldest one ends if it is the one that is meant. Returns what it was about.
    pub(crate) fn end_oldest_if(&mut self, now: Micros, is_meant: impl Fn(&T) -> bool) -> Option<T> {
        let ended = self.under_way.pop_front_if(|oldest| is_meant(&oldest.what))?;
        self.last_took_us = now.since(ended.began_at);
        Some(ended.what)
    }

    /// Forgets all that are under way.
    pub(crate) fn clear(&mut self) {
        self.under_way.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each of a number of round trips begins, after one that took so long, if another is to begin every
    /// this many microseconds and none ends.
    fn begun(took_us: u64, interval_us: u64, quick_max: usize) -> Vec<u64> {
        let mut round_trips = RoundTrips::default();
        round_trips.begin(Micros(0), ());
        assert_eq!(round_trips.end_oldest_if(Micros(took_us), |()| true), Some(()));
        let mut begun = Vec::new();
        for number in 0..100 {
            let at = number * interval_us;
            if round_trips.may_begin(Micros(at), quick_max) {
                round_trips.begin(Micros(at), ());
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

    #[test]
    fn a_timer_is_set_for_the_next_of_those_that_are_slow() {
        for (took_us, under_way, timer) in [
            (QUICK_US - 1, 2, None),
            (8_000, 0, None),
            (8_000, 1, Some(Micros(50))),
            (8_000, 2, Some(Micros(1_050))),
            (8_000, SPREAD_MAX, None),
        ] {
            let mut round_trips = RoundTrips { last_took_us: took_us, ..RoundTrips::default() };
            (0..under_way).for_each(|_| round_trips.begin(Micros(50), ()));
            assert_eq!(round_trips.timer(), timer, "{under_way} that take {took_us} us");
        }
    }

    #[test]
    fn they_end_oldest_first() {
        let mut round_trips = RoundTrips::default();
        (1..=3).for_each(|number| round_trips.begin(Micros(number), number));
        assert_eq!((round_trips.oldest(), round_trips.latest()), (Some((Micros(1), &1)), Some(&3)));
        assert_eq!(round_trips.end_oldest_if(Micros(9), |number| *number == 2), None);
        assert_eq!(round_trips.end_oldest_if(Micros(9), |number| *number == 1), Some(1));
        assert_eq!(round_trips.oldest(), Some((Micros(2), &2)));
        round_trips.clear();
        assert_eq!(round_trips.len(), 0);
    }
}
