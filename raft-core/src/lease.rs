//! The lease (dissertation §6.4.1): a leader that a majority has promised to support for a while lets read
//! barriers pass without a round of their own.
//!
//! With its answer to a heartbeat, a node promises to vote for no other node, itself included, for a stated
//! time, measured by its own clock from when it received the heartbeat. The leader measures the same time by
//! its own clock from when it *sent* that round, shortened by as much as the rates of the two clocks may
//! differ. As long as the time of a majority has not run out for the leader, no node of that majority is free
//! to elect another leader, and another leader would need the vote of one of them.
//!
//! A leader may want to be succeeded at once, and then promises to it do not bind: before it tells a node to
//! campaign (dissertation §3.10), it gives up its lease, for the rest of that term.
//!
//! This is the only place where what clients are promised depends on time: the order of what is served from a
//! lease, never the contents of the log. Everywhere else, only liveness does. `docs/lease.rst` has the whole
//! argument.

use alloc::collections::VecDeque;

use crate::config::{LEASE_ROUNDS_MAX, Lease};
use crate::raft::Raft;
use crate::types::{Micros, Peer, Round};

/// Moments are truncated to whole microseconds: of two that are compared, each may be one too early.
const ROUNDING_US: u64 = 2;

/// One million: errors of a clock's rate are given in millionths.
const PPM: u64 = 1_000_000;

impl Lease {
    /// How long a leader may rely on a promise of `promised_us`, from when it asked for it. If clock rates
    /// have an error of e, the promise lasts for at least promised/(1+e) of true time, and what the leader
    /// measures as t takes at most t/(1-e).
    fn relied_us(self, promised_us: u64) -> u64 {
        let error = u64::from(self.clock_error_ppm).min(PPM);
        let scaled = u128::from(promised_us) * u128::from(PPM - error) / u128::from(PPM + error);
        u64::try_from(scaled).expect("no more than was promised").saturating_sub(ROUNDING_US)
    }
}

/// When a leader's latest rounds began, oldest first: promises count from there. Dropped for the rest of the
/// term once the leader begins to hand over.
#[derive(Clone, Hash, Debug, Default)]
pub(crate) struct LeaseRounds(VecDeque<(Round, Micros)>);

impl LeaseRounds {
    /// Notes that a round begins: its heartbeats are sent no earlier than `now`.
    pub(crate) fn begin(&mut self, round: Round, now: Micros) {
        if self.0.len() >= LEASE_ROUNDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((round, now));
    }

    /// When this round began, if that is remembered.
    fn began_at(&self, round: Round) -> Option<Micros> {
        let place = self.0.binary_search_by_key(&round, |(begun, _)| *begun).ok()?;
        Some(self.0[place].1)
    }

    /// How long ago each of these rounds began.
    pub(crate) fn ages(&self, now: Micros) -> impl Iterator<Item = (Round, u64)> {
        self.0.iter().map(move |(round, at)| (*round, now.since(*at)))
    }
}

impl Raft {
    /// For how long this node, which is about to answer a heartbeat, supports no node but the sender. `None`
    /// if it keeps no leases, or would rather be free. The leader relies on no more than what it is told, so
    /// a node that has a longer election timeout than its leader need not promise that much, and does not
    /// hold up the next election. What was promised before, perhaps to an earlier leader and for longer,
    /// still binds.
    pub(crate) fn promise_support(&mut self, leaders_election_timeout_us: u64) -> Option<u64> {
        self.config.lease?;
        if self.has_stuck_leader() {
            // The last promise must end before this node can campaign, or vote for another.
            return None;
        }
        let promised_us = self.config.election_timeout_us.min(leaders_election_timeout_us);
        self.promised_until = self.promised_until.max(self.now.plus(promised_us));
        Some(promised_us)
    }

    /// Whether this node is bound to support no node but the last leader that it heard.
    pub(crate) fn has_promised_support(&self) -> bool {
        self.now < self.promised_until
    }

    /// A member has promised its support with its answer to this round. The promise is forgotten when the
    /// member is removed: the next life of its id has promised nothing.
    pub(crate) fn on_support_promised(&mut self, by: Peer, round: Round, promised_us: u64) {
        let Some(lease) = self.config.lease else { return };
        if let Some(leader) = self.role.as_leader_mut()
            && let Some(began_at) = leader.lease_rounds.as_ref().and_then(|rounds| rounds.began_at(round))
            && let Some(progress) = leader.progress.get_mut(&by.id)
        {
            // A sound member promises no more than it was asked for.
            let promised_us = promised_us.min(self.config.election_timeout_us);
            let until = began_at.plus(lease.relied_us(promised_us));
            progress.supports_until = progress.supports_until.max(until);
        }
    }

    /// Whether a read barrier that begins now passes at once: this node leads, an entry of its own term is
    /// committed, and a majority of the voters is bound to support it. A leader always supports itself,
    /// because it votes for no other node.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        let Some(leader) = self.role.as_leader() else { return false };
        // A barrier that confirms only the leadership could do without the commit: that no other node can
        // be elected follows from the promises (`docs/lease.rst`). But a barrier that passes lets those
        // before it pass, and they may wait for the commit. All that this would save is the time between
        // the first answers to a new leader and its first commit.
        if leader.lease_rounds.is_none() || leader.first_index > self.commit_index {
            return false;
        }
        let for_ever = Micros(u64::MAX);
        let until = self.reached_by_majority(self.log.membership(), for_ever, |p| p.supports_until);
        until.is_some_and(|until| self.now < until)
    }

    /// Gives up the lease for the rest of this term: another node is about to be told to campaign.
    pub(crate) fn end_lease(&mut self) {
        if let Some(leader) = self.role.as_leader_mut() {
            leader.lease_rounds = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_relied_upon_is_over_before_the_promise_whatever_the_clocks_rates_within_the_error() {
        for clock_error_ppm in [0, 1, 100, 1_000, 50_000, 500_000, 1_000_000] {
            for promised_us in [0, 1, 10, 300_000, 5_000_000, 60_000_000] {
                let relied = u128::from(Lease { clock_error_ppm }.relied_us(promised_us));
                let error = u128::from(clock_error_ppm);
                let million = u128::from(PPM);
                // relied/(1-e) <= promised/(1+e), without fractions.
                assert!(relied * (million + error) <= u128::from(promised_us) * (million - error));
            }
        }
        assert_eq!(Lease { clock_error_ppm: 1_000 }.relied_us(300_000), 299_398);
    }

    #[test]
    fn the_latest_rounds_are_remembered_and_no_others() {
        let mut rounds = LeaseRounds::default();
        for round in 1..=100 {
            rounds.begin(Round(round), Micros(round * 10));
        }
        assert_eq!(rounds.0.len(), LEASE_ROUNDS_MAX);
        assert_eq!((rounds.began_at(Round(1)), rounds.began_at(Round(101))), (None, None));
        assert_eq!(rounds.began_at(Round(90)), Some(Micros(900)));
    }
}
