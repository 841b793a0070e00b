//! Thrifty rounds: where the driver wishes it, a round asks no more voters than a majority takes, as a
//! thrifty leader of EPaxos does (Moraru, Andersen and Kaminsky, SOSP 2013). Whoever is not asked need not
//! wake up, and under load that is most of what a round costs.
//!
//! The voters that answered first are asked. Who they are is found out anew after each heartbeat, which goes
//! to everybody as ever: elections, check-quorum and leases rest on that. A round that they do not answer
//! soon is asked of everybody (a hedged request: Dean and Barroso, *The Tail at Scale*, CACM 2013), so that a
//! slow voter delays a barrier by a fraction of a heartbeat interval, and a voter whose process is gone by
//! nothing.
//!
//! Safety does not rest on any of this: a barrier passes when a majority has answered, whoever was asked.

use alloc::vec::Vec;

use crate::heartbeat::Recipients;
use crate::io::Audience;
use crate::raft::Raft;
use crate::roles::Leader;
use crate::types::{Micros, NodeId, Round};

/// A round that has gone unanswered for this fraction of a heartbeat interval is asked of everybody. Where
/// answers always take longer, because nodes are far apart, every round asks everybody.
const HEDGE_PER_HEARTBEAT: u64 = 64;

/// Whom a thrifty round asks.
#[derive(Clone, Hash, Debug, Default)]
pub(crate) struct Thrift {
    /// The voters that answered first; with the leader they are a majority. Nobody: everybody is asked.
    quickest: Vec<NodeId>,
    /// As long as nobody is chosen: every round after this one has asked everybody, so its answers tell who
    /// is quick.
    choose_after: Round,
}

impl Thrift {
    pub(crate) fn has_chosen(&self) -> bool {
        !self.quickest.is_empty()
    }

    /// Whether it asks this voter.
    pub(crate) fn asks(&self, id: NodeId) -> bool {
        self.quickest.contains(&id)
    }
}

impl Leader {
    /// When the oldest round that has not asked everybody is to be hedged.
    pub(crate) fn hedge_deadline(&self, hedge_us: u64) -> Option<Micros> {
        let oldest = self.barriers.iter().find(|barrier| barrier.asked == Audience::QuickestMajority)?;
        Some(oldest.began_at.plus(hedge_us))
    }

    /// Begins to find out who is quick now: the current round is asked of everybody, and those that follow
    /// until it is known.
    pub(crate) fn choose_anew(&mut self) {
        self.thrift.quickest.clear();
        self.thrift.choose_after = self.round;
        for barrier in &mut self.barriers {
            barrier.asked = Audience::EveryVoter;
        }
    }
}

impl Raft {
    /// For how long a round may go unanswered before it is hedged.
    pub(crate) fn hedge_us(&self) -> u64 {
        (self.config.heartbeat_interval_us / HEDGE_PER_HEARTBEAT).max(1)
    }

    /// Those who were asked may not answer, or not be enough any more: asks everybody, if anything waits for
    /// them.
    pub(crate) fn ask_everybody(&mut self) {
        let Some(leader) = self.role.leader_mut() else { return };
        let waits_for_few = leader.barriers.iter().any(|barrier| barrier.asked == Audience::QuickestMajority);
        leader.choose_anew();
        if waits_for_few {
            self.send_round(Recipients::Voters(Audience::EveryVoter));
        }
    }

    /// A majority has answered `round`; what waited for it has waited since `began_at`. Where that is not
    /// long, and everybody was asked, those who answered are asked from now on.
    pub(crate) fn choose_quickest(&mut self, round: Round, began_at: Micros) {
        let Some(Leader { thrift, .. }) = self.role.leader() else { return };
        let is_quick = self.now.since(began_at) < self.hedge_us();
        if thrift.has_chosen() || round <= thrift.choose_after || !is_quick {
            return;
        }
        let leader_votes = usize::from(self.is_voter());
        let Some(leader) = self.role.leader_mut() else { return };
        let membership = self.log.membership();
        let others = membership.voters().count() - leader_votes;
        let needed = membership.quorum() - leader_votes;
        if needed < others {
            let answered = leader.progress.iter().filter(|(_, progress)| progress.acked_round >= round);
            let voters = answered.map(|(id, _)| *id).filter(|id| membership.is_voter(*id));
            leader.thrift.quickest.extend(voters.take(needed));
        }
    }
}
