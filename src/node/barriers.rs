//! The read barriers that a leader has under way for requests, and whether the next one may begin.

use raft_core::{Audience, BarrierId, Micros};

use super::requests::Arrival;
use super::round_trips::{AT_ONCE_MAX, RoundTrips};

/// How many barriers may be under way if they are quick and rounds are thrifty: the processors are then the
/// bottleneck, and a round costs them as much as a few requests.
const QUICK_AND_THRIFTY_MAX: usize = 1;

#[derive(Clone, Debug, Default)]
pub(crate) struct Barriers(RoundTrips<Covering>);

#[derive(Clone, Copy, Debug)]
struct Covering {
    barrier: BarrierId,
    /// It confirms the requests up to this one.
    latest: Arrival,
}

impl Barriers {
    /// The latest request that a barrier under way will confirm.
    pub(crate) fn latest(&self) -> Option<Arrival> {
        self.0.latest().map(|covering| covering.latest)
    }

    /// Whether another barrier may begin, which asks these voters.
    pub(crate) fn may_begin(&self, now: Micros, audience: Audience) -> bool {
        let quick_max = match audience {
            Audience::QuickestMajority => QUICK_AND_THRIFTY_MAX,
            Audience::EveryVoter => AT_ONCE_MAX,
        };
        self.0.may_begin(now, quick_max)
    }

    /// When another barrier may begin, if that is worth a timer.
    pub(crate) fn timer(&self) -> Option<Micros> {
        self.0.timer()
    }

    pub(crate) fn on_begun(&mut self, now: Micros, barrier: BarrierId, latest: Arrival) {
        self.0.begin(now, Covering { barrier, latest });
    }

    /// A barrier has passed, and so have all before it. Returns the latest request that is confirmed thereby.
    pub(crate) fn on_passed(&mut self, now: Micros, through: BarrierId) -> Option<Arrival> {
        let mut confirmed = None;
        while let Some(passed) = self.0.end_oldest_if(now, |oldest| oldest.barrier <= through) {
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
    use super::super::round_trips::QUICK_US;
    use super::*;

    /// How many barriers come to be under way at one moment, after one that took so long.
    fn begun(took_us: u64, audience: Audience) -> usize {
        let mut barriers = Barriers::default();
        barriers.on_begun(Micros(0), BarrierId(1), Arrival::default());
        barriers.on_passed(Micros(took_us), BarrierId(1));
        for number in 2..100 {
            if barriers.may_begin(Micros(took_us), audience) {
                barriers.on_begun(Micros(took_us), BarrierId(number), Arrival::default());
            }
        }
        barriers.0.len()
    }

    #[test]
    fn quick_ones_follow_each_other_where_rounds_are_thrifty_and_otherwise_two_overlap() {
        assert_eq!(begun(QUICK_US - 1, Audience::QuickestMajority), 1);
        assert_eq!(begun(QUICK_US - 1, Audience::EveryVoter), 2);
        assert_eq!(begun(QUICK_US, Audience::QuickestMajority), 2);
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
