//! A disk that checks what is written to it.

use std::collections::VecDeque;

use raft_core::{Recovered, Write, WriteId};

pub(crate) struct Disk {
    pub(crate) durable: Recovered,
    pending: VecDeque<Write>,
    submitted: WriteId,
}

impl Disk {
    pub(crate) fn new(durable: Recovered) -> Disk {
        Disk { durable, pending: VecDeque::new(), submitted: WriteId(0) }
    }

    pub(crate) fn submit(&mut self, write: Write) {
        assert_eq!(write.id, self.submitted.next(), "write ids ascend by one");
        self.submitted = write.id;
        self.pending.push_back(write);
    }

    /// Makes the oldest write durable.
    pub(crate) fn sync(&mut self) -> Option<WriteId> {
        let Write { id, hard_state, snapshot, truncate_from, entries } = self.pending.pop_front()?;
        if let Some(new) = hard_state {
            let old = self.durable.hard_state;
            assert!(new.current_term >= old.current_term, "the term goes back: {old:?}, {new:?}");
            let same_vote = old.voted_for.is_none() || new.voted_for == old.voted_for;
            assert!(new.current_term > old.current_term || same_vote, "a vote changes: {old:?}, {new:?}");
            self.durable.hard_state = new;
        }
        if let Some(snapshot) = snapshot {
            let (base, index) = (self.durable.base().0, snapshot.last_included_index);
            assert!(index > base, "a snapshot of {index} after one of {base}");
            self.durable.entries.retain(|e| e.index > index);
            self.durable.snapshot = Some(snapshot);
        }
        if let Some(from) = truncate_from {
            self.durable.entries.retain(|e| e.index < from);
        }
        for entry in entries {
            let (last, last_term) = self.durable.last();
            assert_eq!(entry.index, last.next(), "an entry that does not follow the last one is written");
            assert!(entry.term >= last_term, "terms go back at {}", entry.index);
            self.durable.entries.push(entry);
        }
        let (last, last_term) = self.durable.last();
        let current = self.durable.hard_state.current_term;
        assert!(last_term <= current, "entry {last} is of term {last_term}, the durable term is {current}");
        Some(id)
    }
}
