//! A disk: what a crash leaves, and the writes that it would lose.

use std::collections::VecDeque;

use raft_core::{Recovered, Write, WriteId};

use crate::violation::Violation;

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
        let id = write.id;
        self.durable.perform(write).map_err(Violation)?;
        Ok(Some(id))
    }
}
