//! The read barriers that a leader has under way for requests, and whether the next one may begin.

use std::collections::VecDeque;

use raft_core::{BarrierId, Micros};

use super::requests::Arrival;

/// A barrier that passes within this time, in microseconds, is quick: a request that has just missed it does
/// not wait for long.
const QUICK_US: u64 = 200;

/// How many barriers may be under way however closely one follows the other: a request that has just missed
/// one begins the next at once. With more, each would serve fewer requests.
const AT_ONCE_MAX: usize = 2;

/// The same if they are quick and rounds are thrifty: the processors are then the bottleneck, and a round
/// costs them as much as a few requests.
const AT_ONCE_IF_THRIFTY_MAX: usize = 1;

/// How many barriers may be under way if they are not quick. The network then takes most of the time, and a
/// request that waits for an answer before its own round begins takes up to twice as long as it must. They
/// are spread over the time that one takes, so that whenever a request comes, the next one begins soon.
const SPREAD_MAX: usize = 8;

#[derive(Clone, Debug, Default)]
pub(crate) struct Barriers {
    /// Oldest first.
    under_way: VecDeque<UnderWay>,
    /// How long the last one took that has passed, in microseconds.
    last_took_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    barrier: BarrierId,
    /// It confirms the requests up to this one.
    latest: Arrival,
    since: Micros,
}

impl Barriers {
    /// The latest request that a barrier under way will confirm.
    pub(crate) fn latest(&self) -> Option<Arrival> {
        self.under_way.back().map(|last| last.latest)
    }

    /// Whether another barrier may begin.
    pub(crate) fn admit_another(&self, now: Micros, is_thrifty: bool) -> bool {
        let Some(last) = self.under_way.back() else { return true };
        let (count, age_us) = (self.under_way.len(), now.since(last.since));
        if self.last_took_us.max(age_us) < QUICK_US {
            return count < if is_thrifty { AT_ONCE_IF_THRIFTY_MAX } else { AT_ONCE_MAX };
        }
        count < AT_ONCE_MAX || (count < SPREAD_MAX && age_us >= self.last_took_us / SPREAD_MAX as u64)
    }

    pub(crate) fn on_begun(&mut self, now: Micros, barrier: BarrierId, latest: Arrival) {
        self.under_way.push_back(UnderWay { barrier, latest, since: now });
    }

    /// A barrier has passed, and so have all before it. Returns the latest request that is confirmed thereby.
    pub(crate) fn on_passed(&mut self, now: Micros, through: BarrierId) -> Option<Arrival> {
        let mut confirmed = None;
        while let Some(passed) = self.under_way.pop_front_if(|oldest| oldest.barrier <= through) {
            self.last_took_us = now.since(passed.since);
            confirmed = Some(passed.latest);
        }
        confirmed
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::super::io::RequestId;
    use super::super::requests::{Asker, Requests, Waiting};
    use super::*;

    /// How many barriers come to be under way, after one that took so long, if another is to begin every so
    /// many microseconds.
    fn begun(took_us: u64, interval_us: u64, is_thrifty: bool) -> usize {
        let mut barriers = Barriers::default();
        let now = Micros(1_000_000);
        barriers.on_begun(now, BarrierId(1), Arrival::default());
        barriers.on_passed(now.plus(took_us), BarrierId(1));
        for number in 2..100 {
            let later = now.plus(number * interval_us);
            if barriers.admit_another(later, is_thrifty) {
                barriers.on_begun(later, BarrierId(number), Arrival::default());
            }
        }
        barriers.under_way.len()
    }

    #[test]
    fn quick_ones_follow_each_other_and_only_where_requests_are_few_do_two_overlap() {
        for took_us in [0, QUICK_US - 1] {
            assert_eq!(begun(took_us, 0, true), 1);
            assert_eq!(begun(took_us, 0, false), 2);
        }
    }

    #[test]
    fn slow_ones_are_spread_over_the_time_that_one_takes() {
        let took_us = SPREAD_MAX as u64 * 1_000;
        for is_thrifty in [false, true] {
            assert_eq!(begun(took_us, 0, is_thrifty), 2, "a request that comes alone waits for nobody");
            assert_eq!(begun(QUICK_US, 0, is_thrifty), 2);
            assert_eq!(begun(took_us, 1_000, is_thrifty), SPREAD_MAX);
        }
        let mut barriers = Barriers { last_took_us: took_us, ..Barriers::default() };
        for (at, admitted) in [(0, true), (10, true), (1_009, false), (1_010, true), (2_009, false)] {
            assert_eq!(barriers.admit_another(Micros(at), true), admitted, "at {at}");
            if admitted {
                barriers.on_begun(Micros(at), BarrierId(at), Arrival::default());
            }
        }
    }

    /// A follower may have come to a stand, or its answer may be lost.
    #[test]
    fn one_that_is_not_quick_after_all_does_not_hold_up_the_others_for_good() {
        for is_thrifty in [false, true] {
            assert_eq!(begun(0, QUICK_US, is_thrifty), SPREAD_MAX);
        }
    }

    #[test]
    fn a_barrier_that_passes_confirms_what_those_before_it_would_have() {
        let (mut barriers, mut requests) = (Barriers::default(), Requests::default());
        let asker = Asker::Client(RequestId(1));
        let waiting = Waiting { asker, count: NonZeroU64::MIN, deadline: Micros(0) };
        let latest = [(); 2].map(|()| {
            assert!(requests.push(waiting));
            requests.latest()
        });
        for (number, latest) in (1..).zip(latest) {
            barriers.on_begun(Micros(0), BarrierId(number), latest);
        }
        assert_eq!(barriers.latest(), Some(latest[1]));
        assert_eq!(barriers.clone().on_passed(Micros(9), BarrierId(1)), Some(latest[0]));
        assert_eq!(barriers.on_passed(Micros(9), BarrierId(2)), Some(latest[1]));
        assert_eq!(barriers.on_passed(Micros(9), BarrierId(2)), None);
        assert_eq!(barriers.latest(), None);
    }
}
