//! The read barriers that a leader has under way for requests, and whether the next one may begin.

use std::collections::VecDeque;

use raft_core::{BarrierId, Micros};

use super::requests::Arrival;

/// How many barriers may be under way at once. With two, a request that has just missed one begins the next
/// at once; with more, each would serve fewer requests.
const UNDER_WAY_MAX: usize = 2;

/// A barrier that passes within this time, in microseconds, is quick: a request that has just missed it does
/// not wait for long.
const QUICK_US: u64 = 200;

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

    /// Whether another barrier may begin. While rounds are thrifty, the processors are the bottleneck, and a
    /// round costs them as much as a few requests: as long as barriers are quick, one follows the other.
    pub(crate) fn admit_another(&self, now: Micros, is_thrifty: bool) -> bool {
        let Some(last) = self.under_way.back() else { return true };
        let are_quick = self.last_took_us.max(now.since(last.since)) < QUICK_US;
        self.under_way.len() < UNDER_WAY_MAX && !(is_thrifty && are_quick)
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

    /// Barriers of which the first, begun at this moment, is under way, and those before it took so long.
    fn one_under_way(since: Micros, took_us: u64) -> Barriers {
        let mut barriers = Barriers::default();
        let before = Micros(0);
        barriers.on_begun(before, BarrierId(1), Arrival::default());
        barriers.on_passed(before.plus(took_us), BarrierId(1));
        barriers.on_begun(since, BarrierId(2), Arrival::default());
        barriers
    }

    #[test]
    fn two_are_under_way_at_most() {
        let mut barriers = Barriers::default();
        let now = Micros(1_000_000);
        for number in 1..=2 {
            assert!(barriers.admit_another(now, false));
            barriers.on_begun(now, BarrierId(number), Arrival::default());
        }
        for is_thrifty in [false, true] {
            assert!(!barriers.admit_another(now.plus(1_000_000), is_thrifty));
        }
        barriers.on_passed(now, BarrierId(1));
        assert!(barriers.admit_another(now, false));
    }

    #[test]
    fn one_at_a_time_is_enough_while_rounds_are_thrifty_and_quick() {
        let since = Micros(1_000_000);
        for (took_us, for_us, is_thrifty, admitted) in [
            (QUICK_US - 1, QUICK_US - 1, true, false),
            (QUICK_US - 1, QUICK_US, true, true),
            (QUICK_US, 0, true, true),
            (QUICK_US - 1, 0, false, true),
        ] {
            let barriers = one_under_way(since, took_us);
            let found = barriers.admit_another(since.plus(for_us), is_thrifty);
            assert_eq!(found, admitted, "{took_us}, {for_us}, {is_thrifty}");
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
