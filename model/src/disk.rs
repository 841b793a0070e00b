//! A disk: what a crash leaves, and the writes that it would lose.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{Recovered, Snapshot, Write, WriteId};

use crate::history::{Violation, ensure};

#[derive(Clone)]
pub(crate) struct Disk {
    durable: Recovered,
    pending: VecDeque<Write>,
}

impl Disk {
    pub(crate) fn new(durable: Recovered) -> Disk {
        Disk { durable, pending: VecDeque::new() }
    }

    /// All that is durable.
    pub(crate) fn durable(&self) -> &Recovered {
        &self.durable
    }

    /// What a crash would lose: parts of writes without their ids, which start over in each life.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Write> + '_ {
        self.pending.iter().map(|write| Write { id: WriteId(0), ..write.clone() })
    }

    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn submit(&mut self, write: Write) {
        self.pending.push_back(write);
    }

    pub(crate) fn crash(&mut self) {
        self.pending.clear();
    }

    /// Makes the oldest write durable.
    pub(crate) fn sync(&mut self) -> Result<Option<WriteId>, Violation> {
        let Some(write) = self.pending.pop_front() else { return Ok(None) };
        let Write { id, hard_state, snapshot, truncate_from, entries } = write;
        if let Some(new) = hard_state {
            let old = self.durable.hard_state;
            let sound = new.current_term > old.current_term
                || (new.current_term == old.current_term
                    && (old.voted_for.is_none() || new.voted_for == old.voted_for));
            ensure(sound, || format!("the durable term or vote goes back from {old:?} to {new:?}"))?;
            self.durable.hard_state = new;
        }
        if let Some(snapshot) = snapshot {
            self.restore(snapshot)?;
        }
        if let Some(from) = truncate_from {
            self.durable.entries.retain(|e| e.index < from);
        }
        for entry in entries {
            let (last, _) = self.durable.last();
            ensure(entry.index == last.next(), || format!("entry {} written after {last}", entry.index))?;
            self.durable.entries.push(entry);
        }
        let (term, current) = (self.durable.last().1, self.durable.hard_state.current_term);
        ensure(term <= current, || format!("an entry of term {term} is durable, the term {current} is"))?;
        Ok(Some(id))
    }

    fn restore(&mut self, snapshot: Arc<Snapshot>) -> Result<(), Violation> {
        let (base, index) = (self.durable.base().0, snapshot.last_included_index);
        ensure(index > base, || format!("a snapshot of {index} replaces one of {base}"))?;
        self.durable.entries.retain(|e| e.index > index);
        self.durable.snapshot = Some(snapshot);
        Ok(())
    }
}
