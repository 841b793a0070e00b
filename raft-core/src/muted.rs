//! A node whose disk has failed, or has lost what the node acknowledged, or that finds safety lost. It can
//! no longer promise anything, so it sends no messages. If it led when its disk failed, it first sends a
//! single TimeoutNow, which promises nothing. From then on it only watches who leads, so that its driver can
//! send clients there. What it learns is kept in memory alone.

use crate::admission::{TERM_MAX, term_of};
use crate::io::{Evidence, HardState, Input, NotAppended, Output, ProposalOutcome};
use crate::message::Message;
use crate::raft::Raft;
use crate::roles::{Muted, RoleState};
use crate::types::{LogIndex, Micros, Peer};

impl Raft {
    /// A write failed. A leader tells another voter to campaign: of those heard within an election timeout,
    /// the one that has most of the log, which may not be all of it. The node then takes no further part.
    pub(crate) fn on_write_failed(&mut self) {
        self.tell_best_to_campaign();
        self.mute();
    }

    /// The leader's message shows that this node has acknowledged the entry at this index to it in this term:
    /// no leader names a commit index beyond what was acknowledged. A log is truncated only for a later term,
    /// so the entry, which the log lacks or has another in place of, was lost from the disk. There may be
    /// votes that were lost with it, so nothing that this node says counts.
    pub(crate) fn on_entries_lost(&mut self, acknowledged: LogIndex) {
        let last = self.log.last_index();
        self.outputs.push_back(Output::EntriesLost { acknowledged, last });
        self.mute();
    }

    /// A message shows that safety is lost.
    pub(crate) fn on_safety_lost(&mut self, evidence: Evidence) {
        self.outputs.push_back(Output::SafetyLost(evidence));
        self.mute();
    }

    fn mute(&mut self) {
        self.lose_proposals();
        self.persistence.fail();
        let leader = self.role.followed();
        self.role = RoleState::Muted(Muted { leader, forget_deadline: self.forget_deadline() });
    }

    pub(crate) fn step_muted(&mut self, input: Input) {
        match input {
            Input::Wake => self.on_wake(),
            Input::Message { from, message } => self.watch(from, &message),
            Input::Propose { proposal, .. } | Input::ChangeMembership { proposal, .. } => {
                self.proposal_done(proposal, ProposalOutcome::NotAppended(NotAppended::NotLeader));
            }
            Input::TransferLeadership { .. } => self.outputs.push_back(Output::TransferAborted),
            Input::PeerUnreachable(_)
            | Input::ReadBarrier { .. }
            | Input::WritesDurable { .. }
            | Input::WriteFailed
            | Input::Compact { .. } => {}
        }
    }

    /// Until when a silent leader is still named: two election timeouts, in which another would be elected.
    fn forget_deadline(&self) -> Micros {
        self.now.plus(self.config.election_timeout_us.saturating_mul(2))
    }

    fn watch(&mut self, from: Peer, message: &Message) {
        let term = term_of(message);
        if message.is_from_leader()
            && from != self.config.me
            && term >= self.hard_state.current_term
            && term <= TERM_MAX
        {
            self.hard_state = HardState { current_term: term, voted_for: None };
            let forget_deadline = self.forget_deadline();
            self.role = RoleState::Muted(Muted { leader: Some(from), forget_deadline });
        }
    }

    /// The leader has been silent for too long.
    pub(crate) fn forget_silent_leader(&mut self) {
        if let RoleState::Muted(muted) = &mut self.role {
            muted.leader = None;
        }
    }
}
