//! One LMDB transaction that is being put together: where a plan becomes records.
//!
//! It must never know what is changed, or when or why a transaction is committed.

use lmdb::{Database, Environment, RwTransaction, Transaction, WriteFlags};

use super::plan::Change;

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
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
}

impl<'s> Batch<'s> {
    /// Begins one. Each record is put together in `buffer`.
    pub(super) fn begin(
        env: &'s Environment,
        db: Database,
        buffer: &'s mut Vec<u8>,
    ) -> Result<Self, lmdb::Error> {
        let txn = env.begin_rw_txn()?;
        Ok(Batch {
            txn,
            db,
            buffer,
            #[cfg(test)]
            fault: None,
        })
    }

    /// Makes a change.
    pub(super) fn make(&mut self, change: &Change<'_>) -> Result<(), lmdb::Error> {
        match change {
            Change::Put(value) => {
                #[cfg(test)]
                if let Some(Fault::Put(errno)) = self.fault {
                    return Err(lmdb::Error::Other(errno));
                }
                value.encode(self.buffer);
                self.txn.put(self.db, &value.key().to_bytes(), self.buffer, WriteFlags::empty())
            }
            Change::Delete(key) => self.txn.del(self.db, &key.to_bytes(), None),
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
