//! A node that was not running for a while: its process was stopped, or its machine was. It has heard nothing
//! meanwhile, and that says nothing about the others.

use crate::raft::Raft;
use crate::roles::RoleState;
use crate::types::Micros;

impl Raft {
    /// If this node, which leads or follows, is woken so late that it was not running for a while, and
    /// perhaps the others were not either, its not having heard anything means nothing: it waits for two
    /// more heartbeat intervals. It does so once, or a node that is always late would never act.
    pub(crate) fn excuse_silence_if_late(&mut self, due_at: Micros) {
        let late = self.now.since(due_at) >= self.config.heartbeat_interval_us;
        if late && self.excused_until.is_none() && self.leader().is_some() {
            self.excused_until = Some(self.now.plus(self.config.heartbeat_interval_us.saturating_mul(2)));
        }
    }

    /// Whether silence means nothing now.
    pub(crate) fn is_excused(&self) -> bool {
        self.excused_until.is_some_and(|until| self.now < until)
    }

    /// Gives the leader time to be heard: this node was not running, and so could not hear it.
    pub(crate) fn give_leader_time(&mut self) {
        if let (RoleState::Follower(follower), Some(until)) = (&mut self.role, self.excused_until) {
            follower.election_deadline = follower.election_deadline.max(until);
            follower.doubt.ask_at = follower.doubt.ask_at.map(|at| at.max(until));
        }
    }
}
