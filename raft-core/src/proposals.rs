//! Proposals, which a leader is asked to append (Raft §5.3).

use alloc::sync::Arc;

use crate::config::UNCOMMITTED_ENTRIES_MAX;
use crate::io::{NotAppended, Output, ProposalOutcome};
use crate::log::Payload;
use crate::raft::Raft;
use crate::types::ProposalId;

impl Raft {
    pub(crate) fn on_propose(&mut self, proposal: ProposalId, command: Arc<[u8]>) {
        match self.accepts_command() {
            Ok(()) => {
                self.append_proposal(proposal, Payload::Command(command));
                self.replicate_to_all();
                self.advance_commit_index();
            }
            Err(why) => self.proposal_done(proposal, ProposalOutcome::NotAppended(why)),
        }
    }

    pub(crate) fn append_proposal(&mut self, proposal: ProposalId, payload: Payload) {
        let index = self.append(payload);
        if let Some(leader) = self.role.as_leader_mut() {
            leader.proposals.push_back((index, proposal));
        }
    }

    /// Whether a command proposed now would be appended.
    #[must_use]
    pub fn accepts_proposals(&self) -> bool {
        self.accepts_command().is_ok()
    }

    /// A leader that is stuck appends no more commands. A node that can replace it needs the votes of
    /// those whom the leader still reaches, and they grant them only to a log that is as long as theirs.
    fn accepts_command(&self) -> Result<(), NotAppended> {
        if self.is_stuck() { Err(NotAppended::Busy) } else { self.accepts_entry() }
    }

    /// Whether an entry of any kind may be appended. A change of membership may be what lets a stuck leader
    /// commit again.
    pub(crate) fn accepts_entry(&self) -> Result<(), NotAppended> {
        if self.role.as_leader().is_none_or(|leader| leader.transfer.is_some()) {
            return Err(NotAppended::NotLeader);
        }
        let waiting = self.log.last_index().0 - self.commit_index.0;
        if waiting < UNCOMMITTED_ENTRIES_MAX { Ok(()) } else { Err(NotAppended::Busy) }
    }

    /// A node stops leading: what it has appended is committed by another leader, or never.
    pub(crate) fn lose_proposals(&mut self) {
        let Some(leader) = self.role.as_leader_mut() else { return };
        for (_, proposal) in core::mem::take(&mut leader.proposals) {
            self.proposal_done(proposal, ProposalOutcome::Unknown);
        }
    }

    /// Reports the proposals that are committed by now.
    pub(crate) fn conclude_proposals(&mut self) {
        let commit_index = self.commit_index;
        while let Some(leader) = self.role.as_leader_mut()
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
