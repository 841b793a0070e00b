//! What can go wrong with a store, in the words of the operator who has to put it right.
//!
//! Every error is one line that says what is wrong and what to do. The errors know nothing of who asked.

mod words;

use std::io;
use std::path::{Path, PathBuf};

use super::record::Key;
use crate::advice::about_limit;

/// Why a store could not be made, opened, read or written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// There is no store.
    NotFound {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// There is a store where one was to be made.
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A store was being made and never finished, and never took part in anything; or its destroying did not
    /// come to its end, and it will not again.
    Interrupted {
        /// Where.
        path: PathBuf,
        /// What did not come to its end.
        what: Interrupted,
    },
    /// The directory holds files that no store has.
    ForeignFiles {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        name: String,
    },
    /// There is something else where the directory should be.
    NotADirectory {
        /// Where.
        path: PathBuf,
    },
    /// A process holds the store, and has not said which it is: a node that runs may not have had the room on
    /// its disk to do so, or its lock file was removed.
    HolderUnknown {
        /// Which store.
        path: PathBuf,
    },
    /// A process holds the store.
    InUse {
        /// Which store.
        path: PathBuf,
        /// Which process, where it can be told.
        pid: Option<u32>,
    },
    /// The file system does not allow it.
    Denied {
        /// What was to be done, such as "write to".
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// In the words of the system.
        reason: String,
    },
    /// The file system failed, or this process has met a limit.
    Io {
        /// What was to be done, such as "read".
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// In the words of the system.
        reason: String,
        /// What to do about a limit.
        remedy: Option<&'static str>,
    },
    /// The size that was asked for is below [`MAP_BYTES_MIN`](super::MAP_BYTES_MIN).
    MapTooSmall {
        /// That size, in bytes.
        map_bytes: u64,
    },
    /// The size that was asked for is above [`MAP_BYTES_MAX`](super::MAP_BYTES_MAX).
    MapTooLarge {
        /// That size, in bytes.
        map_bytes: u64,
    },
    /// The size that was asked for is less than the store uses already, with some room beside it.
    MapBelowUse {
        /// That size, in bytes.
        map_bytes: u64,
        /// What is in use, in bytes.
        used_bytes: u64,
    },
    /// The system does not let this process map that much.
    MapNotMapped {
        /// The size, in bytes.
        map_bytes: u64,
    },
    /// A setting's name or value is too long to be kept.
    SettingTooLong {
        /// The setting's name, cut to what can be kept.
        name: String,
    },
    /// There are more settings than can be kept.
    TooManySettings {
        /// How many.
        count: usize,
    },
    /// The store was written by a version of this program that writes another format.
    Format {
        /// Which store.
        path: PathBuf,
        /// The format that was found.
        found: u8,
    },
    /// The store holds what was never written to it, or lacks what was.
    Damaged {
        /// Which store.
        path: PathBuf,
        /// Which record or page.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// The process that checked the store died: the store is damaged in a way that LMDB does not survive.
    CheckDied {
        /// Which store.
        path: PathBuf,
        /// The signal that killed it.
        signal: i32,
        /// What it said last, where it said anything.
        last_line: Option<String>,
    },
    /// The process that checked the store was ended by a signal that somebody sent.
    CheckEnded {
        /// Which signal.
        signal: i32,
    },
    /// The process that checked the store found fault with it.
    CheckFailed {
        /// What it said.
        finding: String,
        /// Whether any start can do with the store as it is.
        prospect: Prospect,
    },
    /// The process that checks the store could not be run.
    CheckNotRun {
        /// In the words of the system.
        reason: String,
        /// What to do about a limit.
        remedy: Option<&'static str>,
    },
    /// A write did not fit into the store.
    MapFull {
        /// The store's size, in bytes.
        map_bytes: u64,
    },
    /// A write, or making it durable, failed.
    WriteFailed {
        /// Which store.
        path: PathBuf,
        /// In the words of the system.
        reason: String,
        /// What to do about a limit.
        remedy: Option<&'static str>,
    },
    /// What is open of the store is not what is at its path any more: nobody will find there what is written.
    Lost {
        /// The path of the file or directory.
        path: PathBuf,
        /// What became of it.
        how: Loss,
    },
    /// Writes came faster than the disk took them, for too long.
    Backlog {
        /// How many entries and writes waited, together.
        waiting_weight: usize,
    },
    /// The storage thread panicked.
    Bug,
}

/// Whether a start that has failed may succeed when it is tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prospect {
    /// It may: what is in the way is outside of the store, and may be gone by then.
    Open,
    /// It will not: this program never serves with the store as it is.
    Hopeless,
}

/// What was interrupted, and left what is no store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupted {
    /// The making of a store.
    Making,
    /// The destroying of a store.
    Destroying,
}

/// What became of a file that is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// There is nothing at its path.
    Gone,
    /// There is another at its path.
    Replaced,
    /// It is shorter than it was.
    Cut {
        /// Its length, in bytes.
        bytes: u64,
        /// What it had at least, in bytes.
        bytes_min: u64,
    },
}

/// A place in a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A record.
    Record(Key),
    /// A record whose key is none of ours; its first bytes, the rest 0.
    UnknownKey([u8; 9]),
    /// A page of the data file, by its number.
    Page(u64),
    /// The data file.
    File,
    /// A sector of the journal, by its number.
    Journal(usize),
    /// The journal.
    JournalFile,
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// Whether to start once more may help.
    #[must_use]
    pub fn prospect(&self) -> Prospect {
        match self {
            StoreError::Damaged { .. } | StoreError::CheckDied { .. } | StoreError::Format { .. } => {
                Prospect::Hopeless
            }
            StoreError::CheckFailed { prospect, .. } => *prospect,
            StoreError::NotFound { .. }
            | StoreError::Exists { .. }
            | StoreError::Interrupted { .. }
            | StoreError::ForeignFiles { .. }
            | StoreError::NotADirectory { .. }
            | StoreError::HolderUnknown { .. }
            | StoreError::InUse { .. }
            | StoreError::Denied { .. }
            | StoreError::Io { .. }
            | StoreError::MapTooSmall { .. }
            | StoreError::MapTooLarge { .. }
            | StoreError::MapBelowUse { .. }
            | StoreError::MapNotMapped { .. }
            | StoreError::SettingTooLong { .. }
            | StoreError::TooManySettings { .. }
            | StoreError::CheckEnded { .. }
            | StoreError::CheckNotRun { .. }
            | StoreError::MapFull { .. }
            | StoreError::WriteFailed { .. }
            | StoreError::Lost { .. }
            | StoreError::Backlog { .. }
            | StoreError::Bug => Prospect::Open,
        }
    }

    /// Sorts a failure of the file system by what the operator can do about it.
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> StoreError {
        let path = path.to_owned();
        let reason = error.to_string();
        if error.kind() == io::ErrorKind::NotADirectory {
            StoreError::NotADirectory { path }
        } else if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
        {
            StoreError::Denied { action, path, reason }
        } else {
            StoreError::Io { action, path, reason, remedy: about_limit(error) }
        }
    }

    /// The check could not be begun.
    pub(super) fn check_not_run(error: &io::Error) -> StoreError {
        StoreError::CheckNotRun { reason: error.to_string(), remedy: about_limit(error) }
    }

    /// A failure of the system to write, or to make it durable.
    pub(super) fn write_failed(path: &Path, error: &io::Error) -> StoreError {
        StoreError::WriteFailed {
            path: path.to_owned(),
            reason: error.to_string(),
            remedy: about_limit(error),
        }
    }

    /// A failure of LMDB while nothing was being written.
    pub(super) fn lmdb(action: &'static str, path: &Path, error: lmdb::Error) -> StoreError {
        if let lmdb::Error::Other(errno) = error {
            return StoreError::io(action, path, &io::Error::from_raw_os_error(errno));
        }
        StoreError::Damaged {
            path: path.to_owned(),
            place: Place::File,
            reason: format!("LMDB cannot {action} it: {error}"),
        }
    }

    /// A failure of LMDB while something was being written.
    pub(super) fn lmdb_write(path: &Path, map_bytes: u64, error: lmdb::Error) -> StoreError {
        if error == lmdb::Error::MapFull {
            return StoreError::MapFull { map_bytes };
        }
        if let lmdb::Error::Other(errno) = error {
            return StoreError::write_failed(path, &io::Error::from_raw_os_error(errno));
        }
        StoreError::WriteFailed { path: path.to_owned(), reason: error.to_string(), remedy: None }
    }
}
