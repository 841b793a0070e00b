//! The writes in progress, and the messages that may be sent only once they are durable (Raft Figure 2:
//! "updated on stable storage before responding to RPCs").
//!
//! During a step the other modules note what changed; at its end, all changes become one [`Write`]. A promise
//! made in that step is withheld until that write, and so every earlier one, is durable. This is the only
//! module that knows what is durable.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem;

use crate::io::{HardState, Write};
use crate::log::{Log, Snapshot};
use crate::message::{AppendEntriesResponse, AppendOutcome, Message};
use crate::types::{LogIndex, Micros, Peer, Term, WriteId};

/// The writes in progress and the messages that wait for them.
#[derive(Clone, Debug)]
pub(crate) struct Persistence {
    /// The last write that was handed out.
    issued: WriteId,
    /// The last write that is durable.
    durable: WriteId,
    /// The last write that held a term or a vote.
    hard_state_write: WriteId,
    /// Up to this index, the log as it is in memory now is durable.
    durable_index: LogIndex,
    /// Handed out and not yet durable, oldest first.
    in_flight: VecDeque<InFlight>,
    /// Messages that wait for a write, in the order of the writes that they wait for.
    withheld: VecDeque<(WriteId, Peer, Message)>,
    /// The changes of this step so far.
    changes: Changes,
    /// The messages of this step that are to be withheld.
    to_withhold: Vec<(Peer, Message)>,
}

#[derive(Clone, Debug)]
struct InFlight {
    id: WriteId,
    issued_at: Micros,
    /// Up to where the log is durable once this write is. Every later truncation lowers it, because what is
    /// written again after a truncation is another entry.
    last_index: LogIndex,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Changes {
    hard_state: bool,
    snapshot: Option<Arc<Snapshot>>,
    truncate_from: Option<LogIndex>,
    append_from: Option<LogIndex>,
}

impl Persistence {
    /// Everything up to `last_index` was read from the disk.
    pub(crate) fn new(last_index: LogIndex) -> Persistence {
        Persistence {
            issued: WriteId(0),
            durable: WriteId(0),
            hard_state_write: WriteId(0),
            durable_index: last_index,
            in_flight: VecDeque::new(),
            withheld: VecDeque::new(),
            changes: Changes::default(),
            to_withhold: Vec::new(),
        }
    }

    /// Up to this index, the log as it is in memory now is durable.
    pub(crate) fn durable_index(&self) -> LogIndex {
        self.durable_index
    }

    /// Whether this write is durable.
    fn is_durable(&self, write: WriteId) -> bool {
        write <= self.durable
    }

    /// Whether the term and the vote, as they are in memory now, are durable.
    pub(crate) fn is_hard_state_durable(&self) -> bool {
        !self.changes.hard_state && self.is_durable(self.hard_state_write)
    }

    /// When the oldest write that is not durable yet was handed out.
    pub(crate) fn oldest_issued_at(&self) -> Option<Micros> {
        self.in_flight.front().map(|w| w.issued_at)
    }

    pub(crate) fn note_hard_state(&mut self) {
        self.changes.hard_state = true;
    }

    /// Notes that the log has grown; `index` is the first new entry.
    pub(crate) fn note_append(&mut self, index: LogIndex) {
        let first = self.changes.append_from.map_or(index, |earlier| earlier.min(index));
        self.changes.append_from = Some(first);
    }

    /// Notes that the log was truncated; `index` is the first entry that was removed.
    pub(crate) fn note_truncation(&mut self, index: LogIndex) {
        let first = self.changes.truncate_from.map_or(index, |earlier| earlier.min(index));
        self.changes.truncate_from = Some(first);
        self.forget_beyond(index.previous().expect("no entry has index 0"));
    }

    /// Notes that the log was replaced with a snapshot. Up to `agreed`, the log and the snapshot are the
    /// same.
    pub(crate) fn note_restore(&mut self, snapshot: Arc<Snapshot>, agreed: LogIndex) {
        self.changes.truncate_from = Some(snapshot.last_included_index.next());
        self.changes.append_from = None;
        self.changes.snapshot = Some(snapshot);
        self.forget_beyond(agreed);
    }

    /// Notes that a durable part of the log was replaced with a snapshot.
    pub(crate) fn note_compaction(&mut self, snapshot: Arc<Snapshot>) {
        self.changes.snapshot = Some(snapshot);
    }

    /// Sends a message once everything written up to the end of this step is durable.
    pub(crate) fn send_once_durable(&mut self, to: Peer, message: Message) {
        self.to_withhold.push((to, message));
    }

    /// Whether an answer to this node about the log waits for the disk.
    pub(crate) fn withholds_answer_to(&self, leader: Peer) -> bool {
        self.withheld.iter().any(|(_, to, message)| *to == leader && is_about_log(message))
    }

    /// Ends a step: returns the write that it caused, if any, and withholds its promises.
    pub(crate) fn end_step(&mut self, now: Micros, hard_state: HardState, log: &Log) -> Option<Write> {
        let changes = mem::take(&mut self.changes);
        let write = self.write(changes, hard_state, log);
        if let Some(write) = &write {
            self.issued = write.id;
            let in_flight = InFlight { id: write.id, issued_at: now, last_index: log.last_index() };
            self.in_flight.push_back(in_flight);
            if write.hard_state.is_some() {
                self.hard_state_write = write.id;
            }
        }
        for (to, message) in mem::take(&mut self.to_withhold) {
            self.withhold(to, message);
        }
        write
    }

    /// The driver reports that every write up to `through` is durable.
    pub(crate) fn on_durable(&mut self, through: WriteId) {
        assert!(through <= self.issued, "write {through} reported durable, {} was the last", self.issued);
        self.durable = self.durable.max(through);
        while let Some(write) = self.in_flight.pop_front_if(|write| write.id <= through) {
            self.durable_index = write.last_index;
        }
    }

    /// The next message that may now be sent; `None` if there is none.
    pub(crate) fn poll_released(&mut self) -> Option<(Peer, Message)> {
        let durable = self.durable;
        let (_, to, message) = self.withheld.pop_front_if(|(write, ..)| *write <= durable)?;
        Some((to, message))
    }

    /// Feeds a hasher with what tells two of these apart between two steps: writes count by their distance
    /// from the last durable one.
    pub(crate) fn fingerprint(&self, state: &mut impl Hasher) {
        let Persistence {
            issued,
            durable: _,
            hard_state_write,
            durable_index,
            in_flight,
            withheld,
            changes: _,
            to_withhold: _,
        } = self;
        (self.distance(*issued), self.distance(*hard_state_write), durable_index).hash(state);
        // When a write was issued is only reported.
        for InFlight { id, issued_at: _, last_index } in in_flight {
            (self.distance(*id), last_index).hash(state);
        }
        for (write, to, message) in withheld {
            (self.distance(*write), to, message).hash(state);
        }
    }

    /// How many writes after the last durable one this is; 0 if it is durable.
    fn distance(&self, write: WriteId) -> u64 {
        write.0.saturating_sub(self.durable.0)
    }

    /// A write failed: no withheld message will ever be sent.
    pub(crate) fn fail(&mut self) {
        self.withheld.clear();
        self.to_withhold.clear();
        self.in_flight.clear();
        self.changes = Changes::default();
    }

    /// The write that makes these changes durable; `None` if nothing has changed.
    fn write(&self, changes: Changes, hard_state: HardState, log: &Log) -> Option<Write> {
        (changes != Changes::default()).then(|| Write {
            id: self.issued.next(),
            hard_state: changes.hard_state.then_some(hard_state),
            snapshot: changes.snapshot,
            truncate_from: changes.truncate_from,
            entries: changes.append_from.map_or_else(Vec::new, |from| log.suffix(from)),
        })
    }

    /// A second message of the same kind that waits for the same write replaces the first: a leader that
    /// repeats its request while this node's disk stalls must not make the queue grow.
    fn withhold(&mut self, to: Peer, message: Message) {
        let same = |(write, other, waiting): &&mut (WriteId, Peer, Message)| {
            *write == self.issued && *other == to && mem::discriminant(waiting) == mem::discriminant(&message)
        };
        match self.withheld.iter_mut().rev().take_while(|(write, ..)| *write == self.issued).find(same) {
            Some((_, _, waiting)) if is_overtaken_by(&message, waiting) => {}
            Some((_, _, waiting)) => *waiting = message,
            None => self.withheld.push_back((self.issued, to, message)),
        }
    }

    fn forget_beyond(&mut self, index: LogIndex) {
        self.durable_index = self.durable_index.min(index);
        for write in &mut self.in_flight {
            write.last_index = write.last_index.min(index);
        }
    }
}

fn is_about_log(message: &Message) -> bool {
    matches!(message, Message::AppendEntriesResponse(_) | Message::InstallSnapshotResponse(_))
}

/// Whether `new` is the answer to an append that was overtaken by the one that `waiting` answers.
fn is_overtaken_by(new: &Message, waiting: &Message) -> bool {
    match_of(new).is_some_and(|new| match_of(waiting).is_some_and(|waiting| new < waiting))
}

fn match_of(message: &Message) -> Option<(Term, LogIndex)> {
    let Message::AppendEntriesResponse(AppendEntriesResponse { term, outcome }) = message else {
        return None;
    };
    let AppendOutcome::Matched { match_index } = outcome else { return None };
    Some((*term, *match_index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{InstallSnapshotResponse, RequestVoteResponse};
    use crate::testing::{noop, peer};

    fn answer(term: u64, outcome: AppendOutcome) -> Message {
        Message::AppendEntriesResponse(AppendEntriesResponse { term: Term(term), outcome })
    }

    fn matched(term: u64, index: u64) -> Message {
        answer(term, AppendOutcome::Matched { match_index: LogIndex(index) })
    }

    /// The first entry was handed out, to be written, and these wait for it, each from a step of its own.
    fn withholding(messages: impl IntoIterator<Item = Message>) -> Persistence {
        let mut log = Log::new(None, Vec::new());
        log.append(noop(1, 1));
        let mut persistence = Persistence::new(LogIndex(0));
        persistence.note_append(LogIndex(1));
        let write = persistence.end_step(Micros(10), HardState::default(), &log);
        assert_eq!(write.map(|w| (w.id, w.entries.len())), Some((WriteId(1), 1)));
        for message in messages {
            persistence.send_once_durable(peer(1), message);
            assert_eq!(persistence.end_step(Micros(20), HardState::default(), &log), None);
        }
        persistence
    }

    fn released(persistence: &mut Persistence) -> Vec<Message> {
        core::iter::from_fn(|| persistence.poll_released()).map(|(_, message)| message).collect()
    }

    #[test]
    fn of_two_acknowledgements_that_wait_for_one_write_the_one_that_says_more_is_sent() {
        let (less, more, later) = (matched(1, 3), matched(1, 5), matched(2, 3));
        for (first, second, sent) in [
            (&less, &more, &more),
            (&more, &less, &more),
            (&more, &more, &more),
            (&more, &later, &later),
            (&later, &more, &later),
        ] {
            let mut persistence = withholding([first.clone(), second.clone()]);
            assert_eq!(released(&mut persistence), []);
            persistence.on_durable(WriteId(1));
            let released = released(&mut persistence);
            assert_eq!(released.as_slice(), core::slice::from_ref(sent), "{first:?}, then {second:?}");
        }
    }

    #[test]
    fn what_a_leader_waits_for_is_an_answer_about_the_log_and_to_itself() {
        let vote = RequestVoteResponse { term: Term(1), vote_granted: true };
        let installed = InstallSnapshotResponse { term: Term(1), match_index: LogIndex(1) };
        for (message, counts) in [
            (matched(1, 1), true),
            (Message::InstallSnapshotResponse(installed), true),
            (Message::RequestVoteResponse(vote), false),
        ] {
            let mut persistence = withholding([message.clone()]);
            assert_eq!(persistence.withholds_answer_to(peer(1)), counts, "{message:?}");
            assert!(!persistence.withholds_answer_to(peer(2)), "{message:?}");
            persistence.on_durable(WriteId(1));
            released(&mut persistence);
            assert!(!persistence.withholds_answer_to(peer(1)), "{message:?}");
        }
    }

    #[test]
    fn nothing_that_waits_for_a_write_is_sent_once_one_has_failed() {
        let mut persistence = withholding([matched(1, 1)]);
        assert_eq!(persistence.oldest_issued_at(), Some(Micros(10)));
        persistence.fail();
        persistence.on_durable(WriteId(1));
        assert_eq!(released(&mut persistence), []);
        assert_eq!((persistence.oldest_issued_at(), persistence.durable_index()), (None, LogIndex(0)));
    }

    /// Writes are told apart by how far they are from the last durable one, whatever their ids.
    #[test]
    fn a_write_under_way_and_what_waits_for_it_tell_nodes_apart_and_their_ids_do_not() {
        let fingerprint = |persistence: &Persistence| {
            let mut hasher = std::hash::DefaultHasher::new();
            persistence.fingerprint(&mut hasher);
            hasher.finish()
        };
        let under_way = withholding([]);
        let mut durable = under_way.clone();
        durable.on_durable(WriteId(1));
        assert_ne!(fingerprint(&durable), fingerprint(&under_way));
        assert_ne!(fingerprint(&withholding([matched(1, 1)])), fingerprint(&under_way));

        let mut later = durable.clone();
        later.note_hard_state();
        let mut log = Log::new(None, Vec::new());
        log.append(noop(1, 1));
        assert!(later.end_step(Micros(30), HardState::default(), &log).is_some());
        assert_eq!((later.distance(WriteId(2)), later.distance(WriteId(1))), (1, 0));
        assert_ne!(fingerprint(&later), fingerprint(&durable));
        later.on_durable(WriteId(2));
        assert_eq!(fingerprint(&later), fingerprint(&durable));
    }
}
