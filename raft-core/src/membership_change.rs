//! Changes of membership, one member at a time (dissertation §4).

use alloc::sync::Arc;

use crate::io::ProposalOutcome;
use crate::log::Payload;
use crate::membership::{ChangeRefused, Membership, MembershipChange};
use crate::progress::Progress;
use crate::raft::Raft;
use crate::types::ProposalId;

impl Raft {
    pub(crate) fn on_change_membership(&mut self, proposal: ProposalId, change: &MembershipChange) {
        if let Err(outcome) = self.check_acceptance() {
            self.proposal_done(proposal, outcome);
            return;
        }
        match self.membership_after(change) {
            Ok(Some(membership)) => {
                self.append_proposal(proposal, Payload::Membership(Arc::new(membership)));
                self.adopt_membership();
            }
            Ok(None) => self.proposal_done(proposal, ProposalOutcome::AlreadyDone),
            Err(refused) => self.proposal_done(proposal, ProposalOutcome::Refused(refused)),
        }
    }

    /// The membership after one change, if a change is allowed now: not before the last one is committed
    /// (dissertation §4.1), nor before an entry of this leader's own term is (raft-dev, July 2015: otherwise
    /// two leaders could each count on a majority that does not overlap with the other's).
    pub(crate) fn membership_after(
        &self,
        change: &MembershipChange,
    ) -> Result<Option<Membership>, ChangeRefused> {
        let Some(leader) = self.role.leader() else { return Err(ChangeRefused::LeaderTooNew) };
        if self.commit_index < leader.first_index {
            return Err(ChangeRefused::LeaderTooNew);
        }
        if self.log.membership_index() > self.commit_index {
            return Err(ChangeRefused::InProgress);
        }
        let changed = self.log.membership().changed(change)?;
        if let (MembershipChange::Remove { .. }, Some(changed)) = (change, &changed) {
            self.ensure_can_commit(changed)?;
        }
        Ok(changed)
    }

    /// Whether a membership with fewer voters would be committed. It holds from when it is in the log, so
    /// if it is not, nothing else ever is: not without those whose absence is why. A majority must be heard,
    /// and have what was committed when the current round of catching up began: a disk that hangs does not
    /// keep its node from answering heartbeats.
    fn ensure_can_commit(&self, membership: &Membership) -> Result<(), ChangeRefused> {
        let Some(leader) = self.role.leader() else { return Err(ChangeRefused::LeaderTooNew) };
        let goal = leader.catch_up.goal;
        let lives = |p: &Progress| p.is_responsive(self.now, self.config.election_timeout_us);
        let own = self.persistence.durable_index() >= goal;
        let keep_up = self.reached_by_majority(membership, own, |p| lives(p) && p.match_index >= goal);
        if keep_up == Some(true) {
            Ok(())
        } else if self.leads_majority(membership, lives) {
            // A new leader takes everybody for alive, until they have had the time to say so.
            Err(ChangeRefused::VotersLag)
        } else {
            Err(ChangeRefused::NoQuorumLeft)
        }
    }

    /// A new membership takes effect as soon as it is in the log (dissertation §4.1).
    pub(crate) fn adopt_membership(&mut self) {
        let now = self.now;
        let next_index = self.log.last_index().next();
        let membership = Arc::clone(self.log.membership());
        let me = self.config.me.id;
        let Some(leader) = self.role.leader_mut() else { return };
        leader.progress.retain(|id, _| membership.members.contains_key(id));
        for id in membership.members.keys().filter(|id| **id != me) {
            leader.progress.entry(*id).or_insert_with(|| Progress::new(next_index, now));
        }
        self.fall_back_to_every_voter();
        self.replicate_to_all();
        self.advance_commit_index();
    }
}
