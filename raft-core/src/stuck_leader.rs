//! A leader that commits nothing, and does not find out that the others could do so without it: its own disk
//! hangs, or that of one of the voters that it reaches, and it cannot reach others that some follower can.
//!
//! To the leader this looks as if those others were dead, and then it should lead on. The follower knows
//! better: it has had entries on its disk for a while that are not committed, and it is asked for pre-votes
//! by voters that hear no leader. If these and itself are a majority, it asks them in turn. Otherwise it
//! would protect this leader for ever, as it hears its heartbeats, and what the others lack keeps them from
//! winning.

use alloc::collections::BTreeMap;

use crate::raft::Raft;
use crate::roles::{Follower, Pace, RoleState};
use crate::types::{LogIndex, Micros, NodeId, Peer};

/// For how many election timeouts nothing must have been committed: disks that are only slow, and elections,
/// are over by then.
const PATIENCE_ELECTION_TIMEOUTS: u64 = 3;

/// For how many election timeouts a voter counts that has asked for a pre-vote: it asks again after two at
/// most.
const ASKS_AGAIN_WITHIN_ELECTION_TIMEOUTS: u64 = 2;

/// What a follower knows of its leader's commits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Doubt {
    /// The commit index beyond which this node's disk has entries, and since when that is so.
    pub(crate) uncommitted: Option<(LogIndex, Micros)>,
    /// Who has asked for a pre-vote since the leader counts as stuck, and when last.
    pub(crate) asked_by: BTreeMap<NodeId, Micros>,
}

impl Raft {
    /// The leader has said what is committed.
    pub(crate) fn note_commit(&mut self) {
        let (now, commit_index) = (self.now, self.commit_index);
        let is_behind = self.persistence.durable_index() > commit_index;
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        if !is_behind {
            *doubt = Doubt::default();
        } else if doubt.uncommitted.is_none_or(|(index, _)| index != commit_index) {
            *doubt = Doubt { uncommitted: Some((commit_index, now)), ..Doubt::default() };
        }
    }

    /// A node that hears no leader has asked for a pre-vote, and this node hears one.
    pub(crate) fn on_leader_missed(&mut self, by: Peer) {
        let now = self.now;
        if !self.log.membership().contains(by) || !self.follows_a_stuck_leader() {
            return;
        }
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        doubt.asked_by.insert(by.id, now);
        if self.could_do_without_its_leader() && !self.has_promised_support() {
            self.start_pre_vote(Pace::Patient);
        }
    }

    /// Whether this node and voters that hear no leader could elect another, which could commit something.
    pub(crate) fn could_do_without_its_leader(&self) -> bool {
        let RoleState::Follower(Follower { doubt, .. }) = &self.role else { return false };
        let within_us = self.config.election_timeout_us.saturating_mul(ASKS_AGAIN_WITHIN_ELECTION_TIMEOUTS);
        let counts = |id: &NodeId| {
            let asked = doubt.asked_by.get(id).is_some_and(|at| self.now.since(*at) <= within_us);
            asked || *id == self.config.me.id
        };
        let membership = self.log.membership();
        self.is_voter() && membership.voters().filter(counts).count() >= membership.quorum()
    }

    fn follows_a_stuck_leader(&self) -> bool {
        let RoleState::Follower(Follower { leader: Some(_), doubt, .. }) = &self.role else { return false };
        doubt.uncommitted.is_some_and(|(_, since)| self.now.since(since) >= self.stuck_leader_patience_us())
    }

    /// For how long nothing must have been committed.
    pub(crate) fn stuck_leader_patience_us(&self) -> u64 {
        self.config.election_timeout_us.saturating_mul(PATIENCE_ELECTION_TIMEOUTS)
    }
}
