//! One LMDB transaction that is being put together: where what was pending becomes records of the data file.
//!
//! It must never know what is changed, or when or why a transaction is committed.

use lmdb::{Database, Environment, RwTransaction, Transaction, WriteFlags};

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
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

impl<'s> Batch<'s> {
    /// Begins one.
    pub(super) fn begin(env: &'s Environment, db: Database) -> Result<Self, lmdb::Error> {
        let txn = env.begin_rw_txn()?;
        Ok(Batch {
            txn,
            db,
            #[cfg(test)]
            fault: None,
        })
    }

    /// Puts a record, in place of what is there.
    pub(super) fn put(&mut self, key: &[u8], record: &[u8]) -> Result<(), lmdb::Error> {
        #[cfg(test)]
        if let Some(Fault::Put(errno)) = self.fault {
            return Err(lmdb::Error::Other(errno));
        }
        self.txn.put(self.db, &key, &record, WriteFlags::empty())
    }

    /// Removes a record, if it is there.
    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), lmdb::Error> {
        match self.txn.del(self.db, &key, None) {
            Ok(()) | Err(lmdb::Error::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes it durable.
    pub(super) fn commit(self) -> Result<(), lmdb::Error> {
        #[cfg(test)]
        if let Some(Fault::Commit(errno)) = self.fault {
            return Err(lmdb::Error::Other(errno));
        }
        self.txn.commit()
    }
}
