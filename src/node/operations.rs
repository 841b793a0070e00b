//! Operators' requests: changes of membership and transfers of leadership.

use raft_core::{
    Audience, BarrierId, ChangeRefused, Confirmation, MembershipChange, NodeId, NotAppended, ProposalId,
    ProposalOutcome, Term,
};

use super::Node;
use super::io::{OperationId, OperationOutcome, Output};
use crate::codec::MEMBERS_MAX;

impl Node {
    pub(super) fn on_change_membership(&mut self, operation: OperationId, change: MembershipChange) {
        if self.leadership.is_none() {
            let leader = self.raft.leader();
            self.operation_done(operation, OperationOutcome::NotLeader { leader });
        } else if self.operations.is_full() {
            self.operation_done(operation, OperationOutcome::Busy);
        } else if self.removes_this_node(&change) && self.others_vote() {
            // The next leader removes this node, so at no moment is there no leader.
            self.operation_done(operation, OperationOutcome::HandingOver);
            // Asked again and again, it would never give a target up that does not answer.
            if self.raft.transfer_target().is_none() {
                self.step_raft(raft_core::Input::TransferLeadership { to: None });
            }
        } else if self.adds_one_too_many(&change) {
            self.operations.add_answer(operation, OperationOutcome::TooManyMembers);
        } else {
            let proposal = self.next_proposal();
            self.operations.add_change(proposal, operation);
            self.step_raft(raft_core::Input::ChangeMembership { proposal, change });
        }
    }

    pub(super) fn on_transfer_leadership(&mut self, operation: OperationId, to: Option<NodeId>) {
        if self.leadership.is_none() {
            let leader = self.raft.leader();
            self.operation_done(operation, OperationOutcome::NotLeader { leader });
        } else if self.operations.is_full() {
            self.operation_done(operation, OperationOutcome::Busy);
        } else if let Some(answer) = self.why_no_transfer(to) {
            self.operations.add_answer(operation, answer);
        } else if self.hands_over_to_another_than(to) {
            // Its target may have been told to campaign: a second one would split the vote with it.
            self.operation_done(operation, OperationOutcome::HandingOver);
        } else {
            // If another operator waits for the same, both are told the same.
            let is_first = !self.operations.has_transfers();
            self.add_transfer(operation);
            if is_first {
                self.step_raft(raft_core::Input::TransferLeadership { to });
            }
        }
    }

    /// Whether a transfer is under way, for whatever reason, or was a moment ago, and not to this voter.
    fn hands_over_to_another_than(&self, to: Option<NodeId>) -> bool {
        let target = self.raft.transfer_target();
        to.is_some() && to != target && (target.is_some() || self.operations.has_transfers())
    }

    /// The core gives a transfer up after one election timeout; as long again for the new leader to be heard.
    fn add_transfer(&mut self, operation: OperationId) {
        let until = self.now.plus(self.config.raft.election_timeout_us.saturating_mul(2));
        self.operations.add_transfer(operation, self.raft.current_term(), until);
    }

    /// What this leader answers instead of handing over; `None` if it hands over.
    fn why_no_transfer(&self, to: Option<NodeId>) -> Option<OperationOutcome> {
        if to == Some(self.config.raft.me.id) {
            Some(OperationOutcome::Done { index: self.raft.commit_index() })
        } else if to.is_some_and(|to| self.membership().peer(to).is_none()) {
            Some(OperationOutcome::Refused(ChangeRefused::NoSuchMember))
        } else if to.is_some_and(|to| !self.membership().is_voter(to)) {
            Some(OperationOutcome::NotAVoter)
        } else if !self.others_vote() {
            Some(OperationOutcome::NoOtherVoter)
        } else {
            None
        }
    }

    pub(super) fn on_proposal_done(&mut self, proposal: ProposalId, outcome: ProposalOutcome) {
        // Reservations need no handling here. They take effect when they are applied; none is proposed when
        // it would be refused; and a leader whose reservation has an unknown outcome no longer leads.
        let Some(operation) = self.operations.end_change(proposal) else { return };
        let outcome = match outcome {
            ProposalOutcome::Committed(index) => OperationOutcome::Done { index },
            ProposalOutcome::NotAppended(NotAppended::AlreadyDone) => {
                let index = self.raft.commit_index();
                self.operations.add_answer(operation, OperationOutcome::Done { index });
                return;
            }
            // Only a leader proposes.
            ProposalOutcome::NotAppended(NotAppended::NotLeader) => OperationOutcome::HandingOver,
            ProposalOutcome::NotAppended(NotAppended::Busy | NotAppended::NotYet(_)) => {
                OperationOutcome::Busy
            }
            ProposalOutcome::NotAppended(NotAppended::Refused(reason)) => {
                self.operations.add_answer(operation, OperationOutcome::Refused(reason));
                return;
            }
            ProposalOutcome::Unknown => OperationOutcome::Unknown,
        };
        self.operation_done(operation, outcome);
    }

    /// Begins a barrier that confirms the answers this leader gives from memory.
    pub(super) fn begin_barrier_for_answers(&mut self) {
        if self.operations.needs_barrier() {
            self.last_barrier = self.last_barrier.next();
            let barrier = self.last_barrier;
            self.operations.on_barrier_begun(barrier);
            let (audience, confirms) = (Audience::EveryVoter, Confirmation::Leadership);
            self.step_raft(raft_core::Input::ReadBarrier { barrier, audience, confirms });
        }
    }

    /// A barrier has passed: gives the answers that it confirms.
    pub(super) fn give_confirmed_answers(&mut self, barrier: BarrierId) {
        self.outputs.extend(self.operations.confirm_answers(barrier).map(done));
    }

    /// Raft has given up the transfer under way, or this node leads again after one.
    pub(super) fn fail_transfers(&mut self) {
        self.outputs.extend(self.operations.fail_transfers().map(done));
    }

    /// This node no longer leads: it cannot answer for the membership any more.
    pub(super) fn disown_answers(&mut self) {
        self.outputs.extend(self.operations.disown_answers(self.leader).map(done));
    }

    /// This node follows, or waits for, the leader of `term`. Who that is decides what became of a transfer:
    /// the target may have lost the election to another.
    pub(super) fn complete_transfers(&mut self, term: Term, leader: Option<NodeId>) {
        if let Some(leader) = leader {
            self.outputs.extend(self.operations.complete_transfers(term, leader).map(done));
        }
    }

    /// Nobody is known to lead: gives up transfers that have waited for a name for too long.
    pub(super) fn expire_transfers(&mut self) {
        if self.leadership.is_none() {
            self.outputs.extend(self.operations.expire_transfers(self.now).map(done));
        }
    }

    /// Whether the change would add a member beyond the bound. This is final, although an earlier leader may
    /// have appended the same change while there was room, and although this leader may have committed
    /// nothing in its term yet: whoever has filled the membership since then had first committed an entry of
    /// its own term, in a log without that change, which is void.
    fn adds_one_too_many(&self, change: &MembershipChange) -> bool {
        let membership = self.membership();
        matches!(change, MembershipChange::Add { peer, .. } if membership.peer(peer.id).is_none())
            && membership.members.len() >= MEMBERS_MAX
    }

    fn removes_this_node(&self, change: &MembershipChange) -> bool {
        let me = self.config.raft.me;
        matches!(change, MembershipChange::Remove { id, incarnation }
            if *id == me.id && incarnation.is_none_or(|meant| meant == me.incarnation))
    }

    fn others_vote(&self) -> bool {
        self.membership().has_voter_besides(self.config.raft.me.id)
    }

    fn operation_done(&mut self, operation: OperationId, outcome: OperationOutcome) {
        self.outputs.push_back(done((operation, outcome)));
    }
}

fn done((operation, outcome): (OperationId, OperationOutcome)) -> Output {
    Output::OperationDone { operation, outcome }
}
