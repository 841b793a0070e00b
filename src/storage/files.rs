//! The files of a store: which there are, how they come and how they go.
//!
//! A store is made under another name and then renamed, so that a data file with its proper name is always a
//! whole store. This module knows nothing of what is in the files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::lock::Lock;

/// The data file of a finished store.
pub(super) const DATA_FILE: &str = "data.mdb";
/// The data file of a store that is being made.
pub(super) const NEW_DATA_FILE: &str = "data.mdb.new";
/// What is not in the data file yet. Without a data file it means nothing.
pub(super) const JOURNAL_FILE: &str = "data.journal";
/// The lock, and who holds it.
pub(super) const LOCK_FILE: &str = "lock";
/// LMDB's own tools leave this behind where they have looked at a store.
const LMDB_LOCK_FILE: &str = "lock.mdb";

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

/// What a directory holds.
pub(super) enum Found {
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
pub(super) fn look(path: &Path) -> Result<Found, StoreError> {
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

/// Makes the directory, and those above it that are missing, so that they survive a power cut.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    let mut missing: Vec<PathBuf> = Vec::new();
    // A relative path ends in the empty path, which is the working directory.
    for ancestor in path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty()) {
        if ancestor.exists() {
            break;
        }
        missing.push(ancestor.to_owned());
    }
    for directory in missing.iter().rev() {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(StoreError::io("make the directory", directory, &e)),
        }
        sync_directory(parent(directory))?;
    }
    Ok(())
}

/// Gives the finished data file its proper name, for good. What belongs to it has its name for good before.
pub(super) fn finish(path: &Path) -> Result<(), StoreError> {
    sync_directory(path)?;
    let data_path = path.join(DATA_FILE);
    fs::rename(path.join(NEW_DATA_FILE), &data_path).map_err(|e| StoreError::io("write", &data_path, &e))?;
    sync_directory(path)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, &e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes the names in a directory durable.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|e| StoreError::io("sync", path, &e))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}
