//! The changes that the data file takes at once, as one LMDB transaction: pending changes become records.
//!
//! This module must never know what is changed, or when or why a batch is committed.

use lmdb::{Database, Environment, RwTransaction, Transaction, WriteFlags};

/// A failure that a test injects in place of one of the disk.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Putting a record fails with this error number.
    Put(i32),
    /// Writing out and syncing the batch fails with this error number.
    Commit(i32),
}

/// A batch that is being put together. If it is dropped, nothing changes.
pub(crate) struct Batch<'s> {
    txn: RwTransaction<'s>,
    db: Database,
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
}

impl<'s> Batch<'s> {
    /// Begins a batch.
    pub(crate) fn begin(env: &'s Environment, db: Database) -> Result<Self, lmdb::Error> {
        let txn = env.begin_rw_txn()?;
        Ok(Batch {
            txn,
            db,
            #[cfg(test)]
            fault: None,
        })
    }

    /// Puts a record, replacing the one that is there.
    pub(crate) fn put(&mut self, key: &[u8], record: &[u8]) -> Result<(), lmdb::Error> {
        #[cfg(test)]
        if let Some(Fault::Put(errno)) = self.fault {
            return Err(lmdb::Error::Other(errno));
        }
        self.txn.put(self.db, &key, &record, WriteFlags::empty())
    }

    /// Removes a record, if it is there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), lmdb::Error> {
        match self.txn.del(self.db, &key, None) {
            Ok(()) | Err(lmdb::Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the batch durable.
    pub(crate) fn commit(self) -> Result<(), lmdb::Error> {
        #[cfg(test)]
        if let Some(Fault::Commit(errno)) = self.fault {
            return Err(lmdb::Error::Other(errno));
        }
        self.txn.commit()
    }
}
