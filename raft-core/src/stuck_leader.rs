//! A leader that commits nothing, and does not find out that the others could do so without it: its own disk
//! hangs, or that of one of the voters that it reaches, and it cannot reach others that some follower can.
//!
//! To the leader this looks as if those others were dead, and then it should lead on. The follower knows
//! better: it has had entries on its disk for a while that are not committed, and it is asked for pre-votes
//! by voters that hear no leader. If these and itself are a majority, it asks them in turn. Otherwise it
//! would protect this leader for ever, as it hears its heartbeats, and what the others lack keeps them from
//! winning.

use alloc::collections::BTreeSet;

use crate::raft::Raft;
use crate::roles::{Follower, Pace, RoleState};
use crate::types::{LogIndex, Micros, NodeId, Peer};

/// For how many election timeouts nothing must have been committed: disks that are only slow, and elections,
/// are over by then.
const PATIENCE_ELECTION_TIMEOUTS: u8 = 3;

/// What a follower knows of its leader's commits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Doubt {
    /// What waits to be committed.
    pub(crate) waiting: Option<Waiting>,
    /// Who has asked for a pre-vote since the leader counts as stuck.
    pub(crate) asked_by: BTreeSet<NodeId>,
}

/// This node's disk has entries that the leader does not commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waiting {
    /// The commit index before them.
    pub(crate) commit_index: LogIndex,
    /// How many election timeouts have passed since, no more than [`PATIENCE_ELECTION_TIMEOUTS`].
    pub(crate) timeouts: u8,
    /// When the next one began.
    pub(crate) since: Micros,
}

impl Raft {
    /// The leader has said what is committed.
    pub(crate) fn note_commit(&mut self) {
        let (now, commit_index, timeout_us) = (self.now, self.commit_index, self.config.election_timeout_us);
        let is_behind = self.persistence.durable_index() > commit_index;
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        match &mut doubt.waiting {
            _ if !is_behind => *doubt = Doubt::default(),
            Some(waiting) if waiting.commit_index == commit_index => {
                if now.since(waiting.since) >= timeout_us {
                    waiting.timeouts = PATIENCE_ELECTION_TIMEOUTS.min(waiting.timeouts + 1);
                    waiting.since = now;
                }
            }
            Some(_) | None => {
                let waiting = Some(Waiting { commit_index, timeouts: 0, since: now });
                *doubt = Doubt { waiting, ..Doubt::default() };
            }
        }
    }

    /// A node that hears no leader has asked for a pre-vote, and this node hears one.
    pub(crate) fn on_leader_missed(&mut self, by: Peer) {
        if !self.log.membership().contains(by) || !self.follows_a_stuck_leader() {
            return;
        }
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        doubt.asked_by.insert(by.id);
        if self.could_do_without_its_leader() && !self.has_promised_support() {
            self.start_pre_vote(Pace::Patient);
        }
    }

    /// Whether this node and voters that have heard no leader could elect another, which could commit
    /// something.
    pub(crate) fn could_do_without_its_leader(&self) -> bool {
        let RoleState::Follower(Follower { doubt, .. }) = &self.role else { return false };
        let counts = |id: &NodeId| *id == self.config.me.id || doubt.asked_by.contains(id);
        let membership = self.log.membership();
        self.is_voter() && membership.voters().filter(counts).count() >= membership.quorum()
    }

    fn follows_a_stuck_leader(&self) -> bool {
        let RoleState::Follower(Follower { leader: Some(_), doubt, .. }) = &self.role else { return false };
        doubt.waiting.is_some_and(|waiting| waiting.timeouts >= PATIENCE_ELECTION_TIMEOUTS)
    }
}
