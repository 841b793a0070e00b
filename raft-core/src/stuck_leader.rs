//! A leader that is stuck: it has entries and applies none of them, and cannot find out whether the others
//! could do so without it.
//!
//! It may commit nothing, because its own disk hangs, or that of one of the voters that it reaches, and it
//! cannot reach others that some follower can. To the leader this looks as if those others were dead, and
//! then it should lead on. Or the others commit what its own disk does not take, and the voter that it hands
//! over to cannot win (see `stalled_disk`), because that one does not reach the others, or its disk is slow.
//!
//! A follower may know better. So a leader says with its heartbeats that it is stuck, and from then on its
//! followers protect it no longer: they grant pre-votes and votes as if they heard none, and ask for
//! pre-votes themselves. They go on following until a majority has granted them, because if none does, this
//! leader is the best there is: it can still confirm that it leads.
//!
//! The leader votes in the same way, and with that steps down: the majority of another may need it. A node
//! whose own disk may be the one that hangs does none of this: its vote would never be durable.

use crate::message::CampaignReason;
use crate::pre_vote::Stance;
use crate::raft::Raft;
use crate::roles::{Follower, RoleState};
use crate::types::{LogIndex, Micros};

/// For how many election timeouts nothing must have been applied: disks that are only slow, and elections,
/// are over by then.
const PATIENCE_ELECTION_TIMEOUTS: u8 = 3;

/// How long a leader has applied nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Standstill {
    /// What was applied last, behind which there are entries.
    pub(crate) last_applied: LogIndex,
    /// For how many election timeouts it has been that, no more than [`PATIENCE_ELECTION_TIMEOUTS`].
    pub(crate) timeouts: u8,
    /// When the one that is being counted began.
    pub(crate) since: Micros,
}

/// What a follower does if its leader is stuck.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    /// When it asks for pre-votes again; `None` as long as the leader does not count as stuck.
    pub(crate) ask_at: Option<Micros>,
    /// Whether it would campaign if it got the pre-votes that it last asked for.
    pub(crate) stance: Stance,
}

impl Standstill {
    /// The same, some time later. A leader that was not running counts one election timeout at most.
    fn later(self, now: Micros, election_timeout_us: u64) -> Standstill {
        if now.since(self.since) < election_timeout_us {
            return self;
        }
        let timeouts = PATIENCE_ELECTION_TIMEOUTS.min(self.timeouts + 1);
        Standstill { timeouts, since: now, ..self }
    }
}

impl Raft {
    /// A leader looks whether it has applied anything; to be called with each heartbeat.
    pub(crate) fn note_standstill(&mut self) {
        let (now, last_applied, timeout_us) = (self.now, self.last_applied, self.config.election_timeout_us);
        let is_behind = last_applied < self.log.last_index();
        let Some(leader) = self.role.as_leader_mut() else { return };
        leader.standstill = is_behind.then(|| match leader.standstill {
            Some(before) if before.last_applied == last_applied => before.later(now, timeout_us),
            Some(_) | None => Standstill { last_applied, timeouts: 0, since: now },
        });
    }

    /// The leader has said that it is stuck. If that is news, this node asks at some moment of the
    /// next election timeout: the other followers have been told as well.
    pub(crate) fn doubt_leader(&mut self) {
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        if doubt.ask_at.is_none() {
            let free = self.now.max(self.promised_until);
            doubt.ask_at = Some(free.plus(self.rng.below(self.config.election_timeout_us)));
        }
    }

    /// The leader has said that it applies what it has, or has nothing to apply.
    pub(crate) fn trust_leader(&mut self) {
        if let RoleState::Follower(Follower { doubt, .. }) = &mut self.role {
            *doubt = Doubt::default();
        }
    }

    /// Whether this node, which leads, has applied nothing for long.
    pub(crate) fn is_stuck(&self) -> bool {
        let standstill = self.role.as_leader().and_then(|leader| leader.standstill);
        standstill.is_some_and(|standstill| {
            standstill.timeouts >= PATIENCE_ELECTION_TIMEOUTS && standstill.last_applied == self.last_applied
        })
    }

    /// Whether this node would help another to lead, because its leader, or itself, is stuck.
    pub(crate) fn has_stuck_leader(&self) -> bool {
        let is_stuck = match &self.role {
            RoleState::Follower(Follower { leader, doubt, .. }) => leader.is_some() && doubt.ask_at.is_some(),
            RoleState::Leader(_) => self.is_stuck(),
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
