//! The open files of a store: what is on the disk, and how a step gets there.
//!
//! This module must never know what is changed, or why.

use std::path::{Path, PathBuf};

use lmdb::{Database, Environment};

use crate::storage::contents::Contents;
#[cfg(test)]
use crate::storage::data_file::Fault;
use crate::storage::data_file::{self, Access, Batch, set_map_bytes};
use crate::storage::error::StoreError;
use crate::storage::files::DATA_FILE;
use crate::storage::journal::{JournalFile, JournalLock};
use crate::storage::lock::Lock;
use crate::storage::reading::{Readable, Reading, read};
use crate::storage::record::Pending;
use crate::storage::watch::Watched;

/// The files, locked and mapped.
#[derive(Debug)]
pub(super) struct OpenFiles {
    env: Environment,
    db: Database,
    /// The directory that they are in.
    path: PathBuf,
    map_bytes: u64,
    pub(super) journal: JournalFile,
    data: Watched,
    checkpoints: u64,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
    /// Last, so that the locks are released after the environment is closed.
    _journal_lock: JournalLock,
    pub(super) lock: Lock,
}

impl OpenFiles {
    /// Opens the files of the store at `path`, and reads and checks all that they hold. The data file must be
    /// on the disk exactly as it will be read.
    pub(super) fn open(
        path: &Path,
        (lock, journal_lock): (Lock, JournalLock),
        readable: Readable,
    ) -> Result<(OpenFiles, Contents), StoreError> {
        let data = Watched::open(&path.join(DATA_FILE))?;
        let Reading { env, db, report: _, journal: journal_bytes, contents } =
            read(path, Access::Write, readable)?;
        let journal = JournalFile::open(path, journal_bytes.len() as u64)?;
        // The last transaction attests that those before it are durable.
        let last = contents.last_in_journal();
        journal.settle(last.start, &journal_bytes[last])?;
        let map_bytes = contents.map_bytes;
        set_map_bytes(&env, data.path(), map_bytes)?;
        let mut files = OpenFiles {
            env,
            db,
            path: path.to_owned(),
            map_bytes,
            journal,
            data,
            checkpoints: 0,
            #[cfg(test)]
            fault: None,
            _journal_lock: journal_lock,
            lock,
        };
        files.check_in_place()?;
        Ok((files, contents))
    }

    /// Closes the files. The lock remains.
    pub(super) fn close(self) -> Lock {
        self.lock
    }

    /// The directory that the files are in.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The largest size that the data file may reach, in bytes.
    pub(super) fn map_bytes(&self) -> u64 {
        self.map_bytes
    }

    /// Changes the largest size that the data file may reach. If this fails, nothing can be read or written
    /// any more.
    pub(super) fn set_map_bytes(&mut self, map_bytes: u64) -> Result<(), StoreError> {
        set_map_bytes(&self.env, self.data.path(), map_bytes)?;
        self.map_bytes = map_bytes;
        Ok(())
    }

    /// The size of the data file's pages, in bytes.
    pub(super) fn file_bytes(&self) -> Result<u64, StoreError> {
        let error = |e| StoreError::lmdb("read", self.data.path(), e);
        let pages = self.env.info().map_err(error)?.last_pgno() as u64 + 1;
        Ok(pages * u64::from(self.env.stat().map_err(error)?.page_size()))
    }

    /// How many checkpoints have been made since the files were opened.
    pub(super) fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// Writes these sectors to the journal. Durable on return.
    pub(super) fn append(&self, offset: u64, sectors: &[u8]) -> Result<(), StoreError> {
        self.journal.expect_whole_before(offset, sectors)?;
        self.journal.write(offset, sectors)
    }

    /// Makes these changes in the data file, all or none. Durable on return.
    pub(super) fn checkpoint(&mut self, pending: &Pending) -> Result<(), StoreError> {
        // LMDB reads the file through its map and trusts it: a page that is not there, or that the disk
        // cannot read, kills the process, and so may one that does not hold what was written to it.
        self.check_in_place()?;
        data_file::check_open(self.data.file(), self.data.path())?;
        let written = self.write_batch(pending);
        written.map_err(|error| StoreError::lmdb_write(self.data.path(), self.map_bytes, error))?;
        self.checkpoints += 1;
        // The batch may have extended the file.
        self.check_in_place()
    }

    fn write_batch(&self, pending: &Pending) -> Result<(), lmdb::Error> {
        let mut batch = Batch::begin(&self.env, self.db)?;
        #[cfg(test)]
        {
            batch.fault = self.fault;
        }
        for (key, record) in pending.iter() {
            match record {
                Some(record) => batch.put(key.as_ref(), record)?,
                None => batch.delete(key.as_ref())?,
            }
        }
        batch.commit()
    }

    /// Checks that the open files are those at the store's path, and no shorter than they were. What is in
    /// them is not read.
    ///
    /// # Errors
    /// [`StoreError::Lost`], and if the file system cannot tell.
    pub(super) fn check_in_place(&mut self) -> Result<(), StoreError> {
        // The data file goes first because its name says most in an error: all of the files may be gone.
        self.data.check_in_place()?;
        self.journal.check_in_place()?;
        self.lock.check_in_place()
    }
}
