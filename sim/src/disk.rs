//! A disk and the store on it: transactions that survive a crash, and those that do not yet.
//!
//! The storage layer's own code decides whether a transaction goes to the journal or, as a checkpoint, to the
//! data file; it makes the bytes of either, and it reads them at the next start. A write is one transaction;
//! all writes that wait go into the next one (group commit), so at most one is in progress; after a failure
//! nothing more is written. A power cut leaves any subset of the sectors that are being written to the
//! journal, and a checkpoint either whole or not there at all, as LMDB promises. [`torn`](crate::torn) breaks
//! that promise, and [`damage`](crate::damage) makes stores rot.

use std::mem;
use std::sync::Arc;

use raft_core::{HardState, LogIndex, Recovered, Snapshot, Term, Write, WriteId};
use ticketd::identity::Identity;
use ticketd::storage::{Contents, Pending, Recorder, Step, StoreError, Value};

use crate::damage::Damage;
use crate::oracle::Oracle;
use crate::records::Records;
use crate::rng::Rng;
use crate::sectors::Sectors;
use crate::violated;

/// What a disk holds durably: the bytes, and beside them the values that were written. Nodes start from the
/// bytes; the values are what the bytes must decode to, and what the oracle looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) records: Records,
    pub(crate) journal: Sectors,
    /// The bytes are not what they should be: the next start must refuse the store.
    pub(crate) damage: Option<Damage>,
    /// The values that were written.
    pub(crate) written: Recovered,
}

impl Disk {
    /// A new store.
    pub(crate) fn new(identity: &Identity, hard_state: HardState, snapshot: Option<Arc<Snapshot>>) -> Disk {
        Disk {
            records: Records::new(identity, &hard_state, snapshot.as_deref()),
            journal: Sectors::new(identity.me.incarnation),
            written: Recovered { hard_state, snapshot, entries: Vec::new() },
            damage: None,
        }
    }

    /// Tells the node that it was added, while it does not run.
    pub(crate) fn set_identity(&mut self, identity: &Identity) {
        let mut recorder = match self.read() {
            Ok(contents) => contents.recorder(),
            Err(error) => violated!("{} is refused its new store: {error}", identity.me),
        };
        self.carry_out(recorder.put(Value::Identity(identity)));
    }

    /// Whether the bytes are what they should be.
    pub(crate) fn is_sound(&self) -> bool {
        self.damage.is_none()
    }

    /// What a node finds when it starts: everything that was written, and nothing else. A damaged store must
    /// be refused, and no other.
    pub(crate) fn open(&self, identity: &Identity) -> Result<Contents, StoreError> {
        let me = identity.me;
        let contents = match (self.read(), self.damage) {
            (Ok(contents), None) => contents,
            (Err(error), Some(damage)) => {
                damage.check_refusal(me, &error);
                return Err(error);
            }
            (Ok(_), Some(damage)) => violated!("{me} opens its store with {damage:?}"),
            (Err(error), None) => violated!("{me} is refused its own store: {error}"),
        };
        if contents.identity != *identity {
            violated!("{identity:?} finds a store of {:?}", contents.identity);
        }
        if contents.recovered != self.written {
            violated!("{me} finds {:?}, was written {:?}", contents.recovered, self.written);
        }
        let (found, written) = (contents.journalled, self.journal.transactions());
        if found != written {
            violated!("{me} finds {found} transactions in its journal, which has {written}");
        }
        Ok(contents)
    }

    /// The bytes, as a node reads them when it opens the store.
    pub(crate) fn read(&self) -> Result<Contents, StoreError> {
        self.records.read(self.journal.bytes())
    }

    /// Carries out the step that makes writes durable.
    fn carry_out(&mut self, step: Step<'_>) {
        match step {
            Step::Append { offset, bytes } => {
                self.journal.write(offset, bytes);
                self.mend_by_journal();
            }
            Step::Checkpoint(pending) => self.checkpoint(pending),
        }
    }

    /// Carries out as much of the step as a disk that loses power may. Returns whether that is all of it.
    fn carry_out_some(&mut self, step: Step<'_>, rng: &mut Rng) -> bool {
        match step {
            Step::Append { offset, bytes } => {
                let is_whole = self.journal.write_some(offset, bytes, rng);
                self.mend_by_journal();
                is_whole
            }
            Step::Checkpoint(_) => false,
        }
    }

    /// The journal was written to, perhaps over the damaged place.
    fn mend_by_journal(&mut self) {
        self.damage.take_if(|damage| damage.is_mended_by_journal(&self.journal));
    }

    fn checkpoint(&mut self, pending: &Pending) {
        if self.damage == Some(Damage::SetBack) {
            // The process that made the last checkpoint remembers it, and builds on it.
            self.records.set_back_or_forth();
        }
        self.records.make(pending);
        self.journal.clear();
        if self.damage.is_some() {
            self.records.forget_replaced();
        }
        self.damage.take_if(|damage| damage.is_mended_by_checkpoint(pending));
    }

    /// The term of the entry at `index`; `None` if there is no such entry, or if it is inside the snapshot.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        let (base, term) = self.written.base();
        if index == base {
            return Some(term);
        }
        self.written.entry(index).map(|e| e.term)
    }

    /// Whether the entry is there, itself or inside the snapshot.
    pub(crate) fn holds(&self, index: LogIndex, term: Term) -> bool {
        index < self.written.base().0 || self.term_at(index) == Some(term)
    }

    /// Records one durable write, and checks that it is valid: a store whose log has a gap could not be
    /// opened again.
    pub(crate) fn note(&mut self, write: Write, oracle: &mut Oracle) {
        let appended = write.entries.len();
        if let Err(why) = self.written.perform(write) {
            violated!("a disk is spoilt: {why}");
        }
        let entries = &self.written.entries;
        for entry in &entries[entries.len() - appended..] {
            let before = entry.index.previous().and_then(|index| self.term_at(index));
            oracle.on_written(before.expect("an entry follows another, or the snapshot"), entry);
        }
    }
}

/// The storage thread of one process.
#[derive(Debug)]
pub(crate) struct Storage {
    /// The state that the next transaction builds on.
    recorder: Recorder,
    /// Being written and synced.
    syncing: Vec<Write>,
    /// Waits for the transaction in progress.
    queued: Vec<Write>,
    last: Option<WriteId>,
    failed: bool,
}

impl Storage {
    /// The storage thread of a process that has found this state in its store.
    pub(crate) fn new(recorder: Recorder) -> Storage {
        Storage { recorder, syncing: Vec::new(), queued: Vec::new(), last: None, failed: false }
    }

    /// Queues a write; returns whether a transaction begins with it.
    pub(crate) fn submit(&mut self, write: Write) -> bool {
        if self.failed {
            return false;
        }
        if self.last.is_some_and(|last| write.id != last.next()) {
            violated!("write {} follows write {:?}", write.id, self.last);
        }
        self.last = Some(write.id);
        self.queued.push(write);
        self.begin()
    }

    /// Begins the next transaction, if none is in progress and a write waits; returns whether it did.
    pub(crate) fn begin(&mut self) -> bool {
        if !self.syncing.is_empty() || self.queued.is_empty() {
            return false;
        }
        mem::swap(&mut self.syncing, &mut self.queued);
        true
    }

    /// The transaction becomes durable.
    pub(crate) fn commit(&mut self, disk: &mut Disk, oracle: &mut Oracle) -> Option<WriteId> {
        let through = self.syncing.last()?.id;
        disk.carry_out(self.recorder.write(&self.syncing));
        self.syncing.drain(..).for_each(|write| disk.note(write, oracle));
        Some(through)
    }

    /// The transaction is cut short: nothing builds on it any more.
    pub(crate) fn cut(&mut self, disk: &mut Disk, rng: &mut Rng, oracle: &mut Oracle) {
        if self.syncing.is_empty() {
            return;
        }
        let is_whole = disk.carry_out_some(self.recorder.write(&self.syncing), rng);
        let writes = self.syncing.drain(..);
        if is_whole {
            writes.for_each(|write| disk.note(write, oracle));
        }
    }

    /// What the transaction in progress brings to the data file, if it is a checkpoint.
    pub(crate) fn checkpoint_under_way(&self) -> Option<Pending> {
        if self.syncing.is_empty() {
            return None;
        }
        match self.recorder.clone().write(&self.syncing) {
            Step::Append { .. } => None,
            Step::Checkpoint(pending) => Some(pending.clone()),
        }
    }

    /// The process is about to die: returns the writes of the transaction in progress.
    pub(crate) fn interrupt(&mut self) -> Vec<Write> {
        mem::take(&mut self.syncing)
    }

    /// The transaction failed; nothing more is ever written.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.syncing.clear();
        self.queued.clear();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::{Bench, append, compact, of_term, replace};

    /// Sectors are written over blank ones, over those of an earlier round, and over the remains of others.
    #[test]
    fn a_transaction_that_is_cut_short_is_there_with_all_its_sectors_or_never_was() {
        let base = Bench::new();
        let held =
            |Disk { written, journal, .. }: &Disk| (written.last(), written.base(), journal.transactions());
        let mut ends: BTreeMap<(usize, bool), u32> = BTreeMap::new();
        for seed in 0..500 {
            let mut bench = base.fork(seed);
            for round in 0..12 {
                let (last, _) = bench.disk.written.last();
                let term = 3 + round;
                let write = match round % 3 {
                    1 => replace(term, last.0..last.0 + 2),
                    2 if last.0 > bench.disk.written.base().0.0 + 1 => {
                        compact(last.0 - 1, bench.disk.term_at(last.previous().unwrap()).unwrap().0)
                    }
                    _ => append(term, last.0 + 1..last.0 + 60),
                };
                let before = held(&bench.disk);
                bench.cut(write);
                let after = held(&bench.disk);
                *ends.entry((after.2 - before.2, before == after)).or_default() += 1;
                // `restart` itself checks that all of it is found, or nothing.
                bench.restart();
            }
        }
        assert_eq!(ends.keys().copied().collect::<Vec<_>>(), [(0, true), (1, false)], "{ends:?}");
        assert!(ends.values().all(|times| *times > 100), "{ends:?}");
    }

    #[test]
    fn a_checkpoint_that_is_cut_short_never_was_and_one_that_is_made_brings_everything() {
        for seed in 0..20 {
            let mut bench = Bench::new().fork(seed);
            bench.commit(append(3, 6..9));
            bench.commit(replace(4, 5..7));
            bench.fill();
            bench.cut(append(4, 7..8));
            bench.restart();
            assert_eq!(bench.disk.written.last(), (LogIndex(6), Term(4)));
            let journalled = bench.disk.journal.transactions();
            bench.commit(compact(5, 4));
            assert_eq!((bench.disk.journal.transactions(), journalled > 0), (0, true));
            bench.restart();
            assert_eq!(
                (bench.disk.written.base(), bench.disk.written.last()),
                ((LogIndex(5), Term(4)), (LogIndex(6), Term(4)))
            );
        }
    }

    #[test]
    fn whatever_was_written_is_found_after_every_transaction_and_by_every_process() {
        let mut bench = Bench::new();
        let mut checkpoints = 0;
        for round in 0..100 {
            let (last, term) = (bench.disk.written.last().0.0, 3 + round / 10);
            bench.commit(match round % 5 {
                0 | 1 => append(term, last + 1..last + 3),
                2 => of_term(term),
                3 => replace(term, last..last + 2),
                _ => compact(bench.disk.written.base().0.0 + 1, bench.disk.written.entries[0].term.0),
            });
            checkpoints += usize::from(bench.disk.journal.transactions() == 0);
            assert!(bench.opens(), "round {round}");
            if round % 7 == 0 {
                bench.restart();
            }
        }
        assert!((8..20).contains(&checkpoints), "{checkpoints}");
    }

    #[test]
    fn who_a_node_is_goes_to_the_journal() {
        let mut bench = Bench::new();
        let identity = Identity {
            standing: ticketd::identity::Standing::Member {
                cluster: ticketd::identity::ClusterId(7),
                joined_at: LogIndex(3),
            },
            ..crate::testing::identity()
        };
        bench.disk.set_identity(&identity);
        assert_eq!(bench.disk.journal.transactions(), 1);
        assert_eq!(bench.disk.open(&identity).unwrap().identity, identity);
    }
}
