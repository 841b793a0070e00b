//! A leader that commits nothing, and does not find out that the others could do so without it: its own disk
//! hangs, or that of one of the voters that it reaches, and it cannot reach others that some follower can.
//!
//! To the leader this looks as if those others were dead, and then it should lead on. A follower may know
//! better: it has had entries on its disk for a while that are not committed. From then on it protects this
//! leader no longer: it grants pre-votes and votes as if it heard none, and asks for pre-votes itself. It
//! goes on following until a majority has granted them, because if none does, this leader is the best there
//! is: it can still confirm that it leads.

use crate::raft::Raft;
use crate::roles::{Follower, RoleState, Stance};
use crate::types::{LogIndex, Micros};

/// For how many election timeouts nothing must have been committed: disks that are only slow, and elections,
/// are over by then.
const PATIENCE_ELECTION_TIMEOUTS: u8 = 3;

/// What a follower knows of its leader's commits, and what it does about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    /// What waits to be committed.
    pub(crate) waiting: Option<Waiting>,
    /// When it asks for pre-votes again; `None` as long as the leader does not count as stuck.
    pub(crate) ask_at: Option<Micros>,
    /// Whether it would campaign if it got the pre-votes that it last asked for.
    pub(crate) stance: Stance,
}

/// This node's disk has entries that the leader does not commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waiting {
    /// The commit index before them.
    pub(crate) commit_index: LogIndex,
    /// How many election timeouts have passed since, no more than [`PATIENCE_ELECTION_TIMEOUTS`].
    pub(crate) timeouts: u8,
    /// When the one that is being counted began.
    pub(crate) since: Micros,
}

impl Raft {
    /// The leader has said what is committed.
    pub(crate) fn note_commit(&mut self) {
        let (now, commit_index, timeout_us) = (self.now, self.commit_index, self.config.election_timeout_us);
        let is_behind = self.persistence.durable_index() > commit_index;
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        match &mut doubt.waiting {
            _ if !is_behind => *doubt = Doubt::default(),
            Some(waiting) if waiting.commit_index == commit_index => {
                if now.since(waiting.since) >= timeout_us {
                    waiting.timeouts = PATIENCE_ELECTION_TIMEOUTS.min(waiting.timeouts + 1);
                    waiting.since = now;
                }
            }
            Some(_) | None => {
                let waiting = Some(Waiting { commit_index, timeouts: 0, since: now });
                *doubt = Doubt { waiting, ..Doubt::default() };
            }
        }
        self.begin_to_ask();
    }

    /// If the leader has just come to count as stuck, this node asks at some moment of the next election
    /// timeout: the other followers have waited for as long.
    fn begin_to_ask(&mut self) {
        if !self.follows_a_stuck_leader() {
            return;
        }
        let first = self.now.max(self.promised_until).plus(self.rng.below(self.config.election_timeout_us));
        if let RoleState::Follower(Follower { doubt, .. }) = &mut self.role {
            doubt.ask_at.get_or_insert(first);
        }
    }

    /// Whether this node follows a leader that keeps it waiting for a commit.
    pub(crate) fn follows_a_stuck_leader(&self) -> bool {
        let RoleState::Follower(Follower { leader: Some(_), doubt, .. }) = &self.role else { return false };
        doubt.waiting.is_some_and(|waiting| waiting.timeouts >= PATIENCE_ELECTION_TIMEOUTS)
    }

    /// A follower of a stuck leader asks whether it could be elected.
    pub(crate) fn ask_for_another_leader(&mut self) {
        if self.is_excused() {
            self.listen_again();
            return;
        }
        let ask_again_at = self.random_election_deadline();
        let may_campaign = self.may_campaign();
        let stance = if may_campaign { self.asks() } else { Stance::Yields };
        let RoleState::Follower(Follower { doubt, .. }) = &mut self.role else { return };
        *doubt = Doubt { waiting: doubt.waiting, ask_at: Some(ask_again_at), stance };
        if may_campaign {
            self.ask_for_pre_votes();
        }
    }
}
