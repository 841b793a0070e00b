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
        let write = self.pending.pop_front()?;
        let id = write.id;
        self.durable.perform(write).expect("a sound node writes nothing else");
        Some(id)
    }
}
