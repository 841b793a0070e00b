//! The errors of a store, in words meant for the operator who has to fix them.
//!
//! Every error is one line that says what is wrong and what to do. The errors know nothing of the caller.

mod display;

use std::io;
use std::path::{Path, PathBuf};

use raft_core::{Evidence, LogIndex};
use rustix::io::Errno;

use super::record::{KEY_BYTES_MAX, Key};
use crate::advice::{about_limit, about_path};

/// LMDB reports a write of which only a part found room as an input or output error too.
const PERHAPS_FULL: &str = "see whether its file system is full, or a file in it as long as it may be \
                            (ulimit -f), and to the disk";

/// Why a store could not be created, opened, read or written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// There is no store.
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a store where one was to be created.
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The creation of a store was never finished, so it never took part in anything; or the destruction of a
    /// store was not finished, and the store will never take part again.
    Interrupted {
        /// Where.
        path: PathBuf,
        /// What was not finished.
        what: Interrupted,
    },
    /// The directory holds files that do not belong to a store.
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
    /// A process holds the store and has not published its process id: a running node may not have had room
    /// on its disk for that, or its lock file was removed.
    HolderUnknown {
        /// The store.
        path: PathBuf,
    },
    /// A process holds the store.
    InUse {
        /// The store.
        path: PathBuf,
        /// The process id, if known.
        pid: Option<u32>,
    },
    /// The file system does not allow it.
    Denied {
        /// The operation, such as "write to".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error text.
        reason: String,
    },
    /// The file system is read-only. The system makes it so when its disk has failed.
    ReadOnly {
        /// The operation, such as "write to".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error text.
        reason: String,
    },
    /// The file system failed, or this process reached a limit.
    Io {
        /// The operation, such as "read".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error text.
        reason: String,
        /// What to do about the limit, if there was one.
        remedy: Option<&'static str>,
    },
    /// The requested size is below [`MAP_BYTES_MIN`](super::MAP_BYTES_MIN).
    MapTooSmall {
        /// The requested size, in bytes.
        map_bytes: u64,
    },
    /// The requested size is above [`MAP_BYTES_MAX`](super::MAP_BYTES_MAX).
    MapTooLarge {
        /// The requested size, in bytes.
        map_bytes: u64,
    },
    /// The requested size is less than the data file and the room needed beside it.
    MapBelowFile {
        /// The requested size, in bytes.
        map_bytes: u64,
        /// The size of the data file's pages, in bytes.
        file_bytes: u64,
    },
    /// The system does not let this process map that much.
    MapNotMapped {
        /// The size, in bytes.
        map_bytes: u64,
    },
    /// A setting's name or value is too long to be kept.
    SettingTooLong {
        /// The setting's name, shortened.
        name: String,
    },
    /// There are more settings than can be kept.
    TooManySettings {
        /// How many.
        count: usize,
    },
    /// The store was written by a version of this program that uses another format.
    Format {
        /// The store.
        path: PathBuf,
        /// The format that was found.
        found: u8,
    },
    /// The store holds something that was never written to it, or lacks something that was.
    Damaged {
        /// The store.
        path: PathBuf,
        /// The record or page.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// The process that checked the store died: the store has damage that LMDB does not survive.
    CheckDied {
        /// The store.
        path: PathBuf,
        /// The signal that killed it.
        signal: i32,
        /// The last line of its output, if it wrote any.
        last_line: Option<String>,
    },
    /// The process that checked the store was ended by a signal that came from outside.
    CheckEnded {
        /// The signal.
        signal: i32,
    },
    /// The process that checked the store found a fault in it.
    CheckFailed {
        /// What it said.
        finding: String,
        /// Whether another start can succeed with the store as it is.
        restart: Restart,
    },
    /// The process that checks the store could not be run.
    CheckNotRun {
        /// The system's error text.
        reason: String,
        /// What to do about the limit, if there was one.
        remedy: Option<&'static str>,
    },
    /// A write did not fit into the store.
    MapFull {
        /// The store's size, in bytes.
        map_bytes: u64,
    },
    /// A write, or the sync that makes it durable, failed.
    WriteFailed {
        /// The file.
        path: PathBuf,
        /// The system's error text.
        reason: String,
        /// What to do about the limit, if there was one.
        remedy: Option<&'static str>,
    },
    /// This node has acknowledged an entry that its log does not have.
    EntriesLost {
        /// The index of that entry.
        acknowledged: LogIndex,
        /// Where the log ends.
        last: LogIndex,
    },
    /// What another member holds contradicts what this store holds.
    Contradicted(Evidence),
    /// The open files of the store are no longer those at its path: nobody will find there what is written.
    Lost {
        /// The path of the file or directory.
        path: PathBuf,
        /// What happened to it.
        how: Loss,
    },
    /// For too long, writes came faster than the disk took them.
    Backlog {
        /// How many entries and writes were waiting.
        waiting_weight: usize,
    },
    /// The storage thread panicked.
    Bug,
}

/// Whether a restart may help after an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// It may: the obstacle is outside the store, and may be gone by then.
    MayHelp,
    /// It will not: this program cannot serve with the store as it is.
    CannotHelp,
}

/// The operation that was interrupted before its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupted {
    /// The creation of a store.
    Making,
    /// The destruction of a store.
    Destroying,
}

/// What happened to an open file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// There is nothing at its path.
    Gone,
    /// There is another file at its path.
    Replaced,
    /// It is shorter than before.
    Cut {
        /// Its length now, in bytes.
        bytes: u64,
        /// The least that it had before, in bytes.
        bytes_min: u64,
    },
}

/// A place in a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A record.
    Record(Key),
    /// A record with a key that this program does not use: the first bytes of the key, padded with 0.
    UnknownKey([u8; KEY_BYTES_MAX]),
    /// A page of the data file, by its number.
    Page(u64),
    /// The data file.
    DataFile,
    /// A sector of the journal, by its number.
    JournalSector(usize),
    /// The journal.
    Journal,
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// Whether a restart may help.
    #[must_use]
    pub fn restart(&self) -> Restart {
        match self {
            StoreError::Damaged { .. }
            | StoreError::CheckDied { .. }
            | StoreError::Format { .. }
            | StoreError::EntriesLost { .. } => Restart::CannotHelp,
            StoreError::CheckFailed { restart, .. } => *restart,
            StoreError::NotFound { .. }
            | StoreError::Exists { .. }
            | StoreError::Interrupted { .. }
            | StoreError::ForeignFiles { .. }
            | StoreError::NotADirectory { .. }
            | StoreError::HolderUnknown { .. }
            | StoreError::Contradicted(_)
            | StoreError::InUse { .. }
            | StoreError::Denied { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Io { .. }
            | StoreError::MapTooSmall { .. }
            | StoreError::MapTooLarge { .. }
            | StoreError::MapBelowFile { .. }
            | StoreError::MapNotMapped { .. }
            | StoreError::SettingTooLong { .. }
            | StoreError::TooManySettings { .. }
            | StoreError::CheckEnded { .. }
            | StoreError::CheckNotRun { .. }
            | StoreError::MapFull { .. }
            | StoreError::WriteFailed { .. }
            | StoreError::Lost { .. }
            | StoreError::Backlog { .. }
            | StoreError::Bug => Restart::MayHelp,
        }
    }

    /// Classifies a failure of the file system by what the operator can do about it.
    pub(super) fn io(action: &'static str, path: &Path, error: &io::Error) -> StoreError {
        let path = path.to_owned();
        let reason = error.to_string();
        if error.kind() == io::ErrorKind::NotADirectory {
            StoreError::NotADirectory { path }
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            StoreError::Denied { action, path, reason }
        } else if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
            StoreError::ReadOnly { action, path, reason }
        } else {
            StoreError::Io { action, path, reason, remedy: about_limit(error).or(about_path(error)) }
        }
    }

    /// The check could not be started.
    pub(super) fn check_not_run(error: &io::Error) -> StoreError {
        StoreError::CheckNotRun { reason: error.to_string(), remedy: about_limit(error) }
    }

    /// The system failed to write something to this file, or to make it durable.
    pub(super) fn write_failed(path: &Path, error: &io::Error) -> StoreError {
        StoreError::WriteFailed {
            path: path.to_owned(),
            reason: error.to_string(),
            remedy: about_limit(error),
        }
    }

    /// LMDB failed while nothing was being written to this data file.
    pub(super) fn lmdb(action: &'static str, data_path: &Path, error: lmdb::Error) -> StoreError {
        if let lmdb::Error::Other(errno) = error {
            return StoreError::io(action, data_path, &io::Error::from_raw_os_error(errno));
        }
        StoreError::Damaged {
            path: data_path.parent().unwrap_or(data_path).to_owned(),
            place: Place::DataFile,
            reason: format!("LMDB cannot {action} it: {error}"),
        }
    }

    /// LMDB failed while something was being written to this data file.
    pub(super) fn lmdb_write(data_path: &Path, map_bytes: u64, error: lmdb::Error) -> StoreError {
        if error == lmdb::Error::MapFull {
            return StoreError::MapFull { map_bytes };
        }
        if error == lmdb::Error::Other(Errno::IO.raw_os_error()) {
            let reason = io::Error::from(Errno::IO).to_string();
            let path = data_path.to_owned();
            return StoreError::WriteFailed { path, reason, remedy: Some(PERHAPS_FULL) };
        }
        if let lmdb::Error::Other(errno) = error {
            return StoreError::write_failed(data_path, &io::Error::from_raw_os_error(errno));
        }
        StoreError::WriteFailed { path: data_path.to_owned(), reason: error.to_string(), remedy: None }
    }
}
