//! How fast a cluster is asked: how long each address may take to answer, and the pauses between two rounds.
//! It reads no clock, and its randomness is a seed.

use std::time::Duration;

use raft_core::SplitMix64;

use crate::peer::AdminRequest;

/// How long a member may take to answer: some elections and some slow disks. A change of membership is
/// answered when it is committed.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long each of several addresses may take in the first round; in each further round it is twice as long,
/// up to [`ANSWER_TIMEOUT`]. All hosts of a cluster may be given the same addresses, and one that is about to
/// join listens already, but answers nobody.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// The first pause between two rounds, and the longest: an election takes tenths of a second, and a cluster
/// that has no leader for minutes is not helped by being asked more often.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The backoff of one request, round after round.
pub(crate) struct Backoff {
    answer_timeout: Duration,
    pause: Duration,
    rng: SplitMix64,
}

impl Backoff {
    /// For this request.
    pub(crate) fn new(request: &AdminRequest, seed: u64) -> Backoff {
        let answer_timeout = match request {
            AdminRequest::Join { .. } | AdminRequest::Remove { .. } | AdminRequest::Status => {
                FIRST_ANSWER_TIMEOUT
            }
            // What is not answered in time is asked for again elsewhere. To repeat a transfer that has
            // succeeded would be another transfer.
            AdminRequest::Transfer { .. } => ANSWER_TIMEOUT,
        };
        Backoff { answer_timeout, pause: PAUSE_MIN, rng: SplitMix64::new(seed) }
    }

    /// How long each of this many addresses may take to answer in this round.
    pub(crate) fn answer_timeout(&self, addresses: usize) -> Duration {
        if addresses > 1 { self.answer_timeout } else { ANSWER_TIMEOUT }
    }

    /// How long to wait before the next round, which begins. A half of it is random: if two members are told
    /// to leave at the same moment, each may hand over to the other, and if both were then asked again in
    /// step, that would go on.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let half = self.pause / 2;
        let half_us = u64::try_from(half.as_micros()).expect("PAUSE_MAX is short");
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.answer_timeout = (self.answer_timeout * 2).min(ANSWER_TIMEOUT);
        half + Duration::from_micros(self.rng.below(half_us + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClusterId;

    #[test]
    fn a_single_address_and_a_transfer_have_all_the_time_there_is() {
        let transfer = AdminRequest::Transfer { cluster: ClusterId(1), to: None };
        for (request, addresses) in [(&AdminRequest::Status, 1), (&transfer, 2)] {
            let mut backoff = Backoff::new(request, 1);
            assert_eq!(backoff.answer_timeout(addresses), ANSWER_TIMEOUT, "{request:?}");
            backoff.next_pause();
            assert_eq!(backoff.answer_timeout(addresses), ANSWER_TIMEOUT, "{request:?}");
        }
    }

    #[test]
    fn each_of_several_addresses_has_little_time_first_and_all_there_is_in_the_end() {
        let mut backoff = Backoff::new(&AdminRequest::Status, 1);
        let timeouts = [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000].map(Duration::from_millis);
        for timeout in timeouts {
            assert_eq!(backoff.answer_timeout(2), timeout);
            backoff.next_pause();
        }
    }

    #[test]
    fn pauses_grow_and_two_commands_that_began_together_do_not_go_on_in_step() {
        let [mut one, mut other] = [1, 2].map(|seed| Backoff::new(&AdminRequest::Status, seed));
        for longest in [50, 100, 200, 400, 800, 1_000, 1_000].map(Duration::from_millis) {
            let (one, other) = (one.next_pause(), other.next_pause());
            assert!((longest / 2..=longest).contains(&one), "{one:?}");
            assert_ne!(one, other);
        }
    }
}
