//! What a run reports while it goes on.

use std::sync::Arc;

use raft_core::{Member, Membership, NodeId, Suffrage};

use crate::schedule::Slot;
use crate::world::World;

/// How much a run reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Narration {
    /// Nothing.
    Silent,
    /// A line on standard error for each change of role, for each change of membership, and for each fault
    /// and its repair.
    Told,
    /// Also a line for each frame that arrives.
    Frames,
}

impl World {
    /// Reports a line about a host, if narration is on.
    pub(crate) fn narrate(&self, slot: Slot, line: impl FnOnce() -> String) {
        if self.narration != Narration::Silent {
            eprintln!("{:>12} {} {}", self.now.0, self.hosts[slot.at()].peer, line());
        }
    }
}

/// The members, for people to read: learners in brackets.
pub(crate) fn names(membership: &Arc<Membership>) -> String {
    let one = |(id, member): (&NodeId, &Member)| match member.suffrage {
        Suffrage::Voter => format!("{id}"),
        Suffrage::Learner => format!("({id})"),
    };
    membership.members.iter().map(one).collect::<Vec<_>>().join(" ")
}
