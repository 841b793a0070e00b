//! Elections: timeouts, campaigns, and how winners and losers continue (Raft §5.2, dissertation §9.6).
//!
//! A node first asks whether it could win ([`PreVote`]), and only then enters a new term and asks for
//! votes. So a node that is cut off, or was removed, never drives up the terms of the others.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::mem;

use crate::catch_up::CatchUp;
use crate::io::HardState;
use crate::lease::LeaseRounds;
use crate::log::Payload;
use crate::membership::Membership;
use crate::message::{CampaignReason, Message, PreVote, RequestVote};
use crate::pre_vote::Stance;
use crate::progress::Progress;
use crate::quick_failover::LeaderLoss;
use crate::raft::Raft;
use crate::roles::{Candidate, Follower, Leader, PreCandidate, RoleState};
use crate::stalled_disk::Stall;
use crate::stuck_leader::Doubt;
use crate::thrifty_rounds::ThriftyVoters;
use crate::types::{LogIndex, Micros, Peer, Round, Term};

impl Raft {
    /// Until when a node that was just started waits. A voter that is alone waits only until what it may have
    /// promised has ended. The others do not wait for a whole election timeout: a pre-vote does no harm if a
    /// leader is alive, and if none is, the cluster is waiting.
    pub(crate) fn first_election_deadline(&mut self) -> Micros {
        if self.is_voter() && self.log.membership().quorum() == 1 {
            return self.promised_until;
        }
        let grace_us = self.config.heartbeat_interval_us.saturating_mul(2);
        let waits_us = grace_us.saturating_add(self.rng.below(self.config.election_timeout_us));
        let deadline = self.now.plus(waits_us);
        deadline.max(self.promised_until)
    }

    /// Whether this node has reason to believe that a leader is at work (dissertation §4.2.3), and not in
    /// vain.
    pub(crate) fn hears_leader(&self) -> bool {
        match &self.role {
            RoleState::Leader(_) => !self.has_stuck_leader(),
            RoleState::Follower(f) => {
                f.leader.is_some()
                    && self.now.since(f.last_heard) < f.protection_us
                    && !self.has_stuck_leader()
            }
            RoleState::PreCandidate(_) | RoleState::Candidate(_) | RoleState::Muted(_) => false,
        }
    }

    /// Enters `term`, or stays in it, without a leader.
    pub(crate) fn become_follower(&mut self, term: Term) {
        let current = self.hard_state.current_term;
        assert!(term >= current, "term {term} entered after term {current}");
        if term > current {
            self.set_hard_state(HardState { current_term: term, voted_for: None });
        }
        let election_deadline = match &self.role {
            // Only a message from a leader or a vote granted puts off an election (Raft §5.2).
            RoleState::Follower(follower) => follower.election_deadline,
            RoleState::PreCandidate(_)
            | RoleState::Candidate(_)
            | RoleState::Leader(_)
            | RoleState::Muted(_) => self.random_election_deadline(),
        };
        self.lose_proposals();
        self.role = RoleState::Follower(Follower::leaderless(self.now, election_deadline));
    }

    /// Follows the leader of the current term, from whom a message has just come.
    pub(crate) fn follow(&mut self, leader: Peer) {
        let term = self.hard_state.current_term;
        let known = self.leader_peer();
        assert!(
            known.is_none_or(|known| known == leader),
            "two leaders in term {term}: {} and {leader}",
            known.unwrap_or(leader)
        );
        self.excused_until = None;
        let (protection_us, doubt, told_to_campaign) = match &mut self.role {
            RoleState::Follower(f) if f.leader == Some(leader) => {
                (f.protection_us, mem::take(&mut f.doubt), f.told_to_campaign.take())
            }
            RoleState::Follower(_)
            | RoleState::PreCandidate(_)
            | RoleState::Candidate(_)
            | RoleState::Leader(_)
            | RoleState::Muted(_) => (self.config.election_timeout_us, Doubt::default(), None),
        };
        self.role = RoleState::Follower(Follower {
            leader: Some(leader),
            last_heard: self.now,
            protection_us,
            election_deadline: self.random_election_deadline(),
            patient_until: self.now,
            leader_loss: LeaderLoss::Silence,
            refused_pre_vote: None,
            doubt,
            told_to_campaign,
        });
    }

    /// The leader that this node follows leads for no longer than its election timeout without hearing a
    /// majority. To refuse other candidates for longer than that protects nobody and holds an election up.
    pub(crate) fn protect_leader_for(&mut self, leaders_election_timeout_us: u64) {
        if let RoleState::Follower(follower) = &mut self.role {
            follower.protection_us = self.config.election_timeout_us.min(leaders_election_timeout_us);
        }
    }

    /// A follower has heard nothing for too long.
    pub(crate) fn on_election_timeout(&mut self) {
        let RoleState::Follower(Follower { leader_loss, .. }) = self.role else { return };
        if self.is_excused() {
            self.give_leader_time();
        } else if self.may_campaign() && !self.has_vote_in_flight() {
            self.start_pre_vote(leader_loss);
        } else {
            // It cannot become leader, or not yet, but it should no longer name one that is silent.
            let deadline = self.random_election_deadline();
            self.role = RoleState::Follower(Follower::leaderless(self.now, deadline));
        }
    }

    /// Whether this node's vote in an election that may still be decided by it is being written. A candidacy
    /// of its own, or the one of another that it would then vote for, would wait behind that vote: if disks
    /// take longer than elections, each term would begin before the last one can end. If the leader's process
    /// is known to be gone, the vote may have been for that, and nothing is waited for.
    pub(crate) fn has_vote_in_flight(&self) -> bool {
        let undecided = match &self.role {
            RoleState::Follower(Follower { leader, leader_loss, .. }) => {
                leader.is_none() && *leader_loss == LeaderLoss::Silence
            }
            RoleState::PreCandidate(PreCandidate { leader_loss, .. }) => *leader_loss == LeaderLoss::Silence,
            RoleState::Candidate(_) => true,
            RoleState::Leader(_) | RoleState::Muted(_) => false,
        };
        undecided && self.hard_state.voted_for.is_some() && !self.persistence.is_hard_state_durable()
    }

    /// Nobody has decided the pre-vote.
    pub(crate) fn on_pre_vote_timeout(&mut self) {
        let RoleState::PreCandidate(PreCandidate { leader_loss, .. }) = self.role else { return };
        self.start_pre_vote(leader_loss);
    }

    /// Nobody has won the election. If somebody refused, the vote may be split (Raft §5.2), and only another
    /// term decides. If nobody did, votes are still being written, this node's own or others', or messages
    /// were lost, and another term would only be another write to wait for: it goes on waiting in this one.
    pub(crate) fn on_candidate_timeout(&mut self) {
        let deadline = self.random_election_deadline();
        let RoleState::Candidate(candidate) = &mut self.role else { return };
        candidate.retry_deadline = deadline;
        let asks_again = candidate.ask_again_at <= self.now;
        if !candidate.refusals.is_empty() && self.persistence.is_hard_state_durable() {
            self.start_pre_vote(LeaderLoss::Silence);
        } else if asks_again {
            self.ask_for_votes_again();
        }
    }

    /// Repeats the request for votes to those who have not answered: it may be lost. After a transfer it
    /// keeps its reason; the former leader's term is over by then, because this node answers its heartbeats
    /// in the new one. Nothing is repeated before this node's own vote is durable (see [`Raft::campaign`]).
    pub(crate) fn ask_for_votes_again(&mut self) {
        let ask_again_at = self.now.plus(self.config.heartbeat_interval_us);
        let RoleState::Candidate(candidate) = &mut self.role else { return };
        candidate.ask_again_at = ask_again_at;
        if !self.persistence.is_hard_state_durable() {
            return;
        }
        let answered: BTreeSet<_> = candidate.votes.union(&candidate.refusals).copied().collect();
        let reason = candidate.reason;
        let request = Message::RequestVote(self.vote_request(reason));
        for voter in self.other_voters().into_iter().filter(|voter| !answered.contains(&voter.id)) {
            self.send(voter, request.clone());
        }
    }

    /// Another would campaign whose log lacks what this node's has: it cannot win, and this node can, so this
    /// one asks as soon as it may. Nobody who hears a leader is moved by that, and one that has just voted
    /// waits: its candidate may lead by now.
    pub(crate) fn hasten_election(&mut self) {
        let at_once = self.now.max(self.promised_until);
        if self.hears_leader() {
            return;
        }
        if let RoleState::Follower(Follower { doubt, election_deadline, patient_until, .. }) = &mut self.role
        {
            // It has asked, and those whom it has asked would ask in their turn.
            if matches!(doubt.stance, Stance::Asks { .. }) {
                return;
            }
            let asks_at = doubt.ask_at.as_mut().unwrap_or(election_deadline);
            *asks_at = at_once.max(*patient_until).min(*asks_at);
        }
    }

    fn vote_request(&self, reason: CampaignReason) -> RequestVote {
        RequestVote {
            term: self.hard_state.current_term,
            last_log_index: self.log.last_index(),
            last_log_term: self.log.last_term(),
            reason,
        }
    }

    /// Becomes a pre-candidate: asks, and follows nobody meanwhile.
    pub(crate) fn start_pre_vote(&mut self, leader_loss: LeaderLoss) {
        let retry_deadline = match leader_loss {
            LeaderLoss::ProcessGone { quick_until } if quick_until > self.now => {
                let voters = self.log.membership().voters().count();
                let voters = u64::try_from(voters).unwrap_or(u64::MAX).max(1);
                self.now.plus(self.stagger_us().saturating_mul(voters))
            }
            LeaderLoss::ProcessGone { .. } | LeaderLoss::Silence => self.random_election_deadline(),
        };
        let stance = Stance::asking(self.config.me.id);
        self.role = RoleState::PreCandidate(PreCandidate { stance, leader_loss, retry_deadline });
        self.ask_for_pre_votes(CampaignReason::LeaderLost);
        self.campaign_if_granted();
    }

    /// Asks every other voter whether it would vote for this node (dissertation §9.6).
    pub(crate) fn ask_for_pre_votes(&mut self, reason: CampaignReason) {
        let pre_vote = PreVote {
            next_term: self.hard_state.current_term.next(),
            last_log_index: self.log.last_index(),
            last_log_term: self.log.last_term(),
            reason,
        };
        for voter in self.other_voters() {
            self.send(voter, Message::PreVote(pre_vote));
        }
    }

    /// Campaigns once a majority would vote for this node.
    pub(crate) fn campaign_if_granted(&mut self) {
        if let Some(Stance::Asks { granted }) = self.role.stance_mut()
            && self.log.membership().is_majority(granted)
            && !self.has_promised_support()
        {
            self.campaign(CampaignReason::LeaderLost);
        }
    }

    /// Enters the next term, votes for itself, and asks the others for their votes (Raft §5.2), which they
    /// write while this node writes its own. The request holds the end of its log, so the log must be
    /// durable first: otherwise, after a crash, it could campaign again in the same term with a shorter log
    /// and count votes that were granted to the longer one. Its own vote need only be durable before it
    /// counts, and before this node leads (`lead_if_elected`).
    ///
    /// If the leader handed over, the request also waits for that vote. The request deposes the leader, which
    /// leads on until then. If this node's disk hangs from this moment on (a moment ago it did not, see
    /// `campaign_if_told`), the leader leads on for good if it has a majority without this node, which hears
    /// nobody in the old term any more.
    pub(crate) fn campaign(&mut self, reason: CampaignReason) {
        let (now, until) = (self.now, self.promised_until);
        let free = reason == CampaignReason::LeadershipTransfer || until <= now;
        assert!(free, "a campaign at {now:?}, a leader was promised support until {until:?}");
        let current_term = self.hard_state.current_term.next();
        self.set_hard_state(HardState { current_term, voted_for: Some(self.config.me) });
        self.role = RoleState::Candidate(Candidate {
            votes: BTreeSet::new(),
            reason,
            refusals: BTreeSet::new(),
            ask_again_at: self.now.plus(self.config.heartbeat_interval_us),
            retry_deadline: self.random_election_deadline(),
        });
        let request = self.vote_request(reason);
        let log_is_durable = self.persistence.durable_index() == request.last_log_index;
        let at_once = log_is_durable && reason == CampaignReason::LeaderLost;
        for voter in self.other_voters() {
            let message = Message::RequestVote(request);
            if at_once {
                self.send(voter, message);
            } else {
                self.persistence.send_once_durable(voter, message);
            }
        }
    }

    /// Counts a candidate's own vote, once it is durable.
    pub(crate) fn count_own_vote(&mut self) {
        let me = self.config.me.id;
        if let RoleState::Candidate(candidate) = &mut self.role
            && self.persistence.is_hard_state_durable()
        {
            candidate.votes.insert(me);
        }
        self.lead_if_elected();
    }

    /// Becomes leader once a majority has voted for this node and its own vote is durable, even if that vote
    /// does not count: after a crash the node would not know that it led in this term, and could vote for
    /// another leader of the same term.
    pub(crate) fn lead_if_elected(&mut self) {
        let RoleState::Candidate(Candidate { votes, .. }) = &self.role else { return };
        if self.persistence.is_hard_state_durable() && self.log.membership().is_majority(votes) {
            self.become_leader();
        }
    }

    /// Raft §5.2, and the no-op of §8.
    fn become_leader(&mut self) {
        let first_index = self.log.last_index().next();
        let me = self.config.me.id;
        // A majority has just been heard from.
        self.excused_until = None;
        let others = self.log.membership().members.keys().filter(|id| **id != me);
        let progress: BTreeMap<_, _> = others.map(|id| (*id, Progress::new(first_index, self.now))).collect();
        self.role = RoleState::Leader(Leader {
            progress,
            first_index,
            heartbeat_deadline: self.now.plus(self.config.heartbeat_interval_us),
            idle_heartbeats: 0,
            round: Round(0),
            barriers: VecDeque::new(),
            thrifty: ThriftyVoters::default(),
            proposals: VecDeque::new(),
            transfer: None,
            failed_targets: BTreeSet::new(),
            lease_rounds: self.config.lease.map(|_| LeaseRounds::default()),
            stall: Stall::unknown(self.now),
            standstill: None,
            catch_up: CatchUp {
                goal: first_index,
                last_index: first_index,
                previous_last_index: LogIndex(0),
                began_at: self.now,
            },
        });
        self.append(Payload::Noop);
        self.replicate_to_all();
        self.advance_commit_index();
    }

    /// Whether this node votes.
    pub(crate) fn is_voter(&self) -> bool {
        self.votes_in(self.log.membership())
    }

    /// Whether this node may campaign. A node whose removal is not known to be committed may, without
    /// counting itself: no other node may have the entry that removes it (dissertation §4.2.2). The
    /// membership before the latest decides, not the one at the commit index, because the commit index is
    /// back at the snapshot after a restart.
    pub(crate) fn may_campaign(&self) -> bool {
        let uncommitted = self.log.membership_index() > self.commit_index;
        self.is_voter() || (uncommitted && self.votes_in(self.log.previous_membership()))
    }

    fn votes_in(&self, membership: &Membership) -> bool {
        membership.contains(self.config.me) && membership.is_voter(self.config.me.id)
    }

    /// One to two election timeouts from now (Raft §5.2).
    pub(crate) fn random_election_deadline(&mut self) -> Micros {
        let timeout = self.config.election_timeout_us;
        self.now.plus(timeout.saturating_add(self.rng.below(timeout)))
    }
}
