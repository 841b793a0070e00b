//! Heartbeats (Raft §5.2), and the rounds of heartbeats that let read barriers pass (dissertation §6.4).
//!
//! The paper's heartbeat is an empty AppendEntries. Here it is a message of its own, because its answer
//! promises nothing durable and so never waits for a disk.

use crate::config::{Config, HEARTBEATS_BEFORE_REST};
use crate::message::{Heartbeat, HeartbeatResponse, Message};
use crate::progress::Progress;
use crate::raft::Raft;
use crate::roles::Leader;
use crate::rounds::Recipients;
use crate::types::{Peer, Round};

impl Raft {
    /// Receiver. The leader sends no commit index beyond what it knows this node's log to match, so an entry
    /// that differs from the leader's is never taken for committed.
    pub(crate) fn on_heartbeat(&mut self, from: Peer, m: Heartbeat) {
        self.follow(from);
        if m.leader_commit > self.log.last_index() {
            self.on_entries_lost(m.leader_commit);
            return;
        }
        self.protect_leader_for(m.election_timeout_us);
        self.commit_to(m.leader_commit);
        if m.is_stuck {
            self.doubt_leader();
        } else {
            self.trust_leader();
        }
        let lease_us = self.promise_support(m.election_timeout_us);
        self.answer_heartbeat(from, m.round, lease_us);
    }

    pub(crate) fn answer_heartbeat(&mut self, to: Peer, round: Round, lease_us: Option<u64>) {
        let response = HeartbeatResponse {
            term: self.hard_state.current_term,
            round,
            awaits_disk: self.persistence.withholds_answer_to(to),
            lease_us,
        };
        self.send(to, Message::HeartbeatResponse(response));
    }

    /// Sender.
    pub(crate) fn on_heartbeat_response(&mut self, from: Peer, m: HeartbeatResponse) {
        let now = self.now;
        let Some(leader) = self.role.as_leader_mut() else { return };
        let Some(progress) = leader.progress.get_mut(&from.id) else { return };
        progress.on_heard(now);
        // An answer to a round that never began lets no barrier pass.
        let has_begun = m.round <= leader.round;
        if has_begun {
            progress.on_round_answered(m.round);
        }
        let sends_again = has_begun && !m.awaits_disk && progress.finds_loss(m.round);
        if let Some(promised_us) = m.lease_us {
            self.on_support_promised(from, m.round, promised_us);
        }
        self.pass_barriers();
        if sends_again {
            self.replicate_to(from.id);
        }
    }

    /// Sender: a heartbeat interval has passed.
    pub(crate) fn on_heartbeat_timeout(&mut self) {
        // A leader that was not running has sent nothing meanwhile, and has not heard from its disk.
        if !self.is_excused() {
            if !self.hears_quorum() {
                // Check-quorum (dissertation §6.2): clients must not wait for a leader that hears no quorum.
                self.become_follower(self.hard_state.current_term);
                return;
            }
            self.excused_until = None;
            self.abort_late_transfer();
            self.escape_stalled_disk();
            self.note_standstill();
        }
        let Some(leader) = self.role.as_leader_mut() else { return };
        leader.idle_heartbeats = leader.idle_heartbeats.saturating_add(1);
        leader.heartbeat_deadline = self.now.plus(leader.heartbeat_interval_us(&self.config));
        leader.choose_anew();
        self.begin_catch_up_round();
        self.probe_unanswered();
        self.broadcast_heartbeat();
        self.replicate_to_all();
        self.promote_learners();
        self.continue_transfer();
    }

    /// Sender: there is something to do again, after which the next heartbeat comes no later than usual.
    pub(crate) fn end_rest(&mut self) {
        let next = self.now.plus(self.config.heartbeat_interval_us);
        let Some(leader) = self.role.as_leader_mut() else { return };
        leader.idle_heartbeats = 0;
        leader.heartbeat_deadline = leader.heartbeat_deadline.min(next);
    }

    /// Whether a majority of the voters has been heard within an election timeout.
    fn hears_quorum(&self) -> bool {
        let heard = |p: &Progress| self.now.since(p.last_heard) < self.config.election_timeout_us;
        self.has_majority(self.log.membership(), heard)
    }

    /// Sends the current round to every member: learners must hear this leader too. If there is a lease to
    /// extend, it begins a new round, whose answers count from now.
    fn broadcast_heartbeat(&mut self) {
        if let Some(leader) = self.role.as_leader_mut()
            && leader.lease_rounds.is_some()
        {
            leader.begin_round(self.now);
        }
        self.send_round(Recipients::Members);
    }
}

impl Leader {
    /// How long after a heartbeat the next one is due. A cluster at rest does little but exchange heartbeats,
    /// so a leader that has had nothing to do for a while sends half as many, as long as two of them still
    /// fit into an election timeout. One that keeps a lease does not: each heartbeat extends it.
    fn heartbeat_interval_us(&self, config: &Config) -> u64 {
        let interval_us = config.heartbeat_interval_us;
        if self.idle_heartbeats < HEARTBEATS_BEFORE_REST || self.lease_rounds.is_some() {
            return interval_us;
        }
        let longest_us = config.election_timeout_us / 5 * 2;
        interval_us.saturating_mul(2).min(longest_us).max(interval_us)
    }
}
