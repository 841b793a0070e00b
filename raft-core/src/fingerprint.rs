//! What tells two nodes apart, for a model checker that must know which states it has seen.
//!
//! Two nodes with the same fingerprint answer every sequence of inputs alike, as long as their drivers wake them
//! at their deadlines: so moments count only by their distance from now, and no further than the election timeout
//! (nothing asks for more), and writes only by their distance from the last durable one. When the next election
//! deadline is, and the random numbers that decide on it, are left out: they say when a node acts, not what it
//! does. What is left out of each struct is named, so that a new field does not compile until it is decided upon.

use core::hash::{Hash, Hasher};

use crate::progress::{Progress, ProgressState};
use crate::raft::Raft;
use crate::roles::{Candidate, CatchUp, Follower, Leader, Muted, PreCandidate, RoleState, Transfer};
use crate::types::Micros;

impl Raft {
    /// Feeds what tells this node apart, after its outputs were taken, to a hasher.
    pub fn fingerprint(&self, state: &mut impl Hasher) {
        // The configuration never changes; what was reported follows from the rest.
        self.config.me.hash(state);
        self.hard_state.hash(state);
        self.log.hash(state);
        self.persistence.fingerprint(|moment| self.age(moment), state);
        (self.commit_index, self.last_applied, self.left(self.promised_until), self.overslept).hash(state);
        core::mem::discriminant(&self.role).hash(state);
        match &self.role {
            RoleState::Follower(Follower { leader, last_heard, election_deadline: _, pace: _, refused }) => {
                // When a leader was heard matters only while there is one.
                (leader.map(|leader| (leader, self.age(*last_heard))), refused).hash(state);
            }
            RoleState::PreCandidate(PreCandidate { granted, pace: _, retry_deadline: _ }) => {
                granted.hash(state);
            }
            RoleState::Candidate(Candidate { votes, vote_write, retry_deadline: _ }) => {
                (votes, self.persistence.distance(*vote_write)).hash(state);
            }
            RoleState::Leader(leader) => self.fingerprint_of_leader(leader, state),
            RoleState::Muted(Muted { leader, forget_deadline: _ }) => leader.hash(state),
        }
    }

    fn fingerprint_of_leader(&self, leader: &Leader, state: &mut impl Hasher) {
        let Leader {
            progress,
            first_index,
            heartbeat_deadline: _,
            round,
            barriers,
            proposals,
            transfer,
            grants,
            stall_tolerated_until,
            catch_up: CatchUp { index: goal, began_at },
        } = leader;
        (first_index, round, barriers, proposals, self.left(*stall_tolerated_until)).hash(state);
        (goal, self.age(*began_at)).hash(state);
        transfer.map(|Transfer { target, deadline }| (target, self.left(deadline))).hash(state);
        if let Some(grants) = grants {
            grants.fingerprint(|moment| self.age(moment), |moment| self.left(moment), state);
        }
        for (id, progress) in progress {
            let Progress { match_index, next_index, state: sending, last_heard, acked_round, is_gone } =
                progress;
            (id, match_index, next_index, self.age(*last_heard), acked_round, is_gone).hash(state);
            match sending {
                ProgressState::Probe { waiting } => (0, waiting).hash(state),
                ProgressState::Replicate { in_flight, progressed_at } => {
                    // Asked for only while something is on its way.
                    let age = in_flight.front().map(|_| self.age(*progressed_at));
                    (1, in_flight, age).hash(state);
                }
                ProgressState::Snapshot { sent_at } => (2, self.age(*sent_at)).hash(state),
            }
        }
    }

    /// How long ago this was, as far as anything asks.
    fn age(&self, moment: Micros) -> u64 {
        self.now.since(moment).min(self.config.election_timeout_us)
    }

    /// How far off this is.
    fn left(&self, moment: Micros) -> u64 {
        moment.since(self.now)
    }
}
