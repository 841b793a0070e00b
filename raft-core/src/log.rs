//! The log (Raft §5.3) and the snapshot that stands for its beginning (§7).
//!
//! The log in memory may be ahead of the disk; only [`Persistence`] knows which part is durable. Every entry
//! that is not compacted is in memory, so nothing is ever read back from a disk.
//!
//! [`Persistence`]: crate::persistence::Persistence

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::{APPEND_BYTES_MAX, ENTRIES_PER_APPEND_MAX};
use crate::membership::{Member, Membership};
use crate::types::{LogIndex, Term};

/// One entry of the log. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Its position.
    pub index: LogIndex,
    /// The term in which a leader appended it.
    pub term: Term,
    /// Its contents.
    pub payload: Payload,
}

/// The contents of an entry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Payload {
    /// Nothing. A new leader's first entry, which lets it find out what is committed (Raft §8).
    Noop,
    /// A command for the state machine.
    Command(Arc<[u8]>),
    /// The members from this entry on (dissertation §4.1).
    Membership(Arc<Membership>),
}

/// About how many bytes of a message an entry takes besides its command, and a member besides its addresses.
const OVERHEAD_BYTES: usize = 32;

impl Payload {
    /// About how many bytes this takes in a message.
    fn weight(&self) -> usize {
        let content: usize = match self {
            Payload::Noop => 0,
            Payload::Command(command) => command.len(),
            Payload::Membership(membership) => {
                let addresses = |member: &Member| member.peer_address.len() + member.client_address.len();
                membership.members.values().map(|member| OVERHEAD_BYTES + addresses(member)).sum()
            }
        };
        OVERHEAD_BYTES + content
    }
}

/// The state of the cluster after one entry, which replaces the log up to that entry (Raft §7).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Snapshot {
    /// Index of the last entry that the snapshot replaces.
    pub last_included_index: LogIndex,
    /// Term of that entry.
    pub last_included_term: Term,
    /// The membership after that entry.
    pub membership: Arc<Membership>,
    /// The state machine's state after that entry.
    pub state: Arc<[u8]>,
}

/// The log of one node.
#[derive(Clone, Hash, Debug)]
pub(crate) struct Log {
    snapshot: Option<Arc<Snapshot>>,
    entries: VecDeque<Entry>,
    /// The snapshot's membership and every later one, oldest first, each with the index from which it holds.
    memberships: Vec<(LogIndex, Arc<Membership>)>,
}

impl Log {
    /// A log with the contents of a store. Panics if the entries do not follow the snapshot without a gap, or
    /// if their terms decrease: a store checks that before it hands them out.
    pub(crate) fn new(snapshot: Option<Arc<Snapshot>>, entries: Vec<Entry>) -> Log {
        let mut log = Log::empty(snapshot);
        for entry in entries {
            log.append(entry);
        }
        log
    }

    fn empty(snapshot: Option<Arc<Snapshot>>) -> Log {
        let first = match &snapshot {
            Some(s) => (s.last_included_index, Arc::clone(&s.membership)),
            None => (LogIndex(0), Arc::new(Membership::default())),
        };
        Log { snapshot, entries: VecDeque::new(), memberships: Vec::from([first]) }
    }

    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// Where the log begins: the index and term of the last entry that the snapshot replaces.
    pub(crate) fn base(&self) -> (LogIndex, Term) {
        self.snapshot
            .as_ref()
            .map_or((LogIndex(0), Term(0)), |s| (s.last_included_index, s.last_included_term))
    }

    pub(crate) fn last_index(&self) -> LogIndex {
        self.entries.back().map_or(self.base().0, |e| e.index)
    }

    pub(crate) fn last_term(&self) -> Term {
        self.entries.back().map_or(self.base().1, |e| e.term)
    }

    pub(crate) fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base().0.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// The term at `index`; `None` if the log does not reach that index or has compacted it.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        let (base_index, base_term) = self.base();
        if index == base_index { Some(base_term) } else { self.entry(index).map(|e| e.term) }
    }

    /// The entries from `from` on, as many as one message may carry, and at least one if there is any.
    pub(crate) fn batch(&self, from: LogIndex) -> Vec<Entry> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        let mut index = from;
        while let Some(entry) = self.entry(index) {
            bytes += entry.payload.weight();
            if batch.len() == ENTRIES_PER_APPEND_MAX || (bytes > APPEND_BYTES_MAX && !batch.is_empty()) {
                break;
            }
            batch.push(entry.clone());
            index = index.next();
        }
        batch
    }

    /// Every entry from `from` on.
    pub(crate) fn suffix(&self, from: LogIndex) -> Vec<Entry> {
        let skipped = from.0.saturating_sub(self.base().0.0 + 1);
        self.entries.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX)).cloned().collect()
    }

    /// The highest index up to `index` whose term is at most `term`. Beyond it, a log that has `term` at
    /// `index` cannot agree with this one (the optimisation of Raft §5.3, which skips a whole term at a
    /// time).
    pub(crate) fn last_index_of_term_at_most(&self, term: Term, index: LogIndex) -> LogIndex {
        let mut candidate = index.min(self.last_index());
        while self.term_at(candidate).is_some_and(|t| t > term) {
            match candidate.previous() {
                Some(previous) => candidate = previous,
                None => break,
            }
        }
        candidate
    }

    /// Whether a log that ends with this index and term is at least as up to date as this one (Raft §5.4.1).
    pub(crate) fn is_up_to_date(&self, last_log_index: LogIndex, last_log_term: Term) -> bool {
        (last_log_term, last_log_index) >= (self.last_term(), self.last_index())
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        let last = self.last_index();
        assert!(entry.index == last.next(), "entry {} appended after entry {last}", entry.index);
        let last_term = self.last_term();
        assert!(entry.term >= last_term, "entry of term {} appended after term {last_term}", entry.term);
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.push((entry.index, Arc::clone(membership)));
        }
        self.entries.push_back(entry);
    }

    /// Removes the entries from `index` on, and the memberships that they hold.
    pub(crate) fn truncate_from(&mut self, index: LogIndex) {
        let base = self.base().0;
        assert!(index > base, "truncation at {index}, which the snapshot at {base} covers");
        while self.entries.pop_back_if(|entry| entry.index >= index).is_some() {}
        self.memberships.retain(|(at, _)| *at < index);
    }

    /// Replaces the entries up to `through` with a snapshot of `state`.
    pub(crate) fn compact(&mut self, through: LogIndex, state: Arc<[u8]>) -> Arc<Snapshot> {
        let term = self.term_at(through).expect("what is compacted was applied, so it is in the log");
        let kept = self.memberships.partition_point(|(at, _)| *at <= through) - 1;
        self.memberships.drain(..kept);
        let snapshot = Arc::new(Snapshot {
            last_included_index: through,
            last_included_term: term,
            membership: Arc::clone(&self.memberships[0].1),
            state,
        });
        while self.entries.pop_front_if(|entry| entry.index <= through).is_some() {}
        self.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Replaces the whole log with a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Arc<Snapshot>) {
        *self = Log::empty(Some(snapshot));
    }

    /// The membership in force: the latest in the log, committed or not (dissertation §4.1).
    pub(crate) fn membership(&self) -> &Arc<Membership> {
        &self.latest_membership().1
    }

    /// The index of the entry that holds the membership in force, or of the snapshot that does.
    pub(crate) fn membership_index(&self) -> LogIndex {
        self.latest_membership().0
    }

    /// The membership before the one in force; the one in force if the log holds no earlier one. It is
    /// committed: a leader does not append a membership before the last one is committed (dissertation §4.1).
    pub(crate) fn previous_membership(&self) -> &Arc<Membership> {
        &self.memberships[self.memberships.len().saturating_sub(2)].1
    }

    /// The membership that held at `index`; the snapshot's for an index before the snapshot.
    pub(crate) fn membership_at(&self, index: LogIndex) -> &Arc<Membership> {
        let after = self.memberships.partition_point(|(at, _)| *at <= index);
        &self.memberships[after.saturating_sub(1)].1
    }

    fn latest_membership(&self) -> &(LogIndex, Arc<Membership>) {
        self.memberships.last().expect("the snapshot's membership is never removed")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use super::*;
    use crate::membership::{Member, Suffrage};
    use crate::testing::peer;
    use crate::types::Incarnation;

    fn log(payloads: impl IntoIterator<Item = Payload>) -> Log {
        let entries = (1..).zip(payloads);
        let entries = entries.map(|(at, payload)| Entry { index: LogIndex(at), term: Term(1), payload });
        Log::new(None, entries.collect())
    }

    fn command(bytes: usize) -> Payload {
        Payload::Command(Arc::from(vec![0; bytes]))
    }

    /// A membership whose addresses, two for each member, have this many bytes.
    fn membership(address_bytes: &[usize]) -> Payload {
        let address = |bytes: usize| String::from_utf8(vec![b'a'; bytes]).unwrap();
        let members = (1..).zip(address_bytes).map(|(id, bytes)| {
            let member = Member {
                incarnation: Incarnation(1),
                suffrage: Suffrage::Voter,
                peer_address: address(*bytes),
                client_address: address(2 * bytes),
            };
            (peer(id).id, member)
        });
        Payload::Membership(Arc::new(Membership { members: members.collect() }))
    }

    /// How long the peer protocol's longest frame may be rests on this.
    #[test]
    fn an_entry_weighs_32_bytes_and_what_it_carries_and_32_for_each_member() {
        assert_eq!(Payload::Noop.weight(), 32);
        assert_eq!(command(100).weight(), 132);
        assert_eq!(membership(&[]).weight(), 32);
        assert_eq!(membership(&[10, 7]).weight(), 32 + (32 + 10 + 20) + (32 + 7 + 14));
    }

    /// The peer protocol's document gives this number.
    #[test]
    fn an_append_carries_64_kib_of_entries() {
        assert_eq!(APPEND_BYTES_MAX, 65_536);
    }

    #[test]
    fn a_batch_ends_before_the_entry_that_would_take_it_beyond_its_bytes() {
        let half = APPEND_BYTES_MAX / 2 - 32;
        for (second, taken) in [(half, 2), (half + 1, 1)] {
            let log = log([command(half), command(second), Payload::Noop]);
            assert_eq!(log.batch(LogIndex(1)).len(), taken, "{half} and {second} bytes");
        }
        let log = log([command(2 * APPEND_BYTES_MAX), Payload::Noop]);
        assert_eq!(log.batch(LogIndex(1)).len(), 1, "a larger entry travels alone");
    }

    #[test]
    fn a_batch_ends_at_its_number_of_entries() {
        let log = log((0..ENTRIES_PER_APPEND_MAX + 1).map(|_| Payload::Noop));
        assert_eq!(log.batch(LogIndex(1)).len(), ENTRIES_PER_APPEND_MAX);
        assert_eq!(log.batch(LogIndex(2)).len(), ENTRIES_PER_APPEND_MAX);
        assert_eq!(log.batch(LogIndex(3)).len(), ENTRIES_PER_APPEND_MAX - 1);
    }
}
