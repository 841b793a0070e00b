//! When rounds are thrifty: where so many clients ask at once that what a round costs matters more than how
//! long it takes.
//!
//! A round that asks everybody passes with the quickest answer of all. A thrifty one asks no more voters than
//! it needs, and leaves the others asleep: where many requests share each round, processors are what limits
//! the cluster, and what is not asked is time for more requests. `docs/performance.rst` says what was
//! measured.

use raft_core::Audience;

/// Over how many rounds it is judged: to change one's mind with every round costs more than either way.
pub const THRIFT_ROUNDS: u64 = 64;

/// How many requests so many rounds serve together from when they are thrifty: 4.5 each.
pub const THRIFT_REQUESTS_MIN: u64 = THRIFT_ROUNDS * 9 / 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct ThriftPolicy {
    requests_min: u64,
    /// So many rounds since it was judged last.
    rounds: u64,
    /// What they serve together.
    requests: u64,
    /// Whom rounds ask until it is judged again.
    asks: Audience,
}

impl ThriftPolicy {
    /// Rounds are thrifty once [`THRIFT_ROUNDS`] of them have served this many requests; from the first on
    /// where that is none.
    pub(crate) fn new(requests_min: u64) -> ThriftPolicy {
        ThriftPolicy { requests_min, rounds: 0, requests: 0, asks: judged(requests_min, 0) }
    }

    /// A round begins that serves so many requests: whom it is to ask.
    pub(crate) fn begin_round(&mut self, requests: u64) -> Audience {
        self.rounds += 1;
        self.requests = self.requests.saturating_add(requests);
        if self.rounds == THRIFT_ROUNDS {
            self.asks = judged(self.requests_min, self.requests);
            (self.rounds, self.requests) = (0, 0);
        }
        self.asks
    }
}

/// Whom rounds ask that serve so many requests together.
fn judged(requests_min: u64, requests: u64) -> Audience {
    if requests >= requests_min { Audience::QuickestMajority } else { Audience::EveryVoter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_thrifty_from_when_many_requests_have_shared_each_until_few_have() {
        let (all, few) = (Audience::EveryVoter, Audience::QuickestMajority);
        let mut policy = ThriftPolicy::new(THRIFT_REQUESTS_MIN);
        for (requests, asks) in [([1, 1], all), ([4, 4], all), ([4, 5], few), ([9, 0], few), ([4, 4], all)] {
            let before = policy.asks;
            for nth in 1..THRIFT_ROUNDS {
                let asked = policy.begin_round(requests[usize::from(nth % 2 == 0)]);
                assert_eq!(asked, before, "{requests:?}, {nth}");
            }
            assert_eq!(policy.begin_round(requests[1]), asks, "{requests:?}");
        }
    }

    /// For whoever simulates: there are never as many clients.
    #[test]
    fn where_no_requests_are_many_already_every_round_is_thrifty() {
        assert_eq!(ThriftPolicy::new(0).begin_round(1), Audience::QuickestMajority);
        assert_eq!(ThriftPolicy::new(1).begin_round(1), Audience::EveryVoter);
    }
}
