//! Whether so many clients ask at once that what a round costs matters more than how long it takes.
//!
//! A round that asks everybody passes with the quickest answer of all. A thrifty one asks no more voters than it needs,
//! and leaves the others asleep: where many requests share each round, processors are what limits the cluster, and
//! what is not asked is time for more requests. `docs/performance.rst` says what was measured.

/// Over how many rounds it is judged: to change one's mind with every round costs more than either way.
pub const CROWD_ROUNDS: u64 = 64;

/// How many requests so many rounds serve together where there is a crowd: 4.5 each.
pub const CROWD_REQUESTS_MIN: u64 = CROWD_ROUNDS * 9 / 2;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    requests_min: u64,
    rounds: u64,
    requests: u64,
    is_there: bool,
}

impl Crowd {
    /// None yet, unless nobody is a crowd already; judged by this many requests in [`CROWD_ROUNDS`] rounds.
    pub(crate) fn of(requests_min: u64) -> Crowd {
        Crowd { requests_min, rounds: 0, requests: 0, is_there: requests_min == 0 }
    }

    /// A round begins that serves so many requests. Says whether it should be thrifty.
    pub(crate) fn note(&mut self, requests: u64) -> bool {
        self.rounds += 1;
        self.requests = self.requests.saturating_add(requests);
        if self.rounds == CROWD_ROUNDS {
            let is_there = self.requests >= self.requests_min;
            *self = Crowd { is_there, ..Crowd::of(self.requests_min) };
        }
        self.is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_thrifty_from_when_many_requests_have_shared_each_until_few_have() {
        let mut crowd = Crowd::of(CROWD_REQUESTS_MIN);
        for (requests, is_there) in
            [([1, 1], false), ([4, 4], false), ([4, 5], true), ([9, 0], true), ([4, 4], false)]
        {
            let before = crowd.is_there;
            for nth in 1..CROWD_ROUNDS {
                assert_eq!(crowd.note(requests[usize::from(nth % 2 == 0)]), before, "{requests:?}, {nth}");
            }
            assert_eq!(crowd.note(requests[1]), is_there, "{requests:?}");
        }
    }

    /// For whoever simulates: there are never as many clients.
    #[test]
    fn where_nobody_is_a_crowd_already_every_round_is_thrifty() {
        assert!(Crowd::of(0).note(1));
        assert!(!Crowd::of(1).note(1));
    }
}
