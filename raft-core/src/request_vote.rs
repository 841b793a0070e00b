//! The RequestVote RPC (Raft Figure 2, §5.2, §5.4.1).

use crate::io::HardState;
use crate::message::{Message, RequestVote, RequestVoteResponse};
use crate::raft::Raft;
use crate::roles::{Follower, RoleState};
use crate::types::Peer;

impl Raft {
    /// Receiver. Grants one vote a term, to the first candidate that asks with a log that is up to date. It
    /// does not matter whether this node counts itself as a voter: the candidate may know of a promotion
    /// that has not arrived here.
    pub(crate) fn on_request_vote(&mut self, from: Peer, m: RequestVote) {
        let free = self.hard_state.voted_for.is_none_or(|voted_for| voted_for == from);
        let vote_granted = free && self.log.is_up_to_date(m.last_log_index, m.last_log_term);
        let term = self.hard_state.current_term;
        let response = Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted });
        if !vote_granted {
            self.send(from, response);
            if free {
                self.hasten_election();
            }
            return;
        }
        if self.hard_state.voted_for.is_none() {
            self.set_hard_state(HardState { voted_for: Some(from), ..self.hard_state });
            // Once: a candidate that repeats its request may never hear the answer.
            self.put_off_election();
        }
        self.persistence.send_once_durable(from, response);
    }

    /// Sender: counts the votes.
    pub(crate) fn on_request_vote_response(&mut self, from: Peer, m: RequestVoteResponse) {
        let RoleState::Candidate(candidate) = &mut self.role else { return };
        if m.vote_granted {
            candidate.votes.insert(from.id);
            self.lead_if_elected();
        } else {
            candidate.refusals.insert(from.id);
        }
    }

    /// Whether this node has voted within an election timeout, and has not heard yet whether its candidate
    /// leads. That one may have won long ago, on a slow network: to help another now would depose it.
    pub(crate) fn has_just_voted(&self) -> bool {
        match &self.role {
            RoleState::Follower(follower) => follower.leader.is_none() && self.now < follower.patient_until,
            RoleState::PreCandidate(_)
            | RoleState::Candidate(_)
            | RoleState::Leader(_)
            | RoleState::Muted(_) => false,
        }
    }

    /// A node that has just voted gives its candidate time to win (Raft §5.2).
    fn put_off_election(&mut self) {
        let election_deadline = self.random_election_deadline();
        let patient_until = self.now.plus(self.config.election_timeout_us);
        match &mut self.role {
            RoleState::Follower(follower) => {
                follower.election_deadline = election_deadline;
                follower.patient_until = patient_until;
            }
            RoleState::PreCandidate(_) => {
                let leaderless = Follower::leaderless(self.now, election_deadline);
                self.role = RoleState::Follower(Follower { patient_until, ..leaderless });
            }
            // These have voted for themselves in this term, so they do not vote for another node.
            RoleState::Candidate(_) | RoleState::Leader(_) | RoleState::Muted(_) => {}
        }
    }
}
