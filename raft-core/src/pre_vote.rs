//! The pre-vote RPC (dissertation §9.6), which asks whether a vote would be granted. It promises nothing and
//! changes no term.

use crate::message::{Message, PreVote, PreVoteResponse};
use crate::raft::Raft;
use crate::roles::RoleState;
use crate::types::Peer;

impl Raft {
    /// Receiver: yes, if it would be a new term, the log is up to date (Raft §5.4.1), and no leader is at
    /// work.
    pub(crate) fn on_pre_vote(&mut self, from: Peer, m: PreVote) {
        let term = self.hard_state.current_term;
        let electable = m.next_term > term && self.log.is_up_to_date(m.last_log_index, m.last_log_term);
        let hears_leader = self.hears_leader();
        let vote_granted = electable && !hears_leader && !self.has_promised_support();
        if electable
            && hears_leader
            && let RoleState::Follower(follower) = &mut self.role
        {
            follower.refused_pre_vote = Some((from, m));
        }
        let response = PreVoteResponse { term, next_term: m.next_term, vote_granted };
        self.send(from, Message::PreVoteResponse(response));
    }

    /// Sender: counts the grants.
    pub(crate) fn on_pre_vote_response(&mut self, from: Peer, m: PreVoteResponse) {
        let asked = self.hard_state.current_term.next();
        if let RoleState::PreCandidate(candidate) = &mut self.role
            && m.vote_granted
            && m.next_term == asked
        {
            candidate.granted.insert(from.id);
            self.campaign_if_granted();
        }
    }
}
