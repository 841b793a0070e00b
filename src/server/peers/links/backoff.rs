//! How long to wait before dialling again. Pure: its randomness is a seed.
//!
//! A link that broke is dialled again at once: if the peer's process has ended, the dial is refused at once,
//! which makes failover fast. After that the wait doubles, up to about a second. It counts from the beginning
//! of one attempt to that of the next. Half of it is random, so that the nodes of a cluster that start
//! together do not dial in step.

use raft_core::SplitMix64;

use crate::server::limits::{REDIAL_DELAY_US_MAX, REDIAL_DELAY_US_MIN};

/// The attempts since the link was last up for a while.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    attempts: u32,
    rng: SplitMix64,
}

impl Backoff {
    /// No attempts yet; `seed` determines the random part of the waits.
    pub(crate) fn new(seed: u64) -> Backoff {
        Backoff { attempts: 0, rng: SplitMix64::new(seed) }
    }

    /// The link was up for a while, or is likely to come up: the next attempt counts as the first.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long to wait before the next attempt, in microseconds. Counts that attempt.
    pub(crate) fn next_delay_us(&mut self) -> u64 {
        let attempt = self.attempts;
        self.attempts = self.attempts.saturating_add(1);
        let Some(doublings) = attempt.checked_sub(1) else { return 0 };
        // 2^7 times the minimum already exceeds the maximum.
        let full = (REDIAL_DELAY_US_MIN << doublings.min(7)).min(REDIAL_DELAY_US_MAX);
        full / 2 + self.rng.below(full / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_at_once_and_the_second_soon() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(seed);
            assert_eq!(backoff.next_delay_us(), 0);
            let second = backoff.next_delay_us();
            assert!(
                (REDIAL_DELAY_US_MIN / 2..=REDIAL_DELAY_US_MIN).contains(&second),
                "seed {seed}: {second}"
            );
        }
    }

    #[test]
    fn the_wait_grows_to_its_bound_and_stays_there() {
        let mut backoff = Backoff::new(7);
        let delays: Vec<u64> = (0..1_000).map(|_| backoff.next_delay_us()).collect();
        assert!(delays.iter().all(|d| *d <= REDIAL_DELAY_US_MAX), "{delays:?}");
        assert!(delays[10..].iter().all(|d| *d >= REDIAL_DELAY_US_MAX / 2), "{delays:?}");
        backoff.attempts = u32::MAX;
        assert!(backoff.next_delay_us() <= REDIAL_DELAY_US_MAX);
    }

    #[test]
    fn two_nodes_do_not_wait_equally_long() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(2));
        let delays = |b: &mut Backoff| (0..8).map(|_| b.next_delay_us()).collect::<Vec<_>>();
        assert_ne!(delays(&mut one), delays(&mut other));
    }

    #[test]
    fn after_a_reset_the_next_attempt_is_at_once() {
        let mut backoff = Backoff::new(1);
        for _ in 0..5 {
            backoff.next_delay_us();
        }
        backoff.reset();
        assert_eq!(backoff.next_delay_us(), 0);
    }
}
