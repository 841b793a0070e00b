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
        self.durable.perform(write).expect("a sound node writes nothing else");
        Some(id)
    }

    /// Loses what is not durable, as a crash does; the ids of the next life begin anew.
    pub(crate) fn crash(&mut self) {
        self.pending.clear();
        self.last_submitted = WriteId(0);
    }
}
