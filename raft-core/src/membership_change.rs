//! Changes of membership, one member at a time (dissertation §4).

use alloc::sync::Arc;

use crate::io::{NotAppended, ProposalOutcome};
use crate::log::Payload;
use crate::membership::{ChangeRefused, Membership, MembershipChange, NotYet};
use crate::progress::Progress;
use crate::raft::Raft;
use crate::types::ProposalId;

impl Raft {
    pub(crate) fn on_change_membership(&mut self, proposal: ProposalId, change: &MembershipChange) {
        let changed = self.accepts_entry().and_then(|()| self.membership_after(change));
        match changed.and_then(|changed| changed.ok_or(NotAppended::AlreadyDone)) {
            Ok(membership) => {
                self.append_proposal(proposal, Payload::Membership(Arc::new(membership)));
                self.adopt_membership();
            }
            Err(why) => self.proposal_done(proposal, ProposalOutcome::NotAppended(why)),
        }
    }

    /// The membership after one change, if a change is allowed now: not before the last one is committed
    /// (dissertation §4.1), nor before an entry of this leader's own term is (raft-dev, July 2015: otherwise
    /// two leaders could each count on a majority that does not overlap with the other's).
    pub(crate) fn membership_after(
        &self,
        change: &MembershipChange,
    ) -> Result<Option<Membership>, NotAppended> {
        let Some(leader) = self.role.as_leader() else { return Err(NotAppended::NotLeader) };
        if self.commit_index < leader.first_index {
            return Err(NotAppended::NotYet(NotYet::LeaderTooNew));
        }
        if self.log.membership_index() > self.commit_index {
            return Err(NotAppended::NotYet(NotYet::InProgress));
        }
        let changed = self.log.membership().changed(change).map_err(NotAppended::Refused)?;
        if let (MembershipChange::Remove { .. }, Some(changed)) = (change, &changed) {
            self.ensure_can_commit(changed)?;
        }
        Ok(changed)
    }

    /// Whether a membership with fewer voters would be committed. It is in force as soon as it is in the log,
    /// so if it cannot be committed, nothing can be until enough voters are back. A majority must be heard,
    /// and have what was committed when the current round of catching up began, and what was in the log when
    /// the round before it did: a disk that hangs does not keep its node from answering heartbeats, and may
    /// be what keeps anything from being committed.
    fn ensure_can_commit(&self, membership: &Membership) -> Result<(), NotAppended> {
        let Some(leader) = self.role.as_leader() else { return Err(NotAppended::NotLeader) };
        let goal = leader.catch_up.goal.max(leader.catch_up.previous_last_index);
        let lives = |p: &Progress| p.is_responsive(self.now, self.config.election_timeout_us);
        let own = self.persistence.durable_index() >= goal;
        let keep_up = self.reached_by_majority(membership, own, |p| lives(p) && p.match_index >= goal);
        if keep_up == Some(true) {
            Ok(())
        } else if self.has_majority(membership, lives) {
            // A new leader takes everybody for alive, until they have had the time to say so.
            Err(NotAppended::NotYet(NotYet::VotersLag))
        } else {
            Err(NotAppended::Refused(ChangeRefused::NoQuorumLeft))
        }
    }

    /// A new membership takes effect as soon as it is in the log (dissertation §4.1).
    pub(crate) fn adopt_membership(&mut self) {
        let now = self.now;
        let next_index = self.log.last_index().next();
        let membership = Arc::clone(self.log.membership());
        let me = self.config.me.id;
        let Some(leader) = self.role.as_leader_mut() else { return };
        leader.progress.retain(|id, _| membership.members.contains_key(id));
        for id in membership.members.keys().filter(|id| **id != me) {
            leader.progress.entry(*id).or_insert_with(|| Progress::new(next_index, now));
        }
        self.fall_back_to_every_voter();
        self.replicate_to_all();
        self.advance_commit_index();
    }
}
