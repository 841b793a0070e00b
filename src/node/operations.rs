//! The operators' requests that wait: changes of membership and transfers of leadership.

use std::collections::BTreeMap;

use raft_core::{LogIndex, ProposalId, Term};

use super::io::{OperationId, OperationOutcome};

/// How many may wait at once. People and scripts make them, a few a day.
pub(crate) const OPERATIONS_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Operations {
    changes: BTreeMap<ProposalId, OperationId>,
    transfers: Vec<(OperationId, Term)>,
}

impl Operations {
    pub(crate) fn is_full(&self) -> bool {
        self.changes.len() + self.transfers.len() >= OPERATIONS_MAX
    }

    pub(crate) fn add_change(&mut self, proposal: ProposalId, operation: OperationId) {
        self.changes.insert(proposal, operation);
    }

    pub(crate) fn end_change(&mut self, proposal: ProposalId) -> Option<OperationId> {
        self.changes.remove(&proposal)
    }

    /// A transfer was begun by the leader of `term`.
    pub(crate) fn add_transfer(&mut self, operation: OperationId, term: Term) {
        self.transfers.push((operation, term));
    }

    /// Leadership has ended, and the current term is `term`: a transfer has taken place if it is a later one.
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
