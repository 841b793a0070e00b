//! The files of a store: their names, and how they are created and removed durably.
//!
//! A store is created under another name and then renamed, so that a data file with its proper name is always
//! a whole store. This module knows nothing of what is in the files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;

/// The data file of a finished store.
pub(super) const DATA_FILE: &str = "data.mdb";
/// The data file of a store that is being created.
pub(super) const NEW_DATA_FILE: &str = "data.mdb.new";
/// The data file of a store that is being destroyed.
pub(super) const GONE_DATA_FILE: &str = "data.mdb.gone";
/// The journal: what is not in the data file yet.
pub(super) const JOURNAL_FILE: &str = "data.journal";
/// The lock, and the holder's process id and addresses.
pub(super) const LOCK_FILE: &str = "lock";
/// LMDB's own tools leave this behind after they have read a store.
pub(super) const LMDB_LOCK_FILE: &str = "lock.mdb";

/// Creates the directory and its missing ancestors. Returns how many these are: their names are new, and not
/// durable yet.
pub(super) fn make_directory(path: &Path) -> Result<usize, StoreError> {
    let mut missing: Vec<PathBuf> = Vec::new();
    // A relative path ends in the empty path, which is the working directory.
    for ancestor in path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty()) {
        if ancestor.exists() {
            break;
        }
        if let (Ok(target), Ok(false)) = (fs::read_link(ancestor), ancestor.try_exists()) {
            let reason = format!("it is a symbolic link to {}, and nothing is there", target.display());
            return Err(StoreError::io("make the directory", ancestor, &io::Error::other(reason)));
        }
        missing.push(ancestor.to_owned());
    }
    for directory in missing.iter().rev() {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(StoreError::io("make the directory", directory, &e)),
        }
    }
    Ok(missing.len())
}

/// Renames the data file away, if there is one, durably: from then on there is no store.
pub(super) fn retire_data_file(path: &Path) -> Result<(), StoreError> {
    let data_path = path.join(DATA_FILE);
    match fs::rename(&data_path, path.join(GONE_DATA_FILE)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", &data_path, &e)),
        Ok(()) | Err(_) => sync_directory(path),
    }
}

/// Gives the finished data file its proper name, durably. The names of the other files are made durable
/// first, and those of the directories, including those that this process did not have to make. They come
/// this late because the files have been synced by then, and most file systems have made all earlier names
/// durable with them.
pub(super) fn finish(path: &Path, new_directories: usize) -> Result<(), StoreError> {
    sync_directory(path)?;
    sync_above(path, new_directories)?;
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

/// Makes the names of a directory and of those above it durable, as far up as its file system reaches. They
/// may be as new as if this process had made them: an earlier one may have been stopped, or its sync may have
/// failed, right after it had made them, and so may any other program. Of the last `new_directories` names it
/// is known that this process has made them.
fn sync_above(path: &Path, new_directories: usize) -> Result<(), StoreError> {
    let error = |e: io::Error| StoreError::io("look at", path, &e);
    let device = |directory: &Path| directory.metadata().map(|found| found.dev()).map_err(error);
    let path = path.canonicalize().map_err(error)?;
    let own_device = device(&path)?;
    for (passed, above) in path.ancestors().skip(1).enumerate() {
        if device(above)? != own_device {
            break;
        }
        match sync_directory(above) {
            Ok(()) => {}
            // Whoever must not read a directory cannot sync it. That is an error only where the name is new.
            Err(StoreError::Denied { .. }) if passed >= new_directories => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|e| StoreError::io("sync", path, &e))
}
