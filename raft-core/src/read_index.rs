//! Read barriers (ReadIndex, dissertation §6.4).
//!
//! A barrier passes when a majority has answered a round of heartbeats that began after the barrier did.
//! Then no newer leader had been elected at some moment in between: each node of the majority was still in
//! this term when it answered. A barrier that also confirms the commit index waits until an entry of this
//! leader's own term is committed, because before that a leader does not know what is committed. A leader
//! that holds a lease needs no round.

use crate::config::BARRIERS_MAX;
use crate::io::{Audience, Confirmation, Output};
use crate::raft::Raft;
use crate::rounds::Recipients;
use crate::types::{BarrierId, Micros, Round};

/// A barrier that has not passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Barrier {
    pub(crate) id: BarrierId,
    /// The round that lets it pass.
    pub(crate) round: Round,
    pub(crate) began_at: Micros,
    pub(crate) confirms: Confirmation,
    /// The voters that have been asked to answer it by now.
    pub(crate) asked: Audience,
}

impl Raft {
    pub(crate) fn on_read_barrier(&mut self, barrier: BarrierId, audience: Audience, confirms: Confirmation) {
        if self.holds_lease() {
            self.pass_all_barriers(barrier);
            return;
        }
        self.end_rest();
        let Some(leader) = self.role.as_leader_mut() else { return };
        if leader.barriers.len() >= BARRIERS_MAX {
            return;
        }
        // Only answers to messages that are sent from now on count, so every barrier begins a round of its
        // own.
        let round = leader.begin_round(self.now);
        let asked = if leader.thrifty.has_chosen() { audience } else { Audience::EveryVoter };
        let began_at = self.now;
        leader.barriers.push_back(Barrier { id: barrier, round, began_at, confirms, asked });
        self.send_round(Recipients::Voters(asked));
        self.pass_barriers();
    }

    /// Lets the barriers pass that a majority has confirmed.
    pub(crate) fn pass_barriers(&mut self) {
        let Some(confirmed) = self.confirmed_round() else { return };
        let commit_index = self.commit_index;
        let Some(leader) = self.role.as_leader_mut() else { return };
        let knows_what_is_committed = leader.first_index <= commit_index;
        let mut latest = None;
        let may_pass = |barrier: &mut Barrier| {
            barrier.round <= confirmed
                && (knows_what_is_committed || barrier.confirms == Confirmation::Leadership)
        };
        while let Some(passed) = leader.barriers.pop_front_if(may_pass) {
            latest = Some(passed);
        }
        if let Some(Barrier { id, began_at, .. }) = latest {
            self.outputs.push_back(Output::BarrierPassed(id));
            self.choose_quickest(confirmed, began_at);
        }
    }

    fn pass_all_barriers(&mut self, latest: BarrierId) {
        if let Some(leader) = self.role.as_leader_mut() {
            leader.barriers.clear();
        }
        self.outputs.push_back(Output::BarrierPassed(latest));
    }
}
