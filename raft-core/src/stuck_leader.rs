//! A leader that commits nothing, and cannot find out that the others could do so without it: its own disk
//! hangs, or that of one of the voters that it reaches, and it cannot reach others that some follower can.
//!
//! To the leader this looks as if those others were dead, and then it should lead on. A follower may know
//! better. So a leader says with its heartbeats that it commits nothing, and from then on its followers
//! protect it no longer: they grant pre-votes and votes as if they heard none, and ask for pre-votes
//! themselves. They go on following until a majority has granted them, because if none does, this leader is
//! the best there is: it can still confirm that it leads.
//!
//! The leader votes in the same way, and with that steps down: the majority of another may need it. A node
//! whose own disk may be the one that hangs does none of this: its vote would never be durable.

use crate::message::CampaignReason;
use crate::pre_vote::Stance;
use crate::raft::Raft;
use crate::roles::{Follower, RoleState};
use crate::types::{LogIndex, Micros};

/// For how many election timeouts nothing must have been committed: disks that are only slow, and elections,
/// are over by then.
const PATIENCE_ELECTION_TIMEOUTS: u8 = 3;

/// What a leader knows about its commits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Uncommitted {
    /// The commit index, behind which there are entries.
    pub(crate) commit_index: LogIndex,
    /// For how many election timeouts it has been that, no more than [`PATIENCE_ELECTION_TIMEOUTS`].
    pub(crate) timeouts: u8,
    /// When the one that is being counted began.
    pub(crate) since: Micros,
}

/// What a follower does if its leader commits nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    /// When it asks for pre-votes again; `None` as long as the leader does not count as stuck.
    pub(crate) ask_at: Option<Micros>,
    /// Whether it would campaign if it got the pre-votes that it last asked for.
    pub(crate) stance: Stance,
}

impl Uncommitted {
    /// The same, some time later. A leader that was not running counts one election timeout at most.
    fn later(self, now: Micros, election_timeout_us: u64) -> Uncommitted {
        if now.since(self.since) < election_timeout_us {
            return self;
        }
        let timeouts = PATIENCE_ELECTION_TIMEOUTS.min(self.timeouts + 1);
        Uncommitted { timeouts, since: now, ..self }
    }
}

impl Raft {
    /// A leader looks whether it has committed anything; to be called with each heartbeat.
    pub(crate) fn note_uncommitted(&mut self) {
        let (now, commit_index, timeout_us) = (self.now, self.commit_index, self.config.election_timeout_us);
        let is_behind = commit_index < self.log.last_index();
        let Some(leader) = self.role.as_leader_mut() else { return };
        leader.uncommitted = is_behind.then(|| match leader.uncommitted {
            Some(before) if before.commit_index == commit_index => before.later(now, timeout_us),
            Some(_) | None => Uncommitted { commit_index, timeouts: 0, since: now },
        });
    }

    /// The leader has said that it commits nothing. If that is news, this node asks at some moment of the
    /// next election timeout: the other followers have been told as well.
    pub(crate) fn doubt_leader(&mut self) {
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        if doubt.ask_at.is_none() {
            let free = self.now.max(self.promised_until);
            doubt.ask_at = Some(free.plus(self.rng.below(self.config.election_timeout_us)));
        }
    }

    /// The leader has said that it commits, or has nothing to commit.
    pub(crate) fn trust_leader(&mut self) {
        if let RoleState::Follower(Follower { doubt, .. }) = &mut self.role {
            *doubt = Doubt::default();
        }
    }

    /// Whether this node, which leads, has committed nothing for long.
    pub(crate) fn commits_nothing(&self) -> bool {
        let uncommitted = self.role.as_leader().and_then(|leader| leader.uncommitted);
        uncommitted.is_some_and(|uncommitted| {
            uncommitted.timeouts >= PATIENCE_ELECTION_TIMEOUTS
                && uncommitted.commit_index == self.commit_index
        })
    }

    /// Whether this node would help another to lead, because its leader, or itself, commits nothing.
    pub(crate) fn has_stuck_leader(&self) -> bool {
        let is_stuck = match &self.role {
            RoleState::Follower(Follower { leader, doubt, .. }) => leader.is_some() && doubt.ask_at.is_some(),
            RoleState::Leader(_) => self.commits_nothing(),
            RoleState::PreCandidate(_) | RoleState::Candidate(_) | RoleState::Muted(_) => false,
        };
        is_stuck && !self.may_have_hung_disk()
    }

    /// Whether this node's disk has something to write, and has shown nothing yet of what the leader cannot
    /// commit.
    fn may_have_hung_disk(&self) -> bool {
        let has_to_write = self.persistence.oldest_issued_at().is_some();
        has_to_write && self.persistence.durable_index() <= self.commit_index
    }

    /// A follower of a stuck leader asks whether it could be elected.
    pub(crate) fn ask_for_another_leader(&mut self) {
        if self.is_excused() {
            self.give_leader_time();
            return;
        }
        let ask_at = Some(self.random_election_deadline());
        let may_campaign = self.may_campaign() && !self.may_have_hung_disk();
        let stance = if may_campaign { Stance::asking(self.config.me.id) } else { Stance::Yields };
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        *doubt = Doubt { ask_at, stance };
        if may_campaign {
            self.ask_for_pre_votes(CampaignReason::LeaderLost);
            self.campaign_if_granted();
        }
    }
}
