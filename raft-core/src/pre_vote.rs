//! The pre-vote RPC (dissertation §9.6), which asks whether a vote would be granted. It promises nothing and
//! changes no term.

use alloc::collections::BTreeSet;

use crate::message::{CampaignReason, Message, PreVote, PreVoteResponse};
use crate::quick_failover::LeaderLoss;
use crate::raft::Raft;
use crate::roles::{Follower, PreCandidate, RoleState};
use crate::stuck_leader::Doubt;
use crate::types::{NodeId, Peer};

/// Whether a node that may have asked for pre-votes would campaign if it got them.
#[derive(Clone, Hash, Debug, Default)]
pub(crate) enum Stance {
    /// It would.
    Asks {
        /// Who would vote for it.
        granted: BTreeSet<NodeId>,
    },
    /// It lets another campaign, whatever it is still told.
    #[default]
    Yields,
}

impl Stance {
    /// The stance of this node when it begins to ask.
    pub(crate) fn asking(me: NodeId) -> Stance {
        Stance::Asks { granted: BTreeSet::from([me]) }
    }
}

impl Raft {
    /// Receiver: yes, if it would be a new term, the log is up to date (Raft §5.4.1), no earlier election
    /// waits for its vote, and this node is free: no leader is at work, it has not just voted for one, and no
    /// promise of support binds it (see [`lease`](crate::lease)), or the leader wishes it.
    pub(crate) fn on_pre_vote(&mut self, from: Peer, m: PreVote) {
        let term = self.hard_state.current_term;
        let up_to_date = self.log.is_up_to_date(m.last_log_index, m.last_log_term);
        let electable = m.next_term > term && up_to_date;
        let hears_leader = self.hears_leader();
        let is_free = match m.reason {
            CampaignReason::LeaderLost => {
                !hears_leader && !self.has_just_voted() && !self.has_promised_support()
            }
            CampaignReason::LeadershipTransfer => self.grants_transfer_to(from),
        };
        let vote_granted = electable && is_free && !self.has_vote_in_flight();
        if self.may_tell_term() {
            let response = PreVoteResponse { term, next_term: m.next_term, vote_granted };
            self.send(from, Message::PreVoteResponse(response));
        }
        if vote_granted {
            self.yield_to(from, &m);
        } else if !up_to_date && m.reason == CampaignReason::LeadershipTransfer && m.next_term == term.next()
        {
            // The leader could not wait until that node had all of its log.
            self.prepare_to_campaign();
        } else if !up_to_date {
            self.hasten_election();
        } else if electable
            && hears_leader
            && m.reason == CampaignReason::LeaderLost
            && let RoleState::Follower(follower) = &mut self.role
        {
            follower.refused_pre_vote = Some((from, m));
        }
    }

    /// Gives another that has asked for a pre-vote, and got it, the time to campaign, if it comes first of
    /// the two: the one with more of the log, or else the one with the smaller id. Two that grant each
    /// other's pre-votes while these cross would both campaign, and each refuse the other its vote. The order
    /// is strict, and logs stand still while nobody leads, so that exactly one of them yields.
    ///
    /// It does so once for each time that it asks. If everyone who asks put it off anew, it might never ask
    /// again, and it may be the only one that reaches a majority.
    fn yield_to(&mut self, from: Peer, m: &PreVote) {
        let (last_log_term, last_log_index) = (self.log.last_term(), self.log.last_index());
        let same_last_entry = (m.last_log_term, m.last_log_index) == (last_log_term, last_log_index);
        if same_last_entry && self.config.me.id < from.id {
            return;
        }
        let is_patient = matches!(
            &self.role,
            RoleState::PreCandidate(PreCandidate { leader_loss: LeaderLoss::Silence, .. })
        );
        let asks_again_at = if is_patient {
            self.random_election_deadline()
        } else {
            self.now.plus(self.config.heartbeat_interval_us)
        };
        match &mut self.role {
            RoleState::PreCandidate(PreCandidate { stance: Stance::Yields, .. }) => {}
            RoleState::PreCandidate(PreCandidate { stance, retry_deadline, .. }) => {
                *stance = Stance::Yields;
                *retry_deadline = asks_again_at;
            }
            RoleState::Follower(Follower {
                leader_loss: LeaderLoss::ProcessGone { .. },
                election_deadline,
                ..
            }) => {
                *election_deadline = asks_again_at.max(*election_deadline);
            }
            // It asks again after an election timeout anyway.
            RoleState::Follower(Follower { doubt: Doubt { stance, ask_at: Some(_), .. }, .. }) => {
                *stance = Stance::Yields;
            }
            RoleState::Follower(_) | RoleState::Candidate(_) | RoleState::Leader(_) | RoleState::Muted(_) => {
            }
        }
    }

    /// Sender: counts the grants.
    pub(crate) fn on_pre_vote_response(&mut self, from: Peer, m: PreVoteResponse) {
        if !m.vote_granted || m.next_term != self.hard_state.current_term.next() {
            return;
        }
        let (now, timeout_us) = (self.now, self.config.election_timeout_us);
        if let RoleState::Follower(follower) = &mut self.role
            && let Some(told) = follower.still_told(now, timeout_us)
        {
            told.granted.insert(from.id);
            self.campaign_if_told();
        } else if let Some(Stance::Asks { granted }) = self.role.stance_mut() {
            granted.insert(from.id);
            self.campaign_if_granted();
        }
    }
}
