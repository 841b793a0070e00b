//! Leadership transfer and the TimeoutNow RPC (dissertation §3.10).
//!
//! A leader hands over when it is told to, when its disk stalls or fails, and when it has removed itself.

use alloc::collections::BTreeSet;
use core::cmp::Reverse;

use crate::io::Output;
use crate::message::{CampaignReason, Message, TimeoutNow};
use crate::raft::Raft;
use crate::roles::{Follower, RoleState};
use crate::types::{Micros, NodeId, Peer};

/// A transfer of leadership in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) target: Peer,
    /// When it is given up (dissertation §3.10: an election timeout).
    pub(crate) deadline: Micros,
}

/// A follower that is to take over asks first whether it can win: its campaign would end the leader's term.
#[derive(Clone, Debug)]
pub(crate) struct ToldToCampaign {
    /// When it was last told.
    pub(crate) at: Micros,
    /// Who has granted a pre-vote marked as the leader's wish; this node itself once the write has become
    /// durable by which it tries its disk.
    pub(crate) granted: BTreeSet<NodeId>,
}

impl ToldToCampaign {
    /// Whether the leader may still wish it. A leader gives up after an election timeout, and says it again
    /// with each heartbeat before.
    fn is_current(&self, now: Micros, election_timeout_us: u64) -> bool {
        now.since(self.at) < election_timeout_us / 2
    }
}

impl Follower {
    /// What this leader has told it. An order that the leader may have given up is forgotten.
    pub(crate) fn still_told(
        &mut self,
        now: Micros,
        election_timeout_us: u64,
    ) -> Option<&mut ToldToCampaign> {
        self.told_to_campaign.take_if(|told| !told.is_current(now, election_timeout_us));
        self.told_to_campaign.as_mut()
    }
}

impl Raft {
    /// Begins a transfer. A second request has a deadline of its own, and another target if it names one.
    pub(crate) fn on_transfer_leadership(&mut self, to: Option<NodeId>) {
        let under_way = self.role.as_leader().and_then(|leader| leader.transfer);
        let target = match (to, under_way) {
            (Some(id), _) => self.other_voter(id),
            (None, Some(Transfer { target, .. })) => Some(target),
            (None, None) => self.best_transfer_target(),
        };
        let deadline = self.now.plus(self.config.election_timeout_us);
        if let (Some(leader), Some(target)) = (self.role.as_leader_mut(), target) {
            leader.transfer = Some(Transfer { target, deadline });
            self.end_rest();
            self.end_lease();
            self.continue_transfer();
        } else if under_way.is_none() {
            self.outputs.push_back(Output::TransferAborted);
        }
    }

    /// The voter that this leader is handing over to; `None` if it is not handing over.
    #[must_use]
    pub fn transfer_target(&self) -> Option<NodeId> {
        Some(self.role.as_leader()?.transfer?.target.id)
    }

    /// Tells the target to campaign once its log matches this node's.
    pub(crate) fn continue_transfer(&mut self) {
        let Some(leader) = self.role.as_leader() else { return };
        let Some(Transfer { target, .. }) = leader.transfer else { return };
        let Some(progress) = leader.progress.get(&target.id) else { return };
        if progress.match_index == self.log.last_index() {
            let term = self.hard_state.current_term;
            self.send(target, Message::TimeoutNow(TimeoutNow { term }));
        } else {
            self.replicate_to(target.id);
        }
    }

    /// Gives up a transfer that has taken an election timeout: the target may be gone.
    pub(crate) fn abort_late_transfer(&mut self) {
        let now = self.now;
        let Some(leader) = self.role.as_leader_mut() else { return };
        let Some(late) = leader.transfer.take_if(|transfer| transfer.deadline <= now) else { return };
        leader.failed_targets.insert(late.target.id);
        self.outputs.push_back(Output::TransferAborted);
        // Once all have failed, each has another turn.
        let next = self.best_transfer_target();
        if let Some(leader) = self.role.as_leader_mut()
            && next.is_some_and(|next| leader.failed_targets.contains(&next.id))
        {
            leader.failed_targets.clear();
        }
    }

    /// Receiver: campaigns as soon as a majority has granted it pre-votes, which voters do although they hear
    /// the leader, and its own disk has shown that it answers: it writes the term and the vote once more.
    ///
    /// It makes sure of both because a campaign takes it away from the leader, which may need it for a
    /// majority. If it then did not win, nobody would lead: it may not reach those whom the leader reaches,
    /// or it may need the vote of the leader, whose disk may hang.
    pub(crate) fn on_timeout_now(&mut self, from: Peer, _: TimeoutNow) {
        if let RoleState::PreCandidate(_) = &self.role {
            self.become_follower(self.hard_state.current_term);
        }
        let RoleState::Follower(follower) = &self.role else { return };
        if follower.leader.is_none_or(|leader| leader == from) {
            self.prepare_to_campaign();
        }
    }

    /// The leader wishes to be succeeded: asks the others whether they would vote for this node.
    pub(crate) fn prepare_to_campaign(&mut self) {
        let (now, timeout_us) = (self.now, self.config.election_timeout_us);
        let RoleState::Follower(follower) = &mut self.role else { return };
        // The leader repeats it as long as it wishes to be succeeded.
        match follower.still_told(now, timeout_us) {
            Some(told) => told.at = now,
            None => {
                follower.told_to_campaign = Some(ToldToCampaign { at: now, granted: BTreeSet::new() });
                self.persistence.note_hard_state();
            }
        }
        if self.may_campaign() {
            self.ask_for_pre_votes(CampaignReason::LeadershipTransfer);
        }
    }

    /// Campaigns if the leader has asked for it and it can be won, unless that took so long that the leader
    /// may have given the transfer up.
    pub(crate) fn campaign_if_told(&mut self) {
        let (now, me) = (self.now, self.config.me.id);
        let RoleState::Follower(follower) = &mut self.role else { return };
        let Some(told) = follower.still_told(now, self.config.election_timeout_us) else { return };
        if self.persistence.is_hard_state_durable() {
            told.granted.insert(me);
            if self.log.membership().is_majority(&told.granted) && self.may_campaign() {
                self.campaign(CampaignReason::LeadershipTransfer);
            }
        }
    }

    /// Whether a node that the leader has told to campaign can count on this one. That leader itself may have
    /// given the transfer up, or have no vote to give, because its disk has fallen behind.
    pub(crate) fn grants_transfer_to(&self, target: Peer) -> bool {
        self.role.as_leader().is_none_or(|leader| {
            let is_target = leader.transfer.is_some_and(|transfer| transfer.target == target);
            is_target && self.persistence.durable_index() >= self.commit_index
        })
    }

    /// A leader that has just removed itself lets another node take over (dissertation §4.2.2).
    pub(crate) fn step_down_removed(&mut self) {
        self.tell_best_to_campaign();
        self.become_follower(self.hard_state.current_term);
    }

    /// Tells the best target to campaign, which may not have all of the log.
    pub(crate) fn tell_best_to_campaign(&mut self) {
        let term = self.hard_state.current_term;
        if let Some(target) = self.best_transfer_target() {
            self.send(target, Message::TimeoutNow(TimeoutNow { term }));
        }
    }

    /// Of the other voters heard within an election timeout, the one that has most of the log; of several,
    /// the one with the smallest id. One to which a transfer has failed comes after the others: it may be
    /// unable to win. `None` if there is none, or this node does not lead.
    pub(crate) fn best_transfer_target(&self) -> Option<Peer> {
        let leader = self.role.as_leader()?;
        let membership = self.log.membership();
        let candidates = leader.progress.iter().filter(|(id, progress)| {
            membership.is_voter(**id) && progress.is_responsive(self.now, self.config.election_timeout_us)
        });
        let best = candidates.min_by_key(|(id, progress)| {
            (leader.failed_targets.contains(*id), Reverse(progress.match_index), **id)
        });
        best.and_then(|(id, _)| membership.peer(*id))
    }

    /// The voter with this id, heard or not; `None` for this node itself.
    fn other_voter(&self, id: NodeId) -> Option<Peer> {
        self.other_voters().into_iter().find(|voter| voter.id == id)
    }
}
