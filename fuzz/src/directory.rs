//! Directories for stores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with its owner: in memory if the system has such a place, because every check
/// syncs a file several times.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("ticketd-fuzz-{}-{number}", id()));
        fs::create_dir_all(&path).expect("the temporary directory can be written to");
        Directory(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of the data file of a store in it.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data.mdb")
    }

    /// The path of the journal of a store in it.
    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("data.journal")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind is small, and the system will remove it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
