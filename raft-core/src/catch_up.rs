//! Learners: how a member that is new catches up with the log before it votes (dissertation §4.2.1).

use alloc::sync::Arc;

use crate::log::Payload;
use crate::membership::{MembershipChange, Suffrage};
use crate::raft::Raft;
use crate::types::{LogIndex, Micros};

/// A round of catching up (dissertation §4.2.1), the same for every learner. Its goal is what was committed
/// when the round began. What is committed now would be a moving goal: under a steady load, a learner is
/// always a moment behind. Whether a voter keeps up well enough for another to be removed is judged by the
/// same rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchUp {
    /// What a learner must have to become a voter.
    pub(crate) goal: LogIndex,
    /// Where the log ended when it began.
    pub(crate) last_index: LogIndex,
    /// Where the log ended when the round before it began: a learner that does not have that by now lags by
    /// more than an election timeout.
    pub(crate) previous_last_index: LogIndex,
    /// When it began. The next one begins an election timeout later.
    pub(crate) began_at: Micros,
}

impl Raft {
    /// Makes a learner a voter as soon as it has everything that was committed when the current round of
    /// catching up began (dissertation §4.2.1), and the entry that added it. It then lacks no more than an
    /// election timeout's worth of entries, and cannot hold up a commit for long. One learner at a time, like
    /// every change.
    pub(crate) fn promote_learners(&mut self) {
        let Some(leader) = self.role.as_leader() else { return };
        if leader.transfer.is_some() {
            return;
        }
        let members = &self.log.membership().members;
        let goal = leader.catch_up.goal.max(self.log.membership_index());
        let caught_up = leader.progress.iter().find(|(id, progress)| {
            let learns = members.get(id).is_some_and(|m| m.suffrage == Suffrage::Learner);
            let heard = progress.is_responsive(self.now, self.config.election_timeout_us);
            learns && heard && progress.match_index >= goal
        });
        let Some((id, _)) = caught_up else { return };
        if let Ok(Some(membership)) = self.membership_after(&MembershipChange::Promote(*id)) {
            self.append(Payload::Membership(Arc::new(membership)));
            self.adopt_membership();
        }
    }

    /// Begins the next round of catching up once the last one has lasted an election timeout.
    pub(crate) fn begin_catch_up_round(&mut self) {
        let last_index = self.log.last_index();
        let Some(leader) = self.role.as_leader_mut() else { return };
        if self.now.since(leader.catch_up.began_at) >= self.config.election_timeout_us {
            let (goal, previous_last_index, began_at) =
                (self.commit_index, leader.catch_up.last_index, self.now);
            leader.catch_up = CatchUp { goal, last_index, previous_last_index, began_at };
        }
    }
}
