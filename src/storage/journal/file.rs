//! The journal's file: how it is created, read and written.
//!
//! Its length never changes, and every byte of it is written when it is created, so that a sync brings data
//! to the disk and no metadata of the file system. This module must never know what the bytes mean.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{JOURNAL_BYTES_MAX, Journal};
use crate::storage::error::{Place, StoreError};
use crate::storage::files::JOURNAL_FILE;
use crate::storage::watch;

/// A journal that is open for writing.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    path: PathBuf,
    /// Its length.
    bytes: u64,
    /// Makes writes fail with this error number, in a test.
    #[cfg(test)]
    pub(crate) fault: Option<i32>,
}

/// The right to the file that is the journal, held until this is dropped. The store's own lock is by its
/// path, and by hard or symbolic links, another path may lead to the same files.
#[derive(Debug)]
pub(crate) struct JournalLock {
    _file: Option<File>,
}

impl JournalLock {
    /// Takes it. A journal that cannot be opened is not locked: what reads it then says why.
    ///
    /// # Errors
    /// [`StoreError::InUse`].
    pub(crate) fn acquire(store: &Path) -> Result<JournalLock, StoreError> {
        let Ok(file) = File::open(store.join(JOURNAL_FILE)) else { return Ok(JournalLock { _file: None }) };
        match file.try_lock() {
            // Where no file can be locked, the store's own lock has found that out.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(JournalLock { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: store.to_owned(), pid: None }),
        }
    }
}

impl JournalFile {
    /// Creates a journal with these bytes, replacing any that is there. On return its content survives a
    /// power cut; making its name durable is up to the caller.
    pub(crate) fn create(store: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let path = store.join(JOURNAL_FILE);
        let create = || {
            let file = File::create(&path)?;
            file.write_all_at(bytes, 0)?;
            file.sync_all()
        };
        create().map_err(|error| StoreError::io("write", &path, &error))
    }

    /// Opens the journal of the store at this path for writing. It is `bytes` long.
    pub(crate) fn open(store: &Path, bytes: u64) -> Result<JournalFile, StoreError> {
        let path = store.join(JOURNAL_FILE);
        let opened = File::options().read(true).write(true).open(&path);
        let file = opened.map_err(|error| StoreError::io("write", &path, &error))?;
        Ok(JournalFile {
            file,
            path,
            bytes,
            #[cfg(test)]
            fault: None,
        })
    }

    /// Brings what was read from this offset on to the disk, as [`settle`](crate::storage::data_file::settle)
    /// does for the data file: a process that was killed may have written something that it had not synced,
    /// and after a failed sync, the system considers pages clean that the disk does not have. The bytes that
    /// were read are written back without reading them again: a second read could return something else.
    pub(crate) fn settle(&self, offset: usize, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let settled = self.file.write_all_at(bytes, offset as u64).and_then(|()| self.file.sync_all());
        settled.map_err(|error| StoreError::io("write", &self.path, &error))
    }

    /// Checks that the file is still at its path and as long as before.
    pub(crate) fn check_in_place(&self) -> Result<(), StoreError> {
        let there = watch::expect_at(&self.file, &self.path)?;
        watch::expect_length(&there, &self.path, self.bytes)
    }

    /// Before these bytes are written at this offset, checks that the file still has its length, but only if
    /// they reach its end: writing there would restore the length of a file that was cut short, with a hole
    /// in it. After any other write, a file that was cut is still too short, and the next check finds that.
    /// Asking for the length before every write would cost more than it seems: once a file system has been
    /// asked for the time of the last change, it has to record the next one.
    pub(crate) fn expect_whole_before(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if offset + (bytes.len() as u64) < self.bytes {
            return Ok(());
        }
        let ours = self.file.metadata().map_err(|error| StoreError::io("look at", &self.path, &error))?;
        watch::expect_length(&ours, &self.path, self.bytes)
    }

    /// Writes these bytes at this offset, and waits until they are on the disk.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let failed = |error| StoreError::write_failed(&self.path, &error);
        #[cfg(test)]
        if let Some(errno) = self.fault {
            return Err(failed(io::Error::from_raw_os_error(errno)));
        }
        self.file.write_all_at(bytes, offset).and_then(|()| self.file.sync_data()).map_err(failed)
    }
}

/// Reads the journal of the store at this path, as far as a journal may reach.
pub(crate) fn read(store: &Path) -> Result<Vec<u8>, StoreError> {
    read_if_there(store)?.ok_or_else(|| {
        let reason = "it is missing".to_owned();
        StoreError::Damaged { path: store.to_owned(), place: Place::Journal, reason }
    })
}

/// Whether the directory at this path has a journal that has been written to since it was created. Also true
/// of a file that is not a journal of ours: whose it is cannot be told.
pub(crate) fn holds_something(store: &Path) -> Result<bool, StoreError> {
    let is_void = |bytes: &[u8]| bytes.len() as u64 <= JOURNAL_BYTES_MAX && Journal::is_void(bytes);
    Ok(read_if_there(store)?.is_some_and(|bytes| !is_void(&bytes)))
}

fn read_if_there(store: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let path = store.join(JOURNAL_FILE);
    let error = |error: &io::Error| StoreError::io("read", &path, error);
    let file = match File::open(&path) {
        // A link that leads nowhere is no missing journal: the disk that it leads to may not be mounted.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !path.is_symlink() => return Ok(None),
        opened => opened.map_err(|e| error(&e))?,
    };
    let mut bytes = Vec::new();
    file.take(JOURNAL_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| error(&e))?;
    Ok(Some(bytes))
}
