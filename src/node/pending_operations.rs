//! Operators' requests that wait: changes of membership, transfers of leadership, and answers from a leader's
//! memory that must be confirmed.

use std::collections::BTreeMap;

use raft_core::{BarrierId, LogIndex, NodeId, ProposalId, Term};

use super::io::{OperationId, OperationOutcome};

/// How many may wait at once. They come from people and scripts, a few a day.
pub(crate) const OPERATIONS_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct PendingOperations {
    changes: BTreeMap<ProposalId, OperationId>,
    transfers: Vec<(OperationId, Term)>,
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

    /// The leader of `term` has begun a transfer.
    pub(crate) fn add_transfer(&mut self, operation: OperationId, term: Term) {
        self.transfers.push((operation, term));
    }

    /// Leadership has ended, and the current term is `term`: a transfer has taken place if that is a later
    /// term.
    pub(crate) fn end_transfers(
        &mut self,
        term: Term,
        index: LogIndex,
    ) -> impl Iterator<Item = (OperationId, OperationOutcome)> + '_ {
        self.transfers.drain(..).map(move |(operation, begun_in)| {
            let taken_over = term > begun_in;
            let outcome =
                if taken_over { OperationOutcome::Done { index } } else { OperationOutcome::TransferFailed };
            (operation, outcome)
        })
    }

    /// The transfer under way was given up.
    pub(crate) fn fail_transfers(&mut self) -> impl Iterator<Item = (OperationId, OperationOutcome)> + '_ {
        self.transfers.drain(..).map(|(operation, _)| (operation, OperationOutcome::TransferFailed))
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
                20..40 => operations.add_transfer(OperationId(number), Term(1)),
                _ => operations.add_answer(OperationId(number), OperationOutcome::NoOtherVoter),
            }
        }
        assert!(operations.is_full());
        assert_eq!(operations.end_change(ProposalId(3)), Some(OperationId(3)));
        assert_eq!(operations.end_change(ProposalId(3)), None);
        assert!(!operations.is_full());
    }

    #[test]
    fn a_transfer_has_taken_place_only_in_a_later_term() {
        for (term, taken_over) in [(4, false), (5, false), (6, true)] {
            let mut operations = PendingOperations::default();
            operations.add_transfer(OperationId(1), Term(5));
            let index = LogIndex(9);
            let outcome =
                if taken_over { OperationOutcome::Done { index } } else { OperationOutcome::TransferFailed };
            let ended: Vec<_> = operations.end_transfers(Term(term), index).collect();
            assert_eq!(ended, [(OperationId(1), outcome)], "term {term}");
            assert_eq!(operations.fail_transfers().count(), 0, "it has ended");
        }
    }
}
