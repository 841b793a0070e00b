//! The checks that every message passes before the module of its RPC handles it: whether it is sound, whether
//! it is of this term, and whether its sender still counts (Raft §5.1, "Rules for Servers").

use crate::io::{DropReason, Evidence};
use crate::message::{
    AppendEntriesResponse, AppendOutcome, CampaignReason, InstallSnapshotResponse, Message,
    RequestVoteResponse,
};
use crate::raft::Raft;
use crate::roles::RoleState;
use crate::types::{LogIndex, Peer, Term};

/// Later terms are refused: they would soon leave no room for the next one. At a thousand elections a second,
/// an honest cluster reaches this term after 146 million years. A driver must not start a node in a later
/// one.
pub const TERM_MAX: Term = Term(1 << 62);
/// Higher indexes are refused in snapshots, for the same reason. A driver must not start a node with a log
/// that ends beyond this one.
pub const INDEX_MAX: LogIndex = LogIndex(1 << 62);

impl Raft {
    /// Whether the message is to be handled. A later term makes this node a follower; the sender of a request
    /// from an earlier term is told the current one.
    pub(crate) fn admit(&mut self, from: Peer, message: &Message) -> bool {
        let term = term_of(message);
        if term > TERM_MAX {
            self.drop_message(from, DropReason::TermExhausted);
            return false;
        }
        if message.is_response() && self.log.membership().peer(from.id) != Some(from) {
            // An acknowledgement counts only if it comes from the member itself: a former life of it, or a
            // member that was removed, promises nothing to this leader.
            return false;
        }
        if let Message::PreVote(_) = message {
            // It asks about a term that no node has entered yet.
            return true;
        }
        if let Message::RequestVote(m) = message {
            // Dissertation §4.2.3: a node that hears a leader ignores candidates, unless the leader asked for
            // the campaign. A promise of support binds in every term, including one that a candidate has
            // started meanwhile.
            let current = self.hard_state.current_term;
            let bound =
                (term > current && self.hears_leader()) || (term >= current && self.has_promised_support());
            if bound && m.reason == CampaignReason::LeaderLost {
                return false;
            }
        }
        if term > self.hard_state.current_term {
            self.become_follower(term);
        }
        if let Message::PreVoteResponse(_) = message {
            // The voter may still be in an earlier term: it answers about `next_term`.
            return true;
        }
        if term < self.hard_state.current_term {
            self.answer_stale(from, message);
            return false;
        }
        match self.leader_peer() {
            Some(leader) if message.is_from_leader() && leader != from => {
                self.on_second_leader(leader, from);
                false
            }
            Some(_) | None => true,
        }
    }

    /// Somebody speaks as the leader of this term, which has another. A term has one leader (§5.2); somebody
    /// who is no member may claim anything.
    fn on_second_leader(&mut self, leader: Peer, other: Peer) {
        if self.log.membership().contains(other) {
            let term = self.hard_state.current_term;
            self.on_safety_lost(Evidence::TwoLeaders { term, leader, other });
        } else {
            self.drop_message(other, DropReason::SecondLeader);
        }
    }

    /// Whether nodes in an earlier term may be told the current one. A candidate whose own vote is still
    /// being written does not tell it: one of them may lead, or answer the leader's next heartbeat, and it is
    /// not certain yet that another node will take over.
    pub(crate) fn may_tell_term(&self) -> bool {
        !matches!(self.role, RoleState::Candidate(_)) || self.persistence.is_hard_state_durable()
    }

    /// Tells the sender of a request from an earlier term the current term, so that it steps down (§5.1).
    fn answer_stale(&mut self, to: Peer, message: &Message) {
        if !self.may_tell_term() {
            return;
        }
        let term = self.hard_state.current_term;
        let answer = match message {
            Message::Heartbeat(m) => return self.answer_heartbeat(to, m.round, None),
            Message::RequestVote(_) => {
                Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted: false })
            }
            Message::AppendEntries(m) => Message::AppendEntriesResponse(AppendEntriesResponse {
                term,
                outcome: AppendOutcome::Rejected {
                    prev_log_index: m.prev_log_index,
                    hint_index: LogIndex(0),
                    hint_term: Term(0),
                },
            }),
            Message::InstallSnapshot(_) => {
                Message::InstallSnapshotResponse(InstallSnapshotResponse { term, match_index: LogIndex(0) })
            }
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVoteResponse(_)
            | Message::AppendEntriesResponse(_)
            | Message::HeartbeatResponse(_)
            | Message::InstallSnapshotResponse(_)
            | Message::TimeoutNow(_) => return,
        };
        self.send(to, answer);
    }
}

/// The sender's term; for a pre-vote, the term that it asks about.
pub(crate) fn term_of(message: &Message) -> Term {
    match message {
        Message::PreVote(m) => m.next_term,
        Message::PreVoteResponse(m) => m.term,
        Message::RequestVote(m) => m.term,
        Message::RequestVoteResponse(m) => m.term,
        Message::AppendEntries(m) => m.term,
        Message::AppendEntriesResponse(m) => m.term,
        Message::Heartbeat(m) => m.term,
        Message::HeartbeatResponse(m) => m.term,
        Message::InstallSnapshot(m) => m.term,
        Message::InstallSnapshotResponse(m) => m.term,
        Message::TimeoutNow(m) => m.term,
    }
}
