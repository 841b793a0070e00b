//! The journal's file: how it is made, read and written.
//!
//! Its length never changes, and all of it was written when it was made, so that a sync has data to bring to
//! the disk and nothing of the file system's own. It must never know what the bytes mean.

use std::fs::File;
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
    /// Writing fails with this error number, for a test.
    #[cfg(test)]
    pub(crate) fault: Option<i32>,
}

impl JournalFile {
    /// Makes one with these bytes, in place of any that is there. Its content survives a power cut then; that
    /// its name does is the caller's business.
    pub(crate) fn create(store: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let path = store.join(JOURNAL_FILE);
        let create = || {
            let file = File::create(&path)?;
            file.write_all_at(bytes, 0)?;
            file.sync_all()
        };
        create().map_err(|error| StoreError::io("write", &path, &error))
    }

    /// Opens the one of the store at this path for writing. It has so many bytes.
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

    /// Makes what was read from this offset on what the disk has, as
    /// [`settle`](crate::storage::data_file::settle) does for the data file: a process that was killed may
    /// have written what it had not synced, and after a sync that failed, the system takes for clean what the
    /// disk does not have. What was read is written, and not read once more: that could be something else
    /// then.
    pub(crate) fn settle(&self, offset: usize, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let settled = self.file.write_all_at(bytes, offset as u64).and_then(|()| self.file.sync_all());
        settled.map_err(|error| StoreError::io("write", &self.path, &error))
    }

    /// Sees that it is still at its path, as long as ever.
    pub(crate) fn look(&self) -> Result<(), StoreError> {
        let there = watch::expect_at(&self.file, &self.path)?;
        watch::expect_length(&there, &self.path, self.bytes)
    }

    /// Sees that it is as long as ever, before these bytes are written at this offset, where they reach its
    /// end: then one that was cut off has its length again, and a hole in it. After every other write it is
    /// too short still, and a look finds that. To ask for the length each time would cost more than it seems:
    /// a file system that was asked for the time of the last change has to note the next one.
    pub(crate) fn expect_whole_before(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if offset + (bytes.len() as u64) < self.bytes {
            return Ok(());
        }
        let ours = self.file.metadata().map_err(|error| StoreError::io("look at", &self.path, &error))?;
        watch::expect_length(&ours, &self.path, self.bytes)
    }

    /// Writes these bytes at this offset, and waits until the disk has them.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(errno) = self.fault {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }
}

/// Reads the journal of the store at this path, as far as one can go.
pub(crate) fn read(store: &Path) -> Result<Vec<u8>, StoreError> {
    read_if_there(store)?.ok_or_else(|| {
        let reason = "it is missing".to_owned();
        StoreError::Damaged { path: store.to_owned(), place: Place::JournalFile, reason }
    })
}

/// Whether the directory at this path has a journal to which something was written since it was made. Also
/// true of one that is none of ours: it cannot be told whose it is.
pub(crate) fn holds_something(store: &Path) -> Result<bool, StoreError> {
    let is_void = |bytes: &[u8]| bytes.len() as u64 <= JOURNAL_BYTES_MAX && Journal::is_void(bytes);
    Ok(read_if_there(store)?.is_some_and(|bytes| !is_void(&bytes)))
}

fn read_if_there(store: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let path = store.join(JOURNAL_FILE);
    let error = |error: &io::Error| StoreError::io("read", &path, error);
    let file = match File::open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|e| error(&e))?,
    };
    let mut bytes = Vec::new();
    file.take(JOURNAL_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| error(&e))?;
    Ok(Some(bytes))
}
