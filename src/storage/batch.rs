//! One transaction that is being put together: what a [`Write`] of the core does to the records.
//!
//! It checks what each write relies on. The core alone makes writes, so one that does not follow on what is
//! there is a mistake of ours, and stops the process before it spoils the store. It must never know when or
//! why a transaction is committed.

use std::sync::Arc;

use lmdb::{Database, Environment, RwTransaction, Transaction, WriteFlags};
use raft_core::{HardState, LogIndex, Snapshot, Term, Write};

use super::record::{self, Extent, Key, Record, Value};

/// What the next write builds on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tail {
    pub(super) hard_state: HardState,
    pub(super) extent: Extent,
    /// Term of the last entry, or else of the snapshot, or else 0.
    pub(super) last_log_term: Term,
}

/// A failure put in for a test, in place of the disk's.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Putting a record fails with this error number.
    Put(i32),
    /// Writing out and syncing the transaction fails with this error number.
    Commit(i32),
}

/// A transaction that is being put together. Dropped, it leaves everything as it was.
pub(super) struct Batch<'s> {
    txn: RwTransaction<'s>,
    db: Database,
    buffer: &'s mut Vec<u8>,
    tail: Tail,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

impl<'s> Batch<'s> {
    /// Begins one. Each record is put together in `buffer`.
    pub(super) fn begin(
        env: &'s Environment,
        db: Database,
        tail: Tail,
        buffer: &'s mut Vec<u8>,
    ) -> Result<Self, lmdb::Error> {
        let txn = env.begin_rw_txn()?;
        Ok(Batch {
            txn,
            db,
            buffer,
            tail,
            #[cfg(test)]
            fault: None,
        })
    }

    /// Puts a record, whatever it means.
    pub(super) fn put(&mut self, value: &Value<'_>) -> Result<(), lmdb::Error> {
        #[cfg(test)]
        if let Some(Fault::Put(errno)) = self.fault {
            return Err(lmdb::Error::Other(errno));
        }
        value.encode(self.buffer);
        self.txn.put(self.db, &value.key().to_bytes(), self.buffer, WriteFlags::empty())
    }

    /// Makes it durable, and says what the next one builds on.
    pub(super) fn commit(self) -> Result<Tail, lmdb::Error> {
        #[cfg(test)]
        if let Some(Fault::Commit(errno)) = self.fault {
            return Err(lmdb::Error::Other(errno));
        }
        self.txn.commit()?;
        Ok(self.tail)
    }

    /// Carries out writes, in their order.
    pub(super) fn apply_all(&mut self, writes: &[Write]) -> Result<(), lmdb::Error> {
        writes.iter().try_for_each(|write| self.apply(write))?;
        let extent = self.tail.extent;
        self.put(&Value::Extent(&extent))
    }

    /// The parts of a write apply in the order of its fields.
    fn apply(&mut self, write: &Write) -> Result<(), lmdb::Error> {
        let Write { id: _, hard_state, snapshot, truncate_from, entries } = write;
        if let Some(hard_state) = hard_state {
            self.set_hard_state(hard_state)?;
        }
        if let Some(snapshot) = snapshot {
            self.set_snapshot(snapshot)?;
        }
        if let Some(from) = truncate_from {
            self.truncate(*from)?;
        }
        for entry in entries {
            let Tail { extent, last_log_term, hard_state } = self.tail;
            let expected = extent.last_log_index.next();
            assert!(entry.index == expected, "entry {} where {expected} follows", entry.index);
            assert!(entry.term >= last_log_term, "term {} after term {last_log_term}", entry.term);
            let current_term = hard_state.current_term;
            assert!(entry.term <= current_term, "an entry of term {} in term {current_term}", entry.term);
            self.put(&Value::Entry(entry))?;
            self.tail.extent.last_log_index = entry.index;
            self.tail.last_log_term = entry.term;
        }
        Ok(())
    }

    fn set_hard_state(&mut self, new: &HardState) -> Result<(), lmdb::Error> {
        let old = self.tail.hard_state;
        assert!(
            new.current_term >= old.current_term,
            "term {} after term {}",
            new.current_term,
            old.current_term
        );
        // Raft §5.2: at most one vote in a term.
        assert!(
            new.current_term > old.current_term || old.voted_for.is_none() || new.voted_for == old.voted_for,
            "a vote for {:?} after one for {:?} in term {}",
            new.voted_for,
            old.voted_for,
            new.current_term
        );
        self.put(&Value::HardState(new))?;
        self.tail.hard_state = *new;
        Ok(())
    }

    fn set_snapshot(&mut self, snapshot: &Arc<Snapshot>) -> Result<(), lmdb::Error> {
        let (index, term) = (snapshot.last_included_index, snapshot.last_included_term);
        let Tail { extent, hard_state, .. } = self.tail;
        let (base, last) = (extent.base(), extent.last_log_index);
        assert!(index >= base, "a snapshot of entry {index} after one of entry {base}");
        let current_term = hard_state.current_term;
        assert!(term <= current_term, "a snapshot of term {term} in term {current_term}");
        self.put(&Value::Snapshot(snapshot))?;
        self.delete_entries(base.0, last.min(index).0)?;
        self.tail.extent.snapshot = Some((index, term));
        if index >= last {
            self.tail.extent.last_log_index = index;
            self.tail.last_log_term = term;
        }
        Ok(())
    }

    fn truncate(&mut self, from: LogIndex) -> Result<(), lmdb::Error> {
        let Extent { snapshot, last_log_index: last } = self.tail.extent;
        let base = self.tail.extent.base();
        assert!(from > base, "a truncation from entry {from} where the log begins after {base}");
        let Some(new_last) = from.previous().filter(|new_last| *new_last < last) else {
            return Ok(());
        };
        self.delete_entries(new_last.0, last.0)?;
        self.tail.extent.last_log_index = new_last;
        self.tail.last_log_term = match snapshot {
            Some((index, term)) if index == new_last => term,
            None if new_last == base => Term(0),
            Some(_) | None => self.term_at(new_last)?,
        };
        Ok(())
    }

    /// Deletes the entries after the first index, up to and including the last.
    fn delete_entries(&mut self, after: u64, last: u64) -> Result<(), lmdb::Error> {
        for index in after..last {
            let key = Key::Entry(LogIndex(index).next()).to_bytes();
            self.txn.del(self.db, &key, None)?;
        }
        Ok(())
    }

    fn term_at(&self, index: LogIndex) -> Result<Term, lmdb::Error> {
        let key = Key::Entry(index);
        match record::decode(key, self.txn.get(self.db, &key.to_bytes())?) {
            Ok(Record::Entry(entry)) => Ok(entry.term),
            // It was sound when the store was opened, or was written since.
            Ok(_) | Err(_) => Err(lmdb::Error::Corrupted),
        }
    }
}
