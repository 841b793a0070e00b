//! What store there is in a directory, and how it is destroyed.
//!
//! It uses the names of the files and the lock. It must never know what is in a store that is there.

use std::fs;
use std::io;
use std::path::Path;

use super::error::StoreError;
use super::files::{
    DATA_FILE, JOURNAL_FILE, LMDB_LOCK_FILE, LOCK_FILE, NEW_DATA_FILE, remove, sync_directory,
};
use super::lock::Lock;

/// Destroys the store at `path`, finished or not: its files, and then the directory where it is empty and can
/// be removed. Other files are left alone.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::InUse`] while a process holds it; where the file system refuses.
pub fn destroy(path: &Path) -> Result<(), StoreError> {
    match look(path)? {
        Found::Nothing | Found::Foreign(_) => return Err(StoreError::NotFound { path: path.to_owned() }),
        Found::Unfinished | Found::Store => {}
    }
    let lock = Lock::acquire(path)?;
    // The data goes first and for good: what is left after a crash is then no store.
    for name in [DATA_FILE, NEW_DATA_FILE] {
        remove(&path.join(name))?;
    }
    sync_directory(path)?;
    for name in [JOURNAL_FILE, LMDB_LOCK_FILE, LOCK_FILE] {
        remove(&path.join(name))?;
    }
    drop(lock);
    // It may hold other files, be a mount point, or belong to a directory that is not ours to change.
    let _ = fs::remove_dir(path);
    Ok(())
}

/// Sees that there is a store at `path`.
pub(super) fn expect_store(path: &Path) -> Result<(), StoreError> {
    let path_buf = || path.to_owned();
    match look(path)? {
        Found::Store => Ok(()),
        Found::Unfinished => Err(StoreError::Interrupted { path: path_buf() }),
        Found::Nothing | Found::Foreign(_) => Err(StoreError::NotFound { path: path_buf() }),
    }
}

/// Sees that a store may be made at `path`.
pub(super) fn expect_no_store(path: &Path) -> Result<(), StoreError> {
    match look(path)? {
        // Never finished, it never took part in anything: it is made anew.
        Found::Nothing | Found::Unfinished => Ok(()),
        Found::Store => Err(StoreError::Exists { path: path.to_owned() }),
        Found::Foreign(name) => Err(StoreError::ForeignFiles { path: path.to_owned(), name }),
    }
}

/// What a directory holds.
enum Found {
    /// No files, or only those that mean nothing; or there is no directory.
    Nothing,
    /// A store that was being made.
    Unfinished,
    /// A store.
    Store,
    /// No store, but another file, of this name.
    Foreign(String),
}

/// Looks what there is.
fn look(path: &Path) -> Result<Found, StoreError> {
    let error = |error: io::Error| StoreError::io("read", path, &error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(error(e)),
    };
    let (mut store, mut unfinished, mut foreign) = (false, false, None);
    for entry in entries {
        let name = entry.map_err(error)?.file_name();
        if name == DATA_FILE {
            store = true;
        } else if name == NEW_DATA_FILE {
            unfinished = true;
        } else if ![JOURNAL_FILE, LOCK_FILE, LMDB_LOCK_FILE].into_iter().any(|ours| name == ours) {
            foreign = Some(name.to_string_lossy().into_owned());
        }
    }
    Ok(if store {
        Found::Store
    } else if let Some(name) = foreign {
        Found::Foreign(name)
    } else if unfinished {
        Found::Unfinished
    } else {
        Found::Nothing
    })
}
