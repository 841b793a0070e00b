//! A disk on which a write becomes durable only when the test says so.

use std::collections::VecDeque;

use raft_core::{Recovered, Write, WriteId};

/// What a crash leaves, and what waits to be part of it.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    durable: Recovered,
    pending: VecDeque<Write>,
    last_submitted: WriteId,
}

impl Disk {
    pub(crate) fn new(durable: Recovered) -> Disk {
        Disk { durable, pending: VecDeque::new(), last_submitted: WriteId(0) }
    }

    /// What a crash leaves.
    pub(crate) fn durable(&self) -> &Recovered {
        &self.durable
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

    fn carry_out(&mut self, write: Write) {
        let durable = &mut self.durable;
        let Write { id: _, hard_state, snapshot, truncate_from, entries } = write;
        if let Some(hard_state) = hard_state {
            let (old, new) = (durable.hard_state, hard_state);
            assert!(new.current_term >= old.current_term, "the durable term went back: {old:?}, {new:?}");
            let changes_vote = new.current_term == old.current_term && old.voted_for.is_some();
            assert!(!changes_vote || new.voted_for == old.voted_for, "a vote was changed: {old:?}, {new:?}");
            durable.hard_state = hard_state;
        }
        if let Some(snapshot) = snapshot {
            let index = snapshot.last_included_index;
            assert!(index > durable.base().0, "a snapshot went back to {index}");
            durable.entries.retain(|e| e.index > index);
            durable.snapshot = Some(snapshot);
        }
        if let Some(from) = truncate_from {
            durable.entries.retain(|e| e.index < from);
        }
        for entry in entries {
            let (last, last_term) = durable.last();
            assert_eq!(entry.index, last.next(), "an entry that does not follow the last one was written");
            assert!(entry.term >= last_term, "terms in the log went back at {}", entry.index);
            durable.entries.push(entry);
        }
        let (last, last_term) = durable.last();
        let term = durable.hard_state.current_term;
        assert!(last_term <= term, "entry {last} is of term {last_term}, the durable term is {term}");
    }
}
