//! When rounds are thrifty: when so many clients ask at once that the cost of a round matters more than its
//! duration.
//!
//! A round that asks every voter passes with the fastest answers of all. A thrifty round asks no more voters
//! than it needs, and does not wake the others: when many requests share each round, the processors are the
//! bottleneck of the cluster, and every voter that is not asked leaves time for more requests.
//! `docs/performance.rst` has the measurements.

use raft_core::Audience;

/// The number of rounds after which the choice is made again: changing it with every round would cost more
/// than either choice.
pub const THRIFTY_ROUNDS: u64 = 64;

/// How many requests this many rounds must serve together to be thrifty: 4.5 each.
pub const THRIFTY_REQUESTS_MIN: u64 = THRIFTY_ROUNDS * 9 / 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct ThriftyPolicy {
    requests_min: u64,
    /// How many rounds have begun since the last choice.
    rounds: u64,
    /// How many requests they serve together.
    requests: u64,
    /// Which voters rounds ask until the next choice.
    audience: Audience,
}

impl ThriftyPolicy {
    /// Rounds are thrifty once [`THRIFTY_ROUNDS`] of them have served this many requests. With 0, they are
    /// thrifty from the first round on.
    pub(crate) fn new(requests_min: u64) -> ThriftyPolicy {
        ThriftyPolicy { requests_min, rounds: 0, requests: 0, audience: judged(requests_min, 0) }
    }

    /// Which voters rounds ask at present.
    pub(crate) fn audience(&self) -> Audience {
        self.audience
    }

    /// A round that serves this many requests begins: returns which voters it must ask.
    pub(crate) fn begin_round(&mut self, requests: u64) -> Audience {
        self.rounds += 1;
        self.requests = self.requests.saturating_add(requests);
        if self.rounds == THRIFTY_ROUNDS {
            self.audience = judged(self.requests_min, self.requests);
            (self.rounds, self.requests) = (0, 0);
        }
        self.audience
    }
}

/// Which voters rounds ask that serve this many requests together.
fn judged(requests_min: u64, requests: u64) -> Audience {
    if requests >= requests_min { Audience::QuickestMajority } else { Audience::EveryVoter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_thrifty_from_when_many_requests_have_shared_each_until_few_have() {
        let (all, few) = (Audience::EveryVoter, Audience::QuickestMajority);
        let mut policy = ThriftyPolicy::new(THRIFTY_REQUESTS_MIN);
        for (requests, audience) in
            [([1, 1], all), ([4, 4], all), ([4, 5], few), ([9, 0], few), ([4, 4], all)]
        {
            let before = policy.audience;
            for nth in 1..THRIFTY_ROUNDS {
                let asked = policy.begin_round(requests[usize::from(nth % 2 == 0)]);
                assert_eq!(asked, before, "{requests:?}, {nth}");
            }
            assert_eq!(policy.begin_round(requests[1]), audience, "{requests:?}");
            assert_eq!(policy.audience(), audience);
        }
    }

    /// For simulations, which never have that many clients.
    #[test]
    fn where_no_requests_are_many_already_every_round_is_thrifty() {
        assert_eq!(ThriftyPolicy::new(0).begin_round(1), Audience::QuickestMajority);
        assert_eq!(ThriftyPolicy::new(1).begin_round(1), Audience::EveryVoter);
    }
}
