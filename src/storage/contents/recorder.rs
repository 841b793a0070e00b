//! Decides where a transaction goes: to the journal, or, with everything that waits there, to the data file.
//!
//! ```text
//! plan       writes of the core   -> changes of records
//! changes    changes of records   -> the bytes of a transaction
//! sectors    bytes                -> sectors of the journal, or no room
//! recorder   all of these         -> one step to carry out
//! ```
//!
//! Pure: writes in, one step out. It must never know where the step is carried out: on the files of an open
//! store, or on a simulated disk that tears and rots.

use raft_core::Write;

use super::plan::LogShape;
use crate::storage::journal::{Journal, encode, read_changes};
use crate::storage::record::{Change, Inventory, Pending, Value};

/// Room for an entry of the usual size, so that the buffer does not grow again and again while it is encoded.
const TRANSACTION_BYTES_USUAL: usize = 256;

/// The step that makes a transaction durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'r> {
    /// Write these bytes, whole sectors, to the journal and sync it.
    Append {
        /// Where, in bytes from the front.
        offset: u64,
        /// The sectors.
        bytes: &'r [u8],
    },
    /// Make all of these changes in the data file, as one batch.
    Checkpoint(&'r Pending),
}

/// What is recorded so far: the shape of the log, where the journal ends, and what waits there for the data
/// file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorder {
    shape: LogShape,
    journal: Journal,
    pending: Pending,
    /// The records of the data file and the journal together.
    inventory: Inventory,
    /// Whether the last step brought everything pending to the data file.
    is_checkpointed: bool,
    /// Buffer in which the bytes of a transaction are put together.
    transaction: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(shape: LogShape, journal: Journal, pending: Pending, inventory: Inventory) -> Recorder {
        Recorder {
            shape,
            journal,
            pending,
            inventory,
            is_checkpointed: false,
            transaction: Vec::with_capacity(TRANSACTION_BYTES_USUAL),
        }
    }

    /// Records these writes, in order, as one transaction. The next step builds on this one, so if it fails,
    /// no other may follow.
    ///
    /// # Panics
    /// If a write does not follow on what is there (see [`Write`]).
    #[must_use]
    pub fn write(&mut self, writes: &[Write]) -> Step<'_> {
        let changes = self.shape.plan(writes);
        self.step(&changes)
    }

    /// Records a value that no plan builds on. As with [`Recorder::write`], no other step may follow if this
    /// one fails.
    #[must_use]
    pub fn put(&mut self, value: Value<'_>) -> Step<'_> {
        self.step(&[Change::Put(value)])
    }

    /// Records a value that no plan builds on in the data file, together with everything that waits in the
    /// journal.
    #[must_use]
    pub(crate) fn put_in_data_file(&mut self, value: Value<'_>) -> Step<'_> {
        self.begin(&[Change::Put(value)]);
        self.checkpoint()
    }

    fn step(&mut self, changes: &[Change<'_>]) -> Step<'_> {
        self.begin(changes);
        if !self.journal.has_room(self.transaction.len()) {
            return self.checkpoint();
        }
        let (offset, bytes) = self.journal.append(&self.transaction);
        Step::Append { offset, bytes }
    }

    /// Encodes the transaction, and notes what it changes.
    fn begin(&mut self, changes: &[Change<'_>]) {
        if self.is_checkpointed {
            self.pending.clear();
            self.is_checkpointed = false;
        }
        encode(changes, &mut self.transaction);
        // Decoded as in the collector, when it finds the transaction in the journal.
        for change in read_changes(&self.transaction) {
            let (key, record) = change.expect("it was encoded right above");
            self.pending.set(key, record);
            self.inventory.set(key, record);
        }
    }

    fn checkpoint(&mut self) -> Step<'_> {
        let value = Value::Checkpoint(self.journal.checkpoint(self.inventory.checksum()));
        let mut record = Vec::new();
        value.encode(&mut record);
        self.pending.set(value.key(), Some(&record));
        self.is_checkpointed = true;
        Step::Checkpoint(&self.pending)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raft_core::LogIndex;

    use super::*;
    use crate::storage::MAP_BYTES_MIN;
    use crate::storage::contents::Contents;
    use crate::storage::testing::{
        Records, append, entry, member, new_store_records, nothing, read_records, snapshot,
    };

    /// A store in memory.
    struct Store {
        records: Records,
        journal: Vec<u8>,
    }

    /// How many steps of each kind there were.
    #[derive(Default)]
    struct Steps {
        appends: usize,
        checkpoints: usize,
    }

    impl Store {
        fn new(journal_bytes: u64) -> Store {
            let journal = Journal::blank(member().me.incarnation, journal_bytes);
            Store { records: new_store_records(journal_bytes), journal }
        }

        fn open(&self) -> Contents {
            read_records(&self.records, &self.journal).unwrap()
        }

        fn carry_out(&mut self, step: Step<'_>, steps: &mut Steps) {
            match step {
                Step::Append { offset, bytes } => {
                    self.journal[usize::try_from(offset).unwrap()..][..bytes.len()].copy_from_slice(bytes);
                    steps.appends += 1;
                }
                Step::Checkpoint(pending) => {
                    for (key, record) in pending.iter() {
                        match record {
                            Some(record) => drop(self.records.insert(*key, record.to_vec())),
                            None => drop(self.records.remove(key)),
                        }
                    }
                    steps.checkpoints += 1;
                }
            }
        }
    }

    /// After every step, of either kind, a store that is opened again holds everything and continues in the
    /// same way.
    #[test]
    fn whatever_was_recorded_is_there_after_every_step() {
        let mut store = Store::new(4 * 4096);
        let mut recorder = store.open().recorder();
        let mut steps = Steps::default();
        let mut last = 1;
        for round in 0..40 {
            let writes = match round % 5 {
                0..=2 => vec![append(1, last + 1..=last + 3, 9), append(2, last + 4..=last + 4, 9)],
                3 => vec![Write { truncate_from: Some(LogIndex(last)), ..append(1, last..=last + 80, 9) }],
                _ => vec![Write { snapshot: Some(Arc::new(snapshot(last - 2, 9))), ..nothing(1) }],
            };
            store.carry_out(recorder.write(&writes), &mut steps);
            let contents = store.open();
            let log = &contents.recovered.entries;
            last = log.last().unwrap().index.0;
            let base = contents.recovered.snapshot.as_ref().unwrap().last_included_index.0;
            let expected: Vec<_> =
                (base + 1..=last).map(|index| entry(index, if index == 1 { 1 } else { 9 })).collect();
            assert_eq!(*log, expected, "round {round}");
            let anew = contents.recorder();
            assert_eq!(anew.journal.last(), recorder.journal.last(), "round {round}");
            if round % 7 == 0 {
                recorder = anew;
            }
        }
        assert!(steps.appends > 20 && steps.checkpoints > 5, "{} {}", steps.appends, steps.checkpoints);
    }

    #[test]
    fn a_record_that_is_to_be_in_the_data_file_goes_there_with_all_that_waits() {
        let mut store = Store::new(4 * 4096);
        let mut recorder = store.open().recorder();
        let mut steps = Steps::default();
        store.carry_out(recorder.write(&[append(1, 2..=3, 9)]), &mut steps);
        store.carry_out(recorder.put_in_data_file(Value::MapSize(2 * MAP_BYTES_MIN)), &mut steps);
        assert_eq!((steps.appends, steps.checkpoints), (1, 1));
        let blank = Journal::blank(member().me.incarnation, 4 * 4096);
        assert_ne!(store.journal, blank);
        store.journal = blank;
        let contents = store.open();
        assert_eq!(contents.recovered.entries, [entry(2, 9), entry(3, 9)]);
        assert_eq!(contents.map_bytes, 2 * MAP_BYTES_MIN);
        // What a checkpoint brought to the data file is not brought there again.
        store.carry_out(recorder.put(Value::MapSize(3 * MAP_BYTES_MIN)), &mut steps);
        assert_eq!(recorder.pending.iter().count(), 1);
        assert_eq!(store.open().map_bytes, 3 * MAP_BYTES_MIN);
    }
}
