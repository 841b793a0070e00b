//! A leader whose disk stalls hands over: a sick disk must not hold a healthy cluster.

use crate::raft::Raft;
use crate::types::{LogIndex, Micros};

/// What a leader knows about its disk compared with the others'.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    /// The commit index when this disk fell behind it, and when that was; `None` if this disk has that by
    /// now.
    pub(crate) lag: Option<(LogIndex, Micros)>,
    /// Until when a stalled disk is not held against this leader again.
    pub(crate) tolerated_until: Micros,
}

impl Stall {
    /// A leader begins, of whose disk nothing is known.
    pub(crate) fn unknown(now: Micros) -> Stall {
        Stall { lag: None, tolerated_until: now }
    }

    fn has_lasted(&self, now: Micros, timeout_us: u64) -> bool {
        self.lag.is_some_and(|(_, since)| now.since(since) >= timeout_us) && self.tolerated_until <= now
    }
}

impl Raft {
    /// Notes since when this node's disk lacks something that is committed: then a majority of disks is
    /// quicker, and can elect another without it.
    pub(crate) fn note_lag(&mut self) {
        let (durable_index, commit_index) = (self.persistence.durable_index(), self.commit_index);
        let now = self.now;
        let Some(leader) = self.role.as_leader_mut() else { return };
        if leader.stall.lag.is_none_or(|(index, _)| index <= durable_index) {
            leader.stall.lag = (commit_index > durable_index).then_some((commit_index, now));
        }
    }

    /// Hands over if this node's disk has lacked something that is committed for an election timeout. That
    /// the others are ahead for a moment says nothing: if all are as slow, whoever takes over is no better
    /// off, and nobody leads while the votes are being written.
    ///
    /// Once this leader says that it is stuck, it leaves the choice to the others, and does not keep the disk
    /// of one of them busy.
    pub(crate) fn escape_stalled_disk(&mut self) {
        self.note_lag();
        let timeout_us = self.config.election_timeout_us;
        let now = self.now;
        let target = self.best_transfer_target().filter(|_| !self.is_stuck());
        let Some(leader) = self.role.as_leader_mut() else { return };
        if leader.stall.has_lasted(now, timeout_us) && leader.transfer.is_none() && target.is_some() {
            // One election timeout for the hand-over, and if that fails, one in which it leads as before.
            leader.stall.tolerated_until = now.plus(timeout_us.saturating_mul(2));
            self.on_transfer_leadership(None);
        }
    }
}
