//! A process is known to be gone, because its machine refuses connections: its leader's voters need not wait
//! for their election timeouts.

use crate::raft::Raft;
use crate::roles::{Follower, RoleState};
use crate::types::{Micros, NodeId, Peer};

/// When a leader's process is gone, its voters campaign one after the other, this fraction of a heartbeat
/// interval apart, so that they do not split the vote.
const STAGGER_PER_HEARTBEAT: u64 = 4;

/// How a node has lost its leader, as far as it knows: this decides how soon it repeats a pre-vote that is
/// not decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaderLoss {
    /// It has heard nothing: it asks again after an election timeout.
    Silence,
    /// The leader's process is gone, and the others are about to find out: it asks again in a moment. If they
    /// have not found out by `quick_until`, only this node lost the leader, or there is no majority.
    ProcessGone {
        /// From this moment on, it asks again after an election timeout.
        quick_until: Micros,
    },
}

impl Raft {
    /// A process is gone. If it led, its voters need not wait for their election timeouts.
    pub(crate) fn on_peer_unreachable(&mut self, peer: Peer) {
        match &mut self.role {
            // Not if it was a former life of that member.
            RoleState::Leader(leader) if self.log.membership().contains(peer) => {
                if let Some(progress) = leader.progress.get_mut(&peer.id) {
                    progress.on_gone();
                }
                self.fall_back_to_every_voter();
            }
            RoleState::Follower(follower) if follower.leader == Some(peer) => {
                let refused = follower.refused_pre_vote.take();
                let told_to_campaign = follower.told_to_campaign.take();
                // A promise of support binds, even if the leader is most likely gone.
                let free = self.now.max(self.promised_until);
                let election_deadline =
                    free.plus(self.stagger_us().saturating_mul(self.rank_without(peer.id)));
                let quick_until = free.plus(self.config.election_timeout_us);
                self.role = RoleState::Follower(Follower {
                    leader_loss: LeaderLoss::ProcessGone { quick_until },
                    told_to_campaign,
                    ..Follower::leaderless(self.now, election_deadline)
                });
                // The silence is explained.
                self.excused_until = None;
                // A node that has asked a moment too early need not ask again.
                if let Some((from, pre_vote)) = refused {
                    self.on_pre_vote(from, pre_vote);
                }
            }
            RoleState::Follower(_)
            | RoleState::PreCandidate(_)
            | RoleState::Candidate(_)
            | RoleState::Leader(_)
            | RoleState::Muted(_) => {}
        }
    }

    /// The time between two voters that campaign one after the other, in microseconds.
    pub(crate) fn stagger_us(&self) -> u64 {
        (self.config.heartbeat_interval_us / STAGGER_PER_HEARTBEAT).max(1)
    }

    /// How many voters have a smaller id than this node, not counting `gone`.
    fn rank_without(&self, gone: NodeId) -> u64 {
        let me = self.config.me.id;
        let before = self.log.membership().voters().filter(|id| *id != gone && *id < me).count();
        u64::try_from(before).unwrap_or(u64::MAX)
    }
}
