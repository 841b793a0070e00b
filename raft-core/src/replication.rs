//! Log replication on the leader: it sends the log and finds out what is committed (Raft §5.3, §5.4.2).

use alloc::vec::Vec;

use crate::io::DropReason;
use crate::log::{Entry, Payload};
use crate::message::{AppendEntries, InstallSnapshot, Message};
use crate::progress::ProgressState;
use crate::raft::Raft;
use crate::types::{LogIndex, NodeId, Peer};

/// How many heartbeat intervals an append or a snapshot may go unanswered before the next heartbeat is to
/// find out whether it was lost.
const RESPONSE_TIMEOUT_HEARTBEATS: u64 = 2;

impl Raft {
    /// Appends an entry of the current term to a leader's log.
    pub(crate) fn append(&mut self, payload: Payload) -> LogIndex {
        let index = self.log.last_index().next();
        self.persistence.note_append(index);
        self.log.append(Entry { index, term: self.hard_state.current_term, payload });
        self.end_rest();
        index
    }

    /// Sends every member the entries that it lacks.
    pub(crate) fn replicate_to_all(&mut self) {
        for id in self.progress_ids() {
            self.replicate_to(id);
        }
    }

    /// Sends one member the entries that it lacks, as many as may be in flight at once.
    pub(crate) fn replicate_to(&mut self, id: NodeId) {
        while self.replicate_once(id) {}
    }

    /// Sends one append or snapshot, if one is to be sent now. Returns whether another may follow at once:
    /// nothing follows a snapshot before it is answered.
    fn replicate_once(&mut self, id: NodeId) -> bool {
        let now = self.now;
        let Some(leader) = self.role.as_leader_mut() else { return false };
        let Some(progress) = leader.progress.get_mut(&id) else { return false };
        let Some(to) = self.log.membership().peer(id) else { return false };
        let replicating = matches!(progress.state, ProgressState::Replicate { .. });
        let nothing_new = progress.next_index > self.log.last_index();
        if !progress.is_ready() || (replicating && nothing_new) {
            return false;
        }
        let prev_log_index = progress.next_index.previous().expect("the next index is never below 1");
        let term = self.hard_state.current_term;
        let Some(prev_log_term) = self.log.term_at(prev_log_index) else {
            let snapshot = self.log.snapshot().expect("what is not in the log is in the snapshot").clone();
            progress.state = ProgressState::Snapshot { sent_at: now };
            self.send(to, Message::InstallSnapshot(InstallSnapshot { term, snapshot }));
            return false;
        };
        let entries = self.log.batch(progress.next_index);
        progress.on_sent(entries.last().map_or(prev_log_index, |e| e.index), now);
        let leader_commit = self.commit_index;
        let append = AppendEntries { term, prev_log_index, prev_log_term, entries, leader_commit };
        self.send(to, Message::AppendEntries(append));
        true
    }

    /// A member's log agrees up to `match_index`, durably.
    pub(crate) fn on_matched(&mut self, from: Peer, match_index: LogIndex) {
        let now = self.now;
        let last = self.log.last_index();
        // No sound node acknowledges what was never sent; only a leader knows what was sent.
        let Some(leader) = self.role.as_leader_mut() else { return };
        if match_index > last {
            self.drop_message(from, DropReason::AcknowledgedTooMuch);
            return;
        }
        let Some(progress) = leader.progress.get_mut(&from.id) else { return };
        progress.on_heard(now);
        progress.on_matched(match_index, now);
        self.advance_commit_index();
        self.promote_learners();
        self.replicate_to(from.id);
        if self.transfer_target() == Some(from.id) {
            self.continue_transfer();
        }
    }

    /// Commits the last entry that is durable on a majority of the voters, if it is of this term (§5.4.2),
    /// and every entry before it. This node counts itself only up to what is durable on its own disk.
    pub(crate) fn advance_commit_index(&mut self) {
        let durable_here = self.persistence.durable_index();
        let durable = self.reached_by_majority(self.log.membership(), durable_here, |p| p.match_index);
        let Some(index) = durable else { return };
        if index > self.commit_index && self.log.term_at(index) == Some(self.hard_state.current_term) {
            self.commit_to(index);
            self.note_lag();
            self.on_commit_advanced();
        }
    }

    /// Has the next heartbeat find out whether what has been unanswered for too long is lost: an answer to an
    /// earlier one shows nothing.
    pub(crate) fn probe_unanswered(&mut self) {
        let timeout_us = self.config.heartbeat_interval_us.saturating_mul(RESPONSE_TIMEOUT_HEARTBEATS);
        let now = self.now;
        let Some(leader) = self.role.as_leader_mut() else { return };
        let next = leader.round.next();
        let mut is_needed = false;
        for progress in leader.progress.values_mut() {
            is_needed |= progress.check_for_loss(now, timeout_us, next);
        }
        if is_needed {
            leader.begin_round(now);
        }
    }

    fn on_commit_advanced(&mut self) {
        self.conclude_proposals();
        self.pass_barriers();
        let settled = self.log.membership_index() <= self.commit_index;
        if settled && !self.log.membership().contains(self.config.me) {
            self.step_down_removed();
        } else if settled {
            self.promote_learners();
        }
    }

    fn progress_ids(&self) -> Vec<NodeId> {
        self.role.as_leader().into_iter().flat_map(|leader| leader.progress.keys().copied()).collect()
    }
}
