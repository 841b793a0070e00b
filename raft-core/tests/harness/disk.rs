//! A disk on which a write becomes durable only when the test says so.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{Durable, Entry, HardState, LogIndex, Recovered, Snapshot, Term, Write, WriteId};

/// What a crash leaves, and what waits to be part of it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    hard_state: HardState,
    snapshot: Option<Arc<Snapshot>>,
    entries: Vec<Entry>,
    pending: VecDeque<Write>,
    last_submitted: WriteId,
}

impl Disk {
    pub(crate) fn new(recovered: Recovered) -> Disk {
        let Recovered { hard_state, snapshot, entries } = recovered;
        Disk { hard_state, snapshot, entries, pending: VecDeque::new(), last_submitted: WriteId(0) }
    }

    /// Takes a write; it is not durable yet.
    pub(crate) fn submit(&mut self, write: Write) {
        let last = self.last_submitted;
        assert_eq!(write.id, last.next(), "write ids ascend by one");
        self.last_submitted = write.id;
        self.pending.push_back(write);
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Makes the oldest write durable.
    pub(crate) fn sync_one(&mut self) -> Option<WriteId> {
        let write = self.pending.pop_front()?;
        let id = write.id;
        self.carry_out(write);
        Some(id)
    }

    /// Loses what is not durable, as a crash does; the ids of the next life begin anew.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
        self.last_submitted = WriteId(0);
    }

    pub(crate) fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
            entries: self.entries.clone(),
        }
    }

    /// All of it that a promise may rest on.
    pub(crate) fn durable<'a>(&'a self) -> Durable<impl Fn(LogIndex) -> Option<&'a Entry>> {
        Durable { hard_state: self.hard_state, last: self.last(), entry: |index| self.entry(index) }
    }

    /// Index and term of the last durable entry.
    pub(crate) fn last(&self) -> (LogIndex, Term) {
        self.entries.last().map_or(self.base(), |e| (e.index, e.term))
    }

    /// Whether exactly this entry is durable, or a snapshot that includes its index.
    pub(crate) fn holds(&self, entry: &Entry) -> bool {
        let (base, _) = self.base();
        entry.index <= base || self.entry(entry.index) == Some(entry)
    }

    fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let (base, _) = self.base();
        let offset = index.0.checked_sub(base.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    fn base(&self) -> (LogIndex, Term) {
        self.snapshot
            .as_ref()
            .map_or((LogIndex(0), Term(0)), |s| (s.last_included_index, s.last_included_term))
    }

    fn carry_out(&mut self, write: Write) {
        let Write { id: _, hard_state, snapshot, truncate_from, entries } = write;
        if let Some(hard_state) = hard_state {
            let (old, new) = (self.hard_state, hard_state);
            assert!(new.current_term >= old.current_term, "the durable term went back: {old:?}, {new:?}");
            let changes_vote = new.current_term == old.current_term && old.voted_for.is_some();
            assert!(!changes_vote || new.voted_for == old.voted_for, "a vote was changed: {old:?}, {new:?}");
            self.hard_state = hard_state;
        }
        if let Some(snapshot) = snapshot {
            let index = snapshot.last_included_index;
            assert!(index > self.base().0, "a snapshot went back to {index}");
            self.entries.retain(|e| e.index > index);
            self.snapshot = Some(snapshot);
        }
        if let Some(from) = truncate_from {
            self.entries.retain(|e| e.index < from);
        }
        for entry in entries {
            let (last, last_term) = self.last();
            assert_eq!(entry.index, last.next(), "an entry that does not follow the last one was written");
            assert!(entry.term >= last_term, "terms in the log went back at {}", entry.index);
            self.entries.push(entry);
        }
        let (last, last_term) = self.last();
        let term = self.hard_state.current_term;
        assert!(last_term <= term, "entry {last} is of term {last_term}, the durable term is {term}");
    }
}
