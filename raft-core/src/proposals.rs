//! Proposals, which a leader is asked to append: commands (Raft §5.3) and changes of membership (dissertation
//! §4).

use alloc::sync::Arc;

use crate::config::UNCOMMITTED_ENTRIES_MAX;
use crate::io::{Output, ProposalOutcome};
use crate::log::Payload;
use crate::membership::{ChangeRefused, Membership, MembershipChange, Suffrage};
use crate::progress::Progress;
use crate::raft::Raft;
use crate::roles::CatchUp;
use crate::types::ProposalId;

impl Raft {
    pub(crate) fn on_propose(&mut self, proposal: ProposalId, command: Arc<[u8]>) {
        match self.check_acceptance() {
            Ok(()) => {
                self.append_proposal(proposal, Payload::Command(command));
                self.replicate_to_all();
                self.advance_commit_index();
            }
            Err(outcome) => self.proposal_done(proposal, outcome),
        }
    }

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

    /// Makes a learner a voter as soon as it has everything that was committed when the current round of
    /// catching up began (dissertation §4.2.1), and the entry that added it. It then lacks no more than an
    /// election timeout's worth of entries, and cannot hold up a commit for long. One learner at a time, like
    /// every change.
    pub(crate) fn promote_learners(&mut self) {
        let Some(leader) = self.role.leader() else { return };
        if leader.transfer.is_some() {
            return;
        }
        let members = &self.log.membership().members;
        let goal = leader.catch_up.index.max(self.log.membership_index());
        let caught_up = leader.progress.iter().find(|(id, progress)| {
            let learns = members.get(id).is_some_and(|m| m.suffrage == Suffrage::Learner);
            let heard = progress.is_responsive(self.now, self.config.election_timeout_us);
            learns && heard && progress.match_index >= goal
        });
        let Some((id, _)) = caught_up else { return };
        if let Ok(Some(membership)) = self.membership_after(&MembershipChange::Promote(*id)) {
            self.append(Payload::Membership(Arc::new(membership)));
            self.adopt_membership();
        }
    }

    /// Begins the next round of catching up once the last one has lasted an election timeout.
    pub(crate) fn begin_catch_up_round(&mut self) {
        let Some(leader) = self.role.leader_mut() else { return };
        if self.now.since(leader.catch_up.began_at) >= self.config.election_timeout_us {
            leader.catch_up = CatchUp { index: self.commit_index, began_at: self.now };
        }
    }

    /// The membership after one change, if a change is allowed now: not before the last one is committed
    /// (dissertation §4.1), nor before an entry of this leader's own term is (raft-dev, July 2015: otherwise
    /// two leaders could each count on a majority that does not overlap with the other's).
    fn membership_after(&self, change: &MembershipChange) -> Result<Option<Membership>, ChangeRefused> {
        let Some(leader) = self.role.leader() else { return Err(ChangeRefused::LeaderTooNew) };
        if self.commit_index < leader.first_index {
            return Err(ChangeRefused::LeaderTooNew);
        }
        if self.log.membership_index() > self.commit_index {
            return Err(ChangeRefused::InProgress);
        }
        let changed = self.log.membership().changed(change)?;
        if let (MembershipChange::Remove { .. }, Some(changed)) = (change, &changed) {
            self.check_quorum_of(changed)?;
        }
        Ok(changed)
    }

    /// Whether a membership with fewer voters would be committed. It holds from when it is in the log, so
    /// if it is not, nothing else ever is: not without those whose absence is why. A majority must be heard,
    /// and have what was committed when the current round of catching up began: a disk that hangs does not
    /// keep its node from answering heartbeats.
    fn check_quorum_of(&self, membership: &Membership) -> Result<(), ChangeRefused> {
        let Some(leader) = self.role.leader() else { return Err(ChangeRefused::LeaderTooNew) };
        let goal = leader.catch_up.index;
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
    fn adopt_membership(&mut self) {
        let now = self.now;
        let next_index = self.log.last_index().next();
        let membership = Arc::clone(self.log.membership());
        let me = self.config.me.id;
        let Some(leader) = self.role.leader_mut() else { return };
        leader.progress.retain(|id, _| membership.members.contains_key(id));
        for id in membership.members.keys().filter(|id| **id != me) {
            leader.progress.entry(*id).or_insert_with(|| Progress::new(next_index, now));
        }
        self.ask_everybody();
        self.replicate_to_all();
        self.advance_commit_index();
    }

    fn append_proposal(&mut self, proposal: ProposalId, payload: Payload) {
        let index = self.append(payload);
        if let Some(leader) = self.role.leader_mut() {
            leader.proposals.push_back((index, proposal));
        }
    }

    /// Whether a command proposed now would be appended.
    #[must_use]
    pub fn accepts_proposals(&self) -> bool {
        self.check_acceptance().is_ok()
    }

    fn check_acceptance(&self) -> Result<(), ProposalOutcome> {
        if self.role.leader().is_none_or(|leader| leader.transfer.is_some()) {
            return Err(ProposalOutcome::NotLeader);
        }
        let waiting = self.log.last_index().0 - self.commit_index.0;
        if waiting < UNCOMMITTED_ENTRIES_MAX { Ok(()) } else { Err(ProposalOutcome::Busy) }
    }

    /// A node stops leading: what it has appended is committed by another leader, or never.
    pub(crate) fn lose_proposals(&mut self) {
        let Some(leader) = self.role.leader_mut() else { return };
        for (_, proposal) in core::mem::take(&mut leader.proposals) {
            self.proposal_done(proposal, ProposalOutcome::Unknown);
        }
    }

    /// Reports the proposals that are committed by now.
    pub(crate) fn conclude_proposals(&mut self) {
        let commit_index = self.commit_index;
        while let Some(leader) = self.role.leader_mut()
            && let Some((index, proposal)) =
                leader.proposals.pop_front_if(|(index, _)| *index <= commit_index)
        {
            self.proposal_done(proposal, ProposalOutcome::Committed(index));
        }
    }

    pub(crate) fn proposal_done(&mut self, proposal: ProposalId, outcome: ProposalOutcome) {
        self.outputs.push_back(Output::ProposalDone { proposal, outcome });
    }
}
