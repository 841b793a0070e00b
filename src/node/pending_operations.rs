//! Operators' requests that wait: changes of membership, transfers of leadership, and answers from a leader's
//! memory that must be confirmed.

use std::collections::BTreeMap;

use raft_core::{BarrierId, Micros, NodeId, ProposalId, Term};

use super::io::{OperationId, OperationOutcome};

/// How many may wait at once. They come from people and scripts, a few a day.
pub(crate) const OPERATIONS_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct PendingOperations {
    changes: BTreeMap<ProposalId, OperationId>,
    transfers: Vec<PendingTransfer>,
    /// Answers about the membership that this leader gives without having changed it.
    answers: Vec<Unconfirmed>,
}

/// An answer that is valid if this node still led when the request arrived: otherwise another leader may have
/// changed the membership.
#[derive(Clone, Copy, Debug)]
struct Unconfirmed {
    operation: OperationId,
    outcome: OperationOutcome,
    /// The barrier that confirms it; `None` if it has not begun.
    barrier: Option<BarrierId>,
}

/// A transfer of leadership that was begun and has not ended.
#[derive(Clone, Copy, Debug)]
struct PendingTransfer {
    operation: OperationId,
    /// The term of the leader that hands over.
    begun_in: Term,
    /// How long the next leader's name is waited for if this node no longer leads.
    until: Micros,
}

impl PendingOperations {
    pub(crate) fn is_full(&self) -> bool {
        self.changes.len() + self.transfers.len() + self.answers.len() >= OPERATIONS_MAX
    }

    pub(crate) fn add_change(&mut self, proposal: ProposalId, operation: OperationId) {
        self.changes.insert(proposal, operation);
    }

    pub(crate) fn end_change(&mut self, proposal: ProposalId) -> Option<OperationId> {
        self.changes.remove(&proposal)
    }

    /// Adds the answer that is given if this node turns out to lead.
    pub(crate) fn add_answer(&mut self, operation: OperationId, outcome: OperationOutcome) {
        self.answers.push(Unconfirmed { operation, outcome, barrier: None });
    }

    /// Whether there are answers for which no barrier has begun.
    pub(crate) fn needs_barrier(&self) -> bool {
        self.answers.iter().any(|answer| answer.barrier.is_none())
    }

    /// A barrier begins that confirms all present answers.
    pub(crate) fn on_barrier_begun(&mut self, barrier: BarrierId) {
        for answer in &mut self.answers {
            answer.barrier = answer.barrier.or(Some(barrier));
        }
    }

    /// A barrier has passed, and so have all before it: returns the answers that they confirm.
    pub(crate) fn confirm_answers(
        &mut self,
        passed: BarrierId,
    ) -> impl Iterator<Item = (OperationId, OperationOutcome)> + '_ {
        let confirmed = move |answer: &mut Unconfirmed| answer.barrier.is_some_and(|b| b <= passed);
        self.answers.extract_if(.., confirmed).map(|answer| (answer.operation, answer.outcome))
    }

    /// Leadership has ended: the remaining answers can no longer be confirmed.
    pub(crate) fn disown_answers(
        &mut self,
        leader: Option<NodeId>,
    ) -> impl Iterator<Item = (OperationId, OperationOutcome)> + '_ {
        self.answers.drain(..).map(move |answer| (answer.operation, OperationOutcome::NotLeader { leader }))
    }

    /// A transfer was begun by the leader of `begun_in`.
    pub(crate) fn add_transfer(&mut self, operation: OperationId, begun_in: Term, until: Micros) {
        self.transfers.push(PendingTransfer { operation, begun_in, until });
    }

    /// Whether an operator waits for a transfer.
    pub(crate) fn has_transfers(&self) -> bool {
        !self.transfers.is_empty()
    }

    /// Until when the name of the next leader is waited for, by the first that gives up.
    pub(crate) fn transfers_deadline(&self) -> Option<Micros> {
        self.transfers.iter().map(|transfer| transfer.until).min()
    }

    /// This node no longer leads, and learns that `leader` leads in `term`: transfers from an earlier term
    /// are over.
    pub(crate) fn complete_transfers(
        &mut self,
        term: Term,
        leader: NodeId,
    ) -> impl Iterator<Item = (OperationId, OperationOutcome)> + '_ {
        let ended = self.transfers.extract_if(.., move |transfer| transfer.begun_in < term);
        ended.map(move |transfer| (transfer.operation, OperationOutcome::Transferred { leader }))
    }

    /// This node no longer leads, and knows of no other leader: gives up those that have waited long enough.
    pub(crate) fn expire_transfers(
        &mut self,
        now: Micros,
    ) -> impl Iterator<Item = (OperationId, OperationOutcome)> + '_ {
        let over = self.transfers.extract_if(.., move |transfer| transfer.until <= now);
        over.map(|transfer| (transfer.operation, OperationOutcome::TransferFailed))
    }

    /// The transfer under way was given up, or this node leads again.
    pub(crate) fn fail_transfers(&mut self) -> impl Iterator<Item = (OperationId, OperationOutcome)> + '_ {
        self.transfers.drain(..).map(|transfer| (transfer.operation, OperationOutcome::TransferFailed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_transfers_and_answers_together_fill_the_table() {
        let mut operations = PendingOperations::default();
        for number in 0..u64::try_from(OPERATIONS_MAX).unwrap() {
            assert!(!operations.is_full());
            match number {
                0..20 => operations.add_change(ProposalId(number), OperationId(number)),
                20..40 => operations.add_transfer(OperationId(number), Term(1), Micros(1)),
                _ => operations.add_answer(OperationId(number), OperationOutcome::NoOtherVoter),
            }
        }
        assert!(operations.is_full());
        assert_eq!(operations.end_change(ProposalId(3)), Some(OperationId(3)));
        assert_eq!(operations.end_change(ProposalId(3)), None);
        assert!(!operations.is_full());
    }

    #[test]
    fn a_transfer_is_over_when_a_leader_of_a_later_term_is_known() {
        let leader = NodeId::new(3).unwrap();
        for (term, is_over) in [(4, false), (5, false), (6, true)] {
            let mut operations = PendingOperations::default();
            operations.add_transfer(OperationId(1), Term(5), Micros(100));
            let ended: Vec<_> = operations.complete_transfers(Term(term), leader).collect();
            let transferred = (OperationId(1), OperationOutcome::Transferred { leader });
            assert_eq!(ended, if is_over { vec![transferred] } else { vec![] }, "term {term}");
            assert_eq!(operations.has_transfers(), !is_over);
        }
    }

    #[test]
    fn a_transfer_waits_for_the_name_of_the_next_leader_until_its_time_is_over() {
        let mut operations = PendingOperations::default();
        operations.add_transfer(OperationId(1), Term(5), Micros(200));
        operations.add_transfer(OperationId(2), Term(5), Micros(100));
        assert_eq!(operations.transfers_deadline(), Some(Micros(100)));
        assert_eq!(operations.expire_transfers(Micros(99)).count(), 0);
        let over: Vec<_> = operations.expire_transfers(Micros(100)).collect();
        assert_eq!(over, [(OperationId(2), OperationOutcome::TransferFailed)]);
        assert_eq!(operations.transfers_deadline(), Some(Micros(200)));
    }
}
