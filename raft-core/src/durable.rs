//! What a node's disk holds, and whether it keeps what the node promises when it sends a message or leads. An
//! oracle for tests, simulators and model checkers.
//!
//! Nothing in the core uses it. It must know nothing of `persistence.rs`, which withholds promises: whoever
//! asks says what is durable.

use alloc::format;
use alloc::string::String;

use crate::io::{HardState, Recovered, Write};
use crate::log::Entry;
use crate::message::{AppendOutcome, Message};
use crate::raft::Raft;
use crate::types::{LogIndex, Peer, Term};

/// What is durable on one node: what it would find after a power cut.
#[derive(Clone, Copy, Debug)]
pub struct Durable<'a> {
    /// The term and the vote.
    pub hard_state: HardState,
    /// Index and term of the last entry; those of the snapshot if no entry follows it.
    pub last: (LogIndex, Term),
    /// The entries after the snapshot, in order and without gaps; none if which entries are durable is not to
    /// be compared with what the node acknowledges.
    pub entries: &'a [Entry],
}

impl<'a> From<&'a Recovered> for Durable<'a> {
    fn from(recovered: &'a Recovered) -> Durable<'a> {
        Durable { hard_state: recovered.hard_state, last: recovered.last(), entries: &recovered.entries }
    }
}

impl Recovered {
    /// Does what a write asks of the disk, and checks that a sound node could have asked for it.
    ///
    /// # Errors
    /// A sentence that says what is wrong: the term or the snapshot goes back, a vote changes, what is in the
    /// snapshot is truncated, an entry does not follow the last one, terms in the log go back, or an entry is
    /// of a later term than the durable one. The disk is left half written.
    pub fn perform(&mut self, write: Write) -> Result<(), String> {
        let Write { id, hard_state, snapshot, truncate_from, entries } = write;
        if let Some(new) = hard_state {
            self.replace_hard_state(new).map_err(|why| format!("write {id}: {why}"))?;
        }
        if let Some(snapshot) = snapshot {
            let (base, index) = (self.base().0, snapshot.last_included_index);
            ensure(index > base, || format!("write {id} replaces a snapshot of {base} with one of {index}"))?;
            self.entries.drain(..self.entries.partition_point(|entry| entry.index <= index));
            self.snapshot = Some(snapshot);
        }
        if let Some(from) = truncate_from {
            let base = self.base().0;
            ensure(from > base, || format!("write {id} truncates from {from}, in the snapshot of {base}"))?;
            self.entries.truncate(self.entries.partition_point(|entry| entry.index < from));
        }
        for entry in entries {
            let ((last, last_term), current) = (self.last(), self.hard_state.current_term);
            let (index, term) = (entry.index, entry.term);
            ensure(index == last.next(), || format!("write {id} appends entry {index} after {last}"))?;
            ensure((last_term..=current).contains(&term), || {
                format!("write {id} appends an entry of term {term} after {last_term}, in term {current}")
            })?;
            self.entries.push(entry);
        }
        let (base, first) = (self.base().0, self.entries.first().map(|entry| entry.index));
        ensure(first.is_none_or(|first| first == base.next()), || {
            format!("write {id} leaves a gap between the snapshot of {base} and entry {first:?}")
        })?;
        let ((last, term), current) = (self.last(), self.hard_state.current_term);
        ensure(term <= current, || format!("write {id} leaves {last} of term {term} in term {current}"))
    }

    fn replace_hard_state(&mut self, new: HardState) -> Result<(), String> {
        let old = self.hard_state;
        let keeps_vote = old.voted_for.is_none() || new.voted_for == old.voted_for;
        ensure(
            new.current_term > old.current_term || (new.current_term == old.current_term && keeps_vote),
            || format!("the term goes back or the vote changes: {new:?} replaces {old:?}"),
        )?;
        self.hard_state = new;
        Ok(())
    }
}

impl Durable<'_> {
    /// Checks a message that `raft` sends to `to`, at the moment when it leaves (Raft Figure 2: "updated on
    /// stable storage before responding to RPCs").
    ///
    /// A later term that is durable excuses everything but the term itself: it was written after what was
    /// promised, which it may have replaced.
    ///
    /// # Errors
    /// A sentence that says which promise is not durable.
    pub fn check_message(&self, raft: &Raft, to: Peer, message: &Message) -> Result<(), String> {
        let me = raft.me();
        match message {
            Message::RequestVote(m) => {
                let (asked, durable) = ((m.last_log_index, m.last_log_term), self.last);
                // The node's own vote is written after its log: if the vote is durable, so was the log.
                ensure(self.has_voted(m.term, me) || durable == asked, || {
                    format!("{me} campaigns in term {} with {asked:?}, durable is {durable:?}", m.term)
                })
            }
            Message::RequestVoteResponse(m) if m.vote_granted => ensure(self.has_voted(m.term, to), || {
                format!("{me} votes for {to} in term {}, durable is {:?}", m.term, self.hard_state)
            }),
            Message::AppendEntriesResponse(m) => match m.outcome {
                AppendOutcome::Matched { match_index } => self.check_log(raft, m.term, match_index),
                AppendOutcome::Rejected { .. } => Ok(()),
            },
            // The answer to a leader of an earlier term says only which term it is.
            Message::InstallSnapshotResponse(m) if m.match_index == LogIndex(0) => Ok(()),
            Message::InstallSnapshotResponse(m) => self.check_log(raft, m.term, m.match_index),
            Message::RequestVoteResponse(_)
            | Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::AppendEntries(_)
            | Message::Heartbeat(_)
            | Message::HeartbeatResponse(_)
            | Message::InstallSnapshot(_)
            | Message::TimeoutNow(_) => Ok(()),
        }
    }

    /// Checks a node that leads in `term`: its own vote of that term is durable. Otherwise it could, after a
    /// crash, lead in that term a second time with another log, or vote for another node.
    ///
    /// # Errors
    /// A sentence that says what is durable instead.
    pub fn check_leader(&self, me: Peer, term: Term) -> Result<(), String> {
        ensure(self.has_voted(term, me), || {
            format!("{me} leads in term {term}, durable is {:?}", self.hard_state)
        })
    }

    fn has_voted(&self, term: Term, candidate: Peer) -> bool {
        let HardState { current_term, voted_for } = self.hard_state;
        current_term > term || (current_term == term && voted_for == Some(candidate))
    }

    fn check_log(&self, raft: &Raft, term: Term, index: LogIndex) -> Result<(), String> {
        let (me, current, (last, _)) = (raft.me(), self.hard_state.current_term, self.last);
        ensure(current >= term, || {
            format!("{me} acknowledges entry {index} in term {term}, the durable term is {current}")
        })?;
        ensure(current > term || last >= index, || {
            format!("{me} acknowledges entry {index} in term {term}, durable is {last}")
        })?;
        // As long as the node is in that term, it keeps what it acknowledged in it: no other entry can be
        // durable.
        let acknowledged = self.entries.iter().rev().skip_while(|durable| durable.index > index);
        let mut held = acknowledged.map_while(|durable| Some((durable, raft.entry(durable.index)?)));
        ensure(raft.current_term() != term || held.all(|(durable, known)| durable == known), || {
            format!("{me} acknowledges entry {index} in term {term}, but another one is durable")
        })
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use alloc::vec::Vec;

    use super::*;
    use crate::config::Config;
    use crate::log::Snapshot;
    use crate::message::{
        AppendEntriesResponse, CampaignReason, InstallSnapshotResponse, RequestVote, RequestVoteResponse,
    };
    use crate::testing::{noop, peer};
    use crate::types::{Micros, WriteId};

    fn entries(terms: &[u64]) -> Vec<Entry> {
        (1..).zip(terms).map(|(index, term)| noop(index, *term)).collect()
    }

    fn hard_state(term: u64, voted_for: Option<u64>) -> HardState {
        HardState { current_term: Term(term), voted_for: voted_for.map(peer) }
    }

    /// What node 1, in term 3 with entries of the terms 1, 3 and 3, may say to node 2 if this term and vote
    /// and entries of these terms are durable.
    fn check(message: Message, (term, vote): (u64, Option<u64>), durable: &[u64]) -> Result<(), String> {
        let config =
            Config { me: peer(1), election_timeout_us: 200, heartbeat_interval_us: 40, lease: None, seed: 1 };
        let known =
            Recovered { hard_state: hard_state(3, None), snapshot: None, entries: entries(&[1, 3, 3]) };
        let raft = Raft::new(config, Micros(0), known);
        let durable =
            Recovered { hard_state: hard_state(term, vote), snapshot: None, entries: entries(durable) };
        Durable::from(&durable).check_message(&raft, peer(2), &message)
    }

    fn matched(index: u64) -> Message {
        let outcome = AppendOutcome::Matched { match_index: LogIndex(index) };
        Message::AppendEntriesResponse(AppendEntriesResponse { term: Term(3), outcome })
    }

    fn installed(index: u64) -> Message {
        let match_index = LogIndex(index);
        Message::InstallSnapshotResponse(InstallSnapshotResponse { term: Term(3), match_index })
    }

    /// A disk in term 3, in which node 1 has voted for itself, with entries 1 to 3 of these terms.
    fn disk() -> Recovered {
        let hard_state = hard_state(3, Some(1));
        Recovered { hard_state, snapshot: None, entries: entries(&[1, 3, 3]) }
    }

    fn write() -> Write {
        Write { id: WriteId(1), hard_state: None, snapshot: None, truncate_from: None, entries: Vec::new() }
    }

    fn snapshot_at(index: u64) -> Option<Arc<Snapshot>> {
        let snapshot = Snapshot {
            last_included_index: LogIndex(index),
            last_included_term: Term(3),
            membership: Arc::default(),
            state: Arc::new([]),
        };
        Some(Arc::new(snapshot))
    }

    #[test]
    fn a_write_truncates_before_it_appends_and_a_snapshot_takes_the_place_of_what_it_includes() {
        let mut disk = disk();
        let truncate_from = Some(LogIndex(3));
        let conflict = Write { truncate_from, entries: [noop(3, 3), noop(4, 3)].into(), ..write() };
        assert_eq!(disk.perform(conflict), Ok(()));
        assert_eq!(disk.entries, entries(&[1, 3, 3, 3]));
        assert_eq!(disk.perform(Write { snapshot: snapshot_at(3), ..write() }), Ok(()));
        assert_eq!((disk.base(), disk.last()), ((LogIndex(3), Term(3)), (LogIndex(4), Term(3))));
        let further = Write { snapshot: snapshot_at(9), truncate_from: Some(LogIndex(10)), ..write() };
        assert_eq!(disk.perform(further), Ok(()));
        assert_eq!((disk.last(), disk.entries), ((LogIndex(9), Term(3)), Vec::new()));
    }

    #[test]
    fn a_write_that_takes_back_a_term_a_vote_or_a_snapshot_or_leaves_a_gap_is_an_error() {
        for (what, spoilt) in [
            ("the term goes back", Write { hard_state: Some(hard_state(2, None)), ..write() }),
            ("another vote", Write { hard_state: Some(hard_state(3, Some(2))), ..write() }),
            ("no vote any more", Write { hard_state: Some(hard_state(3, None)), ..write() }),
            ("an entry is left out", Write { entries: [noop(5, 3)].into(), ..write() }),
            ("an entry is written again", Write { entries: [noop(3, 3)].into(), ..write() }),
            ("terms in the log go back", Write { entries: [noop(4, 2)].into(), ..write() }),
            ("a later term than the durable one", Write { entries: [noop(4, 4)].into(), ..write() }),
        ] {
            assert!(disk().perform(spoilt).is_err(), "{what}");
        }
        let mut compacted = disk();
        assert_eq!(compacted.perform(Write { snapshot: snapshot_at(2), ..write() }), Ok(()));
        assert!(compacted.clone().perform(Write { snapshot: snapshot_at(2), ..write() }).is_err());
        let truncating = |from| Write { truncate_from: Some(LogIndex(from)), ..write() };
        assert!(compacted.clone().perform(truncating(2)).is_err());
        assert_eq!(compacted.clone().perform(truncating(3)), Ok(()));
        let gap = Recovered { entries: [noop(5, 3)].into(), ..compacted };
        assert!(gap.clone().perform(write()).is_err());
        let next_term = Write { hard_state: Some(hard_state(4, Some(2))), ..write() };
        assert_eq!(disk().perform(next_term), Ok(()));
    }

    #[test]
    fn an_acknowledgement_is_kept_if_its_term_and_its_entries_are_durable() {
        for acknowledgement in [matched, installed] {
            let kept =
                |index, term, durable: &[u64]| check(acknowledgement(index), (term, None), durable).is_ok();
            assert!(kept(2, 3, &[1, 3]) && kept(2, 3, &[1, 3, 3]));
            assert!(kept(1, 3, &[1, 2]), "what follows it was not acknowledged");
            assert!(!kept(2, 2, &[1, 3]), "its term is not durable");
            assert!(!kept(2, 3, &[1]), "its last entry is not durable");
            assert!(!kept(2, 3, &[1, 2]), "another entry is durable");
            assert!(!kept(3, 3, &[2, 3, 3]), "another entry is durable before its last one");
            assert!(kept(2, 4, &[1]), "in a later term it may have been cut off");
        }
    }

    #[test]
    fn an_acknowledgement_of_nothing_promises_its_term_unless_it_answers_a_snapshot() {
        assert!(check(matched(0), (3, None), &[]).is_ok());
        assert!(check(matched(0), (2, None), &[]).is_err());
        assert!(check(installed(0), (2, None), &[]).is_ok());
    }

    #[test]
    fn a_vote_is_kept_if_it_is_durable_or_a_later_term_is() {
        let vote =
            |vote_granted| Message::RequestVoteResponse(RequestVoteResponse { term: Term(3), vote_granted });
        for (hard_state, is_kept) in [
            ((3, Some(2)), true),
            ((3, None), false),
            ((3, Some(1)), false),
            ((2, Some(2)), false),
            ((4, None), true),
        ] {
            assert_eq!(check(vote(true), hard_state, &[]).is_ok(), is_kept, "{hard_state:?}");
            assert!(check(vote(false), hard_state, &[]).is_ok());
        }
    }

    #[test]
    fn a_campaign_rests_on_a_log_that_is_durable_or_was_when_the_vote_was_written() {
        let campaign = Message::RequestVote(RequestVote {
            term: Term(4),
            last_log_index: LogIndex(3),
            last_log_term: Term(3),
            reason: CampaignReason::LeaderLost,
        });
        let kept = |hard_state, durable: &[u64]| check(campaign.clone(), hard_state, durable).is_ok();
        assert!(kept((3, None), &[1, 3, 3]));
        assert!(!kept((3, None), &[1, 3]) && !kept((3, None), &[1, 3, 2]));
        assert!(kept((4, Some(1)), &[1]) && !kept((4, Some(2)), &[1]) && kept((5, None), &[1]));
    }

    #[test]
    fn a_leader_has_its_own_vote_on_its_disk() {
        let leads = |term, vote| {
            let durable = Recovered { hard_state: hard_state(term, vote), ..Recovered::default() };
            Durable::from(&durable).check_leader(peer(1), Term(3)).is_ok()
        };
        assert!(leads(3, Some(1)) && leads(4, None));
        assert!(!leads(3, None) && !leads(3, Some(2)) && !leads(2, Some(1)));
    }
}
