//! The fingerprint of a node, for a model checker that must know which states it has visited.
//!
//! Two nodes with the same fingerprint answer every sequence of inputs alike, as long as their drivers wake
//! them at their deadlines. Moments therefore count only by their distance from now, up to the election
//! timeout (nothing compares longer times), and writes only by their distance from the last durable one. The
//! next election deadline and what decides it are left out (the random numbers, and until when a retry is
//! quick), and so is what decides the next heartbeat: they determine when a node acts, not what it does. The
//! fields that are left out of each struct are named, so that a new field does not compile until it is either
//! included or left out on purpose.

use core::hash::{Hash, Hasher};
use core::mem::discriminant;

use crate::catch_up::CatchUp;
use crate::leadership_transfer::{ToldToCampaign, Transfer};
use crate::progress::{Progress, ProgressState};
use crate::raft::Raft;
use crate::read_index::Barrier;
use crate::roles::{Candidate, Follower, Leader, Muted, PreCandidate, RoleState};
use crate::stalled_disk::Stall;
use crate::stuck_leader::{Doubt, Standstill};
use crate::types::Micros;

impl Raft {
    /// Feeds a hasher with everything that tells this node apart. To be called after its outputs were taken.
    pub fn fingerprint(&self, state: &mut impl Hasher) {
        // The configuration never changes; what was reported follows from the rest.
        self.config.me.hash(state);
        self.hard_state.hash(state);
        self.log.hash(state);
        self.persistence.fingerprint(state);
        (self.commit_index, self.last_applied, self.left(self.promised_until)).hash(state);
        self.excused_until.map(|until| self.left(until)).hash(state);
        discriminant(&self.role).hash(state);
        match &self.role {
            RoleState::Follower(Follower {
                leader,
                last_heard,
                protection_us,
                election_deadline: _,
                patient_until,
                leader_loss,
                refused_pre_vote,
                doubt: Doubt { ask_at, stance: doubts },
                told_to_campaign,
            }) => {
                // When a leader was heard matters only while there is one.
                leader.map(|leader| (leader, self.age(*last_heard), protection_us)).hash(state);
                (ask_at.is_some(), doubts, self.left(*patient_until)).hash(state);
                (refused_pre_vote, discriminant(leader_loss)).hash(state);
                let of = |ToldToCampaign { at, granted }: &ToldToCampaign| (self.age(*at), granted.clone());
                told_to_campaign.as_ref().map(of).hash(state);
            }
            RoleState::PreCandidate(PreCandidate { stance, leader_loss, retry_deadline: _ }) => {
                (stance, discriminant(leader_loss)).hash(state);
            }
            RoleState::Candidate(Candidate {
                votes,
                reason,
                refusals,
                ask_again_at: _,
                retry_deadline: _,
            }) => {
                (votes, reason, refusals).hash(state);
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
            idle_heartbeats: _,
            round,
            barriers,
            thrifty,
            proposals,
            transfer,
            failed_targets,
            lease_rounds,
            stall: Stall { lag, tolerated_until },
            standstill,
            catch_up: CatchUp { goal, last_index, previous_last_index, began_at },
        } = leader;
        failed_targets.hash(state);
        (first_index, round, thrifty, proposals, self.left(*tolerated_until)).hash(state);
        (goal, last_index, previous_last_index, self.age(*began_at)).hash(state);
        let of = |Standstill { last_applied, timeouts, since }: Standstill| {
            (last_applied, timeouts, self.age(since))
        };
        standstill.map(of).hash(state);
        lag.map(|(index, since)| (index, self.age(since))).hash(state);
        transfer.map(|Transfer { target, deadline }| (target, self.left(deadline))).hash(state);
        for Barrier { id, round, began_at, confirms, asked } in barriers {
            (id, round, self.now.since(*began_at).min(self.hedge_us()), confirms, asked).hash(state);
        }
        lease_rounds.is_some().hash(state);
        for began in lease_rounds.iter().flat_map(|rounds| rounds.ages(self.now)) {
            began.hash(state);
        }
        for (id, progress) in progress {
            let Progress {
                match_index,
                next_index,
                state: sending,
                loss_check,
                last_heard,
                acked_round,
                // They matter only to a voter that lags by many rounds, more than any model has.
                rounds_unanswered: _,
                supports_until,
                is_gone,
            } = progress;
            (id, match_index, next_index, self.age(*last_heard), acked_round, is_gone).hash(state);
            loss_check.hash(state);
            self.left(*supports_until).hash(state);
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

    /// How long ago this was, up to the longest time that anything compares.
    fn age(&self, moment: Micros) -> u64 {
        self.now.since(moment).min(self.config.election_timeout_us)
    }

    /// How long it is until then.
    fn left(&self, moment: Micros) -> u64 {
        moment.since(self.now)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use core::hash::Hasher as _;
    use std::hash::DefaultHasher;

    use super::*;
    use crate::config::Config;
    use crate::io::{Audience, Confirmation, HardState, Input, Output, Recovered, Role};
    use crate::log::Snapshot;
    use crate::membership::{Member, Membership, Suffrage};
    use crate::message::{
        CampaignReason, Heartbeat, Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse,
    };
    use crate::testing::peer;
    use crate::types::{BarrierId, Incarnation, LogIndex, Round, Term, WriteId};

    const ELECTION_TIMEOUT_US: u64 = 200;

    /// One of three voters, in term 1.
    fn node(seed: u64) -> Raft {
        let member = Member {
            incarnation: Incarnation(1),
            suffrage: Suffrage::Voter,
            peer_address: String::new(),
            client_address: String::new(),
        };
        let members = (1..=3).map(|id| (peer(id).id, member.clone())).collect();
        let snapshot = Snapshot {
            last_included_index: LogIndex(1),
            last_included_term: Term(1),
            membership: Arc::new(Membership { members }),
            state: Arc::from([]),
        };
        let config = Config {
            me: peer(1),
            election_timeout_us: ELECTION_TIMEOUT_US,
            heartbeat_interval_us: 40,
            lease: None,
            seed,
        };
        let recovered = Recovered {
            hard_state: HardState { current_term: Term(1), voted_for: None },
            snapshot: Some(Arc::new(snapshot)),
            entries: Vec::new(),
        };
        Raft::new(config, Micros(0), recovered)
    }

    fn after(mut raft: Raft, now: u64, input: Input) -> Raft {
        raft.step(Micros(now), input);
        while raft.poll_output().is_some() {}
        raft
    }

    fn told(raft: Raft, now: u64, message: Message) -> Raft {
        after(raft, now, Input::Message { from: peer(2), message })
    }

    /// A node that has just become leader of term 2, at the moment 1000.
    fn leader() -> Raft {
        let mut raft = after(node(1), 1000, Input::Wake);
        let (term, next_term, vote_granted) = (Term(1), Term(2), true);
        let answer = PreVoteResponse { term, next_term, vote_granted };
        raft = told(raft, 1000, Message::PreVoteResponse(answer));
        raft = after(raft, 1000, Input::WritesDurable { through: WriteId(1) });
        let answer = RequestVoteResponse { term: next_term, vote_granted };
        raft = told(raft, 1000, Message::RequestVoteResponse(answer));
        assert_eq!(raft.role(), Role::Leader);
        raft
    }

    fn heartbeat(term: u64) -> Message {
        Message::Heartbeat(Heartbeat {
            term: Term(term),
            leader_commit: LogIndex(0),
            round: Round(0),
            election_timeout_us: ELECTION_TIMEOUT_US,
            is_stuck: false,
        })
    }

    /// A node that follows, and heard its leader at the moment 1000.
    fn follower() -> Raft {
        told(node(1), 1000, heartbeat(1))
    }

    fn barrier() -> Input {
        let (audience, confirms) = (Audience::EveryVoter, Confirmation::CommitIndex);
        Input::ReadBarrier { barrier: BarrierId(1), audience, confirms }
    }

    fn fingerprint(raft: &Raft) -> u64 {
        let mut hasher = DefaultHasher::new();
        raft.fingerprint(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn nodes_that_differ_only_in_when_they_campaign_are_one() {
        let (one, other) = (node(1), node(2));
        assert_ne!(one.deadline(), other.deadline());
        assert_eq!(fingerprint(&one), fingerprint(&other));
        assert_ne!(fingerprint(&one), fingerprint(&follower()));
        assert_ne!(fingerprint(&one), fingerprint(&leader()));
    }

    #[test]
    fn how_long_ago_a_leader_was_heard_tells_nodes_apart_up_to_an_election_timeout() {
        let at = |now| fingerprint(&after(follower(), now, barrier()));
        assert_ne!(at(1010), at(1020));
        assert_ne!(at(1000 + ELECTION_TIMEOUT_US - 1), at(1000 + ELECTION_TIMEOUT_US));
        assert_eq!(at(1000 + ELECTION_TIMEOUT_US), at(1001 + ELECTION_TIMEOUT_US));
    }

    #[test]
    fn what_a_leader_has_been_asked_tells_it_apart() {
        let asked = after(leader(), 1000, barrier());
        assert_ne!(fingerprint(&leader()), fingerprint(&asked));
    }

    #[test]
    fn how_long_a_hand_over_has_left_tells_leaders_apart() {
        let begun_at = |began| {
            let mut raft = leader();
            raft = after(raft, began, Input::TransferLeadership { to: Some(peer(2).id) });
            fingerprint(&after(raft, 1030, barrier()))
        };
        assert_ne!(begun_at(1010), begun_at(1020));
        assert_eq!(begun_at(1010), begun_at(1010));
    }

    /// Only a node that knows the process of that leader to be gone grants another a pre-vote at once.
    #[test]
    fn whether_a_vote_that_is_being_written_was_for_a_leader_that_is_gone_tells_nodes_apart() {
        let (last_log_index, last_log_term) = (LogIndex(1), Term(1));
        let reason = CampaignReason::LeaderLost;
        let request = RequestVote { term: Term(2), last_log_index, last_log_term, reason };
        let waits = told(node(1), 1000, Message::RequestVote(request));
        let led = told(waits.clone(), 1000, heartbeat(2));
        let lost = after(led, 1000, Input::PeerUnreachable(peer(2)));
        let grants = |mut raft: Raft| {
            let pre_vote = PreVote {
                next_term: Term(3),
                last_log_index,
                last_log_term,
                reason: crate::CampaignReason::LeaderLost,
            };
            raft.step(Micros(1000), Input::Message { from: peer(3), message: Message::PreVote(pre_vote) });
            core::iter::from_fn(|| raft.poll_output()).find_map(|output| {
                if let Output::Send { message: Message::PreVoteResponse(m), .. } = output {
                    Some(m.vote_granted)
                } else {
                    None
                }
            })
        };
        assert_eq!((grants(waits.clone()), grants(lost.clone())), (Some(false), Some(true)));
        assert_ne!(fingerprint(&waits), fingerprint(&lost));
    }

    #[test]
    fn a_write_that_is_not_durable_yet_tells_nodes_apart() {
        let written = |through| after(leader(), 1000, Input::WritesDurable { through: WriteId(through) });
        assert_ne!(fingerprint(&written(1)), fingerprint(&written(2)));
    }
}
