//! The role of a node, with exactly the data of that role: a follower has no votes, a candidate no progress.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::catch_up::CatchUp;
use crate::io::Role;
use crate::leadership_transfer::{ToldToCampaign, Transfer};
use crate::lease::LeaseRounds;
use crate::message::{CampaignReason, PreVote};
use crate::pre_vote::Stance;
use crate::progress::Progress;
use crate::quick_failover::LeaderLoss;
use crate::read_index::Barrier;
use crate::stalled_disk::Stall;
use crate::stuck_leader::{Doubt, Standstill};
use crate::thrifty_rounds::ThriftyVoters;
use crate::types::{LogIndex, Micros, NodeId, Peer, ProposalId, Round};

#[derive(Clone, Debug)]
pub(crate) enum RoleState {
    Follower(Follower),
    PreCandidate(PreCandidate),
    Candidate(Candidate),
    Leader(Leader),
    /// A write failed, or what it has acknowledged is lost: it only watches who leads, and sends nothing.
    Muted(Muted),
}

#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// The leader that it follows in this term.
    pub(crate) leader: Option<Peer>,
    /// When it last heard from that leader.
    pub(crate) last_heard: Micros,
    /// For how long after that it refuses other candidates: its own election timeout, or that of its leader
    /// if that is shorter.
    pub(crate) protection_us: u64,
    /// When it campaigns.
    pub(crate) election_deadline: Micros,
    /// Until when it leaves the candidate that it has voted for the time to win.
    pub(crate) patient_until: Micros,
    /// How it has lost the leader, or would if it heard nothing more.
    pub(crate) leader_loss: LeaderLoss,
    /// The last node to which it has refused a pre-vote only because it heard this leader: that node may have
    /// lost the leader a moment earlier.
    pub(crate) refused_pre_vote: Option<(Peer, PreVote)>,
    /// Whether this leader commits anything.
    pub(crate) doubt: Doubt,
    /// Set by this leader's TimeoutNow, until this node campaigns or the leader may have given up.
    pub(crate) told_to_campaign: Option<ToldToCampaign>,
}

#[derive(Clone, Debug)]
pub(crate) struct PreCandidate {
    /// Whether it would campaign.
    pub(crate) stance: Stance,
    /// How it has lost the leader, which decides how soon it asks again.
    pub(crate) leader_loss: LeaderLoss,
    /// When it asks again.
    pub(crate) retry_deadline: Micros,
}

#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The nodes that have voted for it; itself only once its own vote is durable.
    pub(crate) votes: BTreeSet<NodeId>,
    /// Why it campaigns.
    pub(crate) reason: CampaignReason,
    /// Who has refused it a vote.
    pub(crate) refusals: BTreeSet<NodeId>,
    /// When it asks those once more who have not answered.
    pub(crate) ask_again_at: Micros,
    /// When it looks whether to go on waiting.
    pub(crate) retry_deadline: Micros,
}

#[derive(Clone, Debug)]
pub(crate) struct Leader {
    /// Every other member.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The index of the first entry of its term. Until that entry is committed, the leader does not know what
    /// is committed (Raft §8).
    pub(crate) first_index: LogIndex,
    /// When it sends the next heartbeats.
    pub(crate) heartbeat_deadline: Micros,
    /// How many regular heartbeats it has sent since it last had anything to do.
    pub(crate) idle_heartbeats: u32,
    /// The latest round of heartbeats.
    pub(crate) round: Round,
    /// Barriers that have not passed; oldest first.
    pub(crate) barriers: VecDeque<Barrier>,
    /// Which voters the rounds of barriers ask.
    pub(crate) thrifty: ThriftyVoters,
    /// Proposals that are not committed, each with its index; oldest first.
    pub(crate) proposals: VecDeque<(LogIndex, ProposalId)>,
    /// The transfer of leadership in progress.
    pub(crate) transfer: Option<Transfer>,
    /// Those to whom a transfer has failed, until it has failed to all that are heard.
    pub(crate) failed_targets: BTreeSet<NodeId>,
    /// When its latest rounds began, from which a lease is counted; `None` if leases are not kept, or no
    /// longer in this term.
    pub(crate) lease_rounds: Option<LeaseRounds>,
    /// How its disk keeps up.
    pub(crate) stall: Stall,
    /// How long it has applied nothing of what it has.
    pub(crate) standstill: Option<Standstill>,
    /// The current round of catching up.
    pub(crate) catch_up: CatchUp,
}

#[derive(Clone, Debug)]
pub(crate) struct Muted {
    pub(crate) leader: Option<Peer>,
    /// When a leader that is silent is no longer named to clients.
    pub(crate) forget_deadline: Micros,
}

impl RoleState {
    /// The role as drivers see it: a muted node counts as a follower.
    pub(crate) fn reported(&self) -> Role {
        match self {
            RoleState::Follower(_) | RoleState::Muted(_) => Role::Follower,
            RoleState::PreCandidate(_) => Role::PreCandidate,
            RoleState::Candidate(_) => Role::Candidate,
            RoleState::Leader(_) => Role::Leader,
        }
    }

    /// What a leader knows; `None` in every other role.
    pub(crate) fn as_leader(&self) -> Option<&Leader> {
        if let RoleState::Leader(leader) = self { Some(leader) } else { None }
    }

    /// The same, mutable.
    pub(crate) fn as_leader_mut(&mut self) -> Option<&mut Leader> {
        if let RoleState::Leader(leader) = self { Some(leader) } else { None }
    }

    /// What a node that asks for pre-votes does with them; `None` for one that does not.
    pub(crate) fn stance_mut(&mut self) -> Option<&mut Stance> {
        match self {
            RoleState::PreCandidate(PreCandidate { stance, .. })
            | RoleState::Follower(Follower { doubt: Doubt { stance, ask_at: Some(_), .. }, .. }) => {
                Some(stance)
            }
            RoleState::Follower(_) | RoleState::Candidate(_) | RoleState::Leader(_) | RoleState::Muted(_) => {
                None
            }
        }
    }

    /// The leader that this node follows; `None` for any node that does not follow.
    pub(crate) fn followed(&self) -> Option<Peer> {
        match self {
            RoleState::Follower(Follower { leader, .. }) | RoleState::Muted(Muted { leader, .. }) => *leader,
            RoleState::PreCandidate(_) | RoleState::Candidate(_) | RoleState::Leader(_) => None,
        }
    }
}

impl Follower {
    /// A follower that knows no leader.
    pub(crate) fn leaderless(now: Micros, election_deadline: Micros) -> Follower {
        Follower {
            leader: None,
            last_heard: now,
            protection_us: 0,
            election_deadline,
            patient_until: now,
            leader_loss: LeaderLoss::Silence,
            refused_pre_vote: None,
            doubt: Doubt::default(),
            told_to_campaign: None,
        }
    }
}
