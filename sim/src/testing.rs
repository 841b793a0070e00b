//! A store for tests, and the process that writes to it.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use raft_core::{
    Entry, HardState, Incarnation, LogIndex, NodeId, Payload, Peer, Snapshot, Term, Write, WriteId,
};
use ticketd::identity::{self, Identity};
use ticketd::node::initial_state;

use crate::disk::{Disk, Storage};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::sectors::JOURNAL_BYTES;

/// How many small transactions fit into a journal: each takes one block.
pub(crate) const JOURNAL_TRANSACTIONS: usize = 8;
const _: () = assert!(JOURNAL_TRANSACTIONS as u64 * 4096 == JOURNAL_BYTES, "a block has 4096 bytes");

pub(crate) fn identity() -> Identity {
    let me = Peer { id: NodeId::new(1).unwrap(), incarnation: Incarnation(1) };
    Identity { me, standing: identity::Standing::Joining }
}

/// A snapshot, for a cluster to begin with or to compact its log to.
pub(crate) fn snapshot(index: u64, term: u64) -> Snapshot {
    Snapshot {
        last_included_index: LogIndex(index),
        last_included_term: Term(term),
        membership: Arc::default(),
        state: initial_state(NonZeroU64::MIN),
    }
}

/// A write of nothing but a term.
pub(crate) fn of_term(term: u64) -> Write {
    Write {
        id: WriteId(1),
        hard_state: Some(HardState { current_term: Term(term), voted_for: None }),
        snapshot: None,
        truncate_from: None,
        entries: Vec::new(),
    }
}

/// A write that appends these entries.
pub(crate) fn append(term: u64, entries: Range<u64>) -> Write {
    let entry = |index| Entry { index: LogIndex(index), term: Term(term), payload: Payload::Noop };
    Write { entries: entries.map(entry).collect(), ..of_term(term) }
}

/// A write that replaces the entries from the first of these on with these.
pub(crate) fn replace(term: u64, entries: Range<u64>) -> Write {
    Write { truncate_from: Some(LogIndex(entries.start)), ..append(term, entries) }
}

/// A write that compacts the log.
pub(crate) fn compact(index: u64, term: u64) -> Write {
    Write { snapshot: Some(Arc::new(snapshot(index, term))), hard_state: None, ..of_term(term) }
}

/// A disk, a process that writes to it, and the oracle.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) disk: Disk,
    pub(crate) rng: Rng,
    storage: Storage,
    oracle: Oracle,
    writes: u64,
}

impl Bench {
    /// A disk with entries 2 to 5 of term 2 in the data file, and nothing in the journal.
    pub(crate) fn new() -> Bench {
        let hard_state = HardState { current_term: Term(1), voted_for: None };
        let disk = Disk::new(&identity(), hard_state, Some(Arc::new(snapshot(1, 1))));
        let mut bench = Bench::on(disk, 0);
        bench.commit(append(2, 2..6));
        bench.fill();
        bench.commit(of_term(2));
        assert_eq!(bench.disk.journal.transactions(), 0);
        bench
    }

    fn on(disk: Disk, seed: u64) -> Bench {
        let storage = Storage::new(disk.open(&identity()).unwrap().recorder());
        Bench { disk, rng: Rng::new(seed, 0), storage, oracle: Oracle::new(&snapshot(1, 1)), writes: 0 }
    }

    /// A copy of the disk, with a process that has just been started.
    pub(crate) fn fork(&self, seed: u64) -> Bench {
        Bench::on(self.disk.clone(), seed)
    }

    /// Fills the journal, so that the next transaction is a checkpoint.
    pub(crate) fn fill(&mut self) {
        let term = self.disk.written.hard_state.current_term.0;
        while self.disk.journal.transactions() < JOURNAL_TRANSACTIONS {
            self.commit(of_term(term));
        }
    }

    fn submit(&mut self, write: Write) -> WriteId {
        self.writes += 1;
        let id = WriteId(self.writes);
        assert!(self.storage.submit(Write { id, ..write }));
        id
    }

    pub(crate) fn commit(&mut self, write: Write) {
        let id = self.submit(write);
        assert_eq!(self.storage.commit(&mut self.disk, &mut self.oracle), Some(id));
    }

    /// The process dies while it writes.
    pub(crate) fn cut(&mut self, write: Write) {
        self.submit(write);
        self.storage.cut(&mut self.disk, &mut self.rng, &mut self.oracle);
    }

    /// The process dies during a checkpoint, which is torn. Returns what became of it.
    pub(crate) fn tear(&mut self, write: Write) -> &'static str {
        self.submit(write);
        let pending = self.storage.checkpoint_under_way().unwrap();
        let writes = self.storage.interrupt();
        self.disk.tear(&pending, writes, &mut self.rng, &mut self.oracle)
    }

    /// Starts another process.
    pub(crate) fn restart(&mut self) {
        self.storage = Storage::new(self.disk.open(&identity()).unwrap().recorder());
        self.writes = 0;
    }

    /// Whether the store opens. The disk itself has checked the error if it does not, and the contents if it
    /// does.
    pub(crate) fn opens(&self) -> bool {
        self.disk.open(&identity()).is_ok()
    }
}
