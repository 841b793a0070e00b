//! Rounds of heartbeats: a majority that has answered one has confirmed that this node led after the round
//! began (dissertation §6.4).

use crate::io::{Audience, Output};
use crate::message::{Heartbeat, Message};
use crate::raft::Raft;
use crate::roles::Leader;
use crate::types::{Micros, Round};

/// The members that a round is sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recipients {
    /// Every member, learners too.
    Members,
    /// The voters, whose answers count, or as many of them as a majority takes.
    Voters(Audience),
}

impl Leader {
    /// Begins a round, to which what is sent from now on belongs.
    pub(crate) fn begin_round(&mut self, now: Micros) -> Round {
        self.round = self.round.next();
        if let Some(rounds) = &mut self.lease_rounds {
            rounds.begin(self.round, now);
        }
        self.round
    }
}

impl Raft {
    /// Sends the current round to these members. A voter that has left too many rounds unanswered gets only
    /// those that go to every member.
    pub(crate) fn send_round(&mut self, recipients: Recipients) {
        let is_stuck = self.is_stuck();
        let Some(leader) = self.role.as_leader_mut() else { return };
        let membership = self.log.membership();
        for (id, progress) in &mut leader.progress {
            let Some(to) = membership.peer(*id) else { continue };
            let is_asked = match recipients {
                Recipients::Members => true,
                Recipients::Voters(_) if progress.lags_in_rounds() => false,
                Recipients::Voters(Audience::EveryVoter) => membership.is_voter(*id),
                Recipients::Voters(Audience::QuickestMajority) => leader.thrifty.includes(*id),
            };
            if !is_asked {
                continue;
            }
            progress.on_asked(leader.round);
            let heartbeat = Heartbeat {
                term: self.hard_state.current_term,
                leader_commit: self.commit_index.min(progress.match_index),
                round: leader.round,
                election_timeout_us: self.config.election_timeout_us,
                is_stuck,
            };
            let message = Message::Heartbeat(heartbeat);
            self.outputs.push_back(Output::Send { to, message });
        }
    }

    /// The latest round that a majority of the voters has answered. A leader that votes has answered its own
    /// latest round.
    pub(crate) fn confirmed_round(&self) -> Option<Round> {
        let leader = self.role.as_leader()?;
        self.reached_by_majority(self.log.membership(), leader.round, |p| p.acked_round)
    }
}
