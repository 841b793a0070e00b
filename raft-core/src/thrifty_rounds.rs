//! Thrifty rounds: if the driver asks for it, a round goes to no more voters than a majority takes, as with
//! a thrifty leader of EPaxos (Moraru, Andersen and Kaminsky, SOSP 2013). A voter that is not asked need
//! not wake up, and under load that is most of the cost of a round.
//!
//! The voters that answered first are asked. They are chosen again after each heartbeat, which still goes
//! to every member: elections, check-quorum and leases depend on that. A round that the chosen voters do
//! not answer soon is sent to every voter (a hedged request: Dean and Barroso, *The Tail at Scale*, CACM
//! 2013). So a slow voter delays a barrier by a fraction of a heartbeat interval, and a voter whose process
//! is known to be gone does not delay it.
//!
//! Safety does not depend on any of this: a barrier passes when a majority has answered, whichever voters
//! were asked.

use alloc::vec::Vec;

use crate::io::Audience;
use crate::raft::Raft;
use crate::roles::Leader;
use crate::rounds::Recipients;
use crate::types::{Micros, NodeId, Round};

/// A round that has been unanswered for this fraction of a heartbeat interval is sent to every voter. If
/// answers always take longer, because nodes are far apart, every round asks every voter.
const HEDGE_PER_HEARTBEAT: u64 = 64;

/// Which voters a thrifty round asks.
#[derive(Clone, Hash, Debug, Default)]
pub(crate) struct ThriftyVoters {
    /// The voters that answered first; with the leader they are a majority. If empty, every voter is asked.
    quickest: Vec<NodeId>,
    /// As long as none are chosen, every round after this one has asked every voter, so its answers show
    /// which voters are quick.
    choose_after: Round,
}

impl ThriftyVoters {
    pub(crate) fn has_chosen(&self) -> bool {
        !self.quickest.is_empty()
    }

    /// Whether this voter is asked.
    pub(crate) fn includes(&self, id: NodeId) -> bool {
        self.quickest.contains(&id)
    }
}

impl Leader {
    /// When the oldest round that has not asked every voter is to be hedged.
    pub(crate) fn hedge_deadline(&self, hedge_us: u64) -> Option<Micros> {
        let oldest = self.barriers.iter().find(|barrier| barrier.asked == Audience::QuickestMajority)?;
        Some(oldest.began_at.plus(hedge_us))
    }

    /// Begins to choose again: the current round, and those that follow until the choice is made, ask every
    /// voter.
    pub(crate) fn choose_anew(&mut self) {
        self.thrifty.quickest.clear();
        self.thrifty.choose_after = self.round;
        for barrier in &mut self.barriers {
            barrier.asked = Audience::EveryVoter;
        }
    }
}

impl Raft {
    /// For how long a round may be unanswered before it is hedged.
    pub(crate) fn hedge_us(&self) -> u64 {
        (self.config.heartbeat_interval_us / HEDGE_PER_HEARTBEAT).max(1)
    }

    /// The voters that were asked may not answer, or may no longer be enough: asks every voter, if a barrier
    /// waits for them.
    pub(crate) fn fall_back_to_every_voter(&mut self) {
        let Some(leader) = self.role.as_leader_mut() else { return };
        let waits_for_few = leader.barriers.iter().any(|barrier| barrier.asked == Audience::QuickestMajority);
        leader.choose_anew();
        if waits_for_few {
            self.send_round(Recipients::Voters(Audience::EveryVoter));
        }
    }

    /// A majority has answered `round`, for which a barrier has waited since `began_at`. If that is not long
    /// ago, and every voter was asked, the voters that answered are asked from now on.
    pub(crate) fn choose_quickest(&mut self, round: Round, began_at: Micros) {
        let Some(Leader { thrifty, .. }) = self.role.as_leader() else { return };
        let is_quick = self.now.since(began_at) < self.hedge_us();
        if thrifty.has_chosen() || round <= thrifty.choose_after || !is_quick {
            return;
        }
        let leader_votes = usize::from(self.is_voter());
        let Some(leader) = self.role.as_leader_mut() else { return };
        let membership = self.log.membership();
        let others = membership.voters().count() - leader_votes;
        let needed = membership.quorum() - leader_votes;
        if needed < others {
            let answered = leader.progress.iter().filter(|(_, progress)| progress.acked_round >= round);
            let voters = answered.map(|(id, _)| *id).filter(|id| membership.is_voter(*id));
            leader.thrifty.quickest.extend(voters.take(needed));
        }
    }
}
