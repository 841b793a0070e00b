//! What can go wrong with a store, in the words of the operator who has to put it right.
//!
//! Every error is one line that says what is wrong and what to do. The errors know nothing of who asked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::record::{FORMAT_VERSION, Key};
use super::{
    HEADROOM_BYTES, MAP_BYTES_MAX, MAP_BYTES_MIN, SETTING_NAME_BYTES_MAX, SETTING_VALUE_BYTES_MAX,
    SETTINGS_MAX,
};
use crate::settings::MB_BYTES;

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
    /// The file system failed.
    Io {
        /// What was to be done, such as "read".
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// In the words of the system.
        reason: String,
    },
    /// The size that was asked for is below [`MAP_BYTES_MIN`].
    MapTooSmall {
        /// That size, in bytes.
        map_bytes: u64,
    },
    /// The size that was asked for is above [`MAP_BYTES_MAX`].
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
    },
    /// The process that checks the store could not be run.
    CheckNotRun {
        /// In the words of the system.
        reason: String,
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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Record(key) => key.fmt(f),
            Place::UnknownKey(bytes) => {
                f.write_str("the record with the unknown key ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Place::Page(number) => write!(f, "page {number} of the data file"),
            Place::File => f.write_str("the data file"),
            Place::Journal(sector) => write!(f, "sector {sector} of the journal"),
            Place::JournalFile => f.write_str("the journal"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Gone => f.write_str("was removed or moved while this process had it open"),
            Loss::Replaced => f.write_str("is not what this process has open there any more"),
            Loss::Cut { bytes, bytes_min } => write!(f, "was cut to {bytes} bytes, from {bytes_min} or more"),
        }
    }
}

impl Loss {
    fn remedy(self) -> &'static str {
        match self {
            Loss::Gone | Loss::Replaced => {
                "stop this process; where the store was only moved, move it back and start the node again; or \
                 else remove this node from the cluster, and `join` again with another --path"
            }
            Loss::Cut { .. } => {
                "stop this process, leave the store aside, remove this node from the cluster, and `join` again \
                 with another --path"
            }
        }
    }
}

impl StoreError {
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
            StoreError::Io { action, path, reason }
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
        let reason = if let lmdb::Error::Other(errno) = error {
            io::Error::from_raw_os_error(errno).to_string()
        } else {
            error.to_string()
        };
        StoreError::WriteFailed { path: path.to_owned(), reason }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A finding is another process's whole sentence already.
        if let StoreError::CheckFailed { finding } = self {
            return f.write_str(finding);
        }
        self.fmt_problem(f)?;
        f.write_str(": ")?;
        self.fmt_remedy(f)
    }
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// What is wrong.
    fn fmt_problem(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotFound { path } => write!(f, "there is no store at {}", path.display()),
            StoreError::Exists { path } => write!(f, "{} holds a store already", path.display()),
            StoreError::Interrupted { path, what: Interrupted::Making } => {
                write!(f, "the making of the store at {} was interrupted, nothing is lost", path.display())
            }
            StoreError::Interrupted { path, what: Interrupted::Destroying } => {
                write!(f, "the destroying of the store at {} was interrupted", path.display())
            }
            StoreError::ForeignFiles { path, name } => {
                write!(f, "{} holds something that is not a store's ({name:?})", path.display())
            }
            StoreError::NotADirectory { path } => write!(f, "{} is not a directory", path.display()),
            StoreError::InUse { path, pid: Some(pid) } => {
                write!(f, "the store at {} is in use by process {pid}", path.display())
            }
            StoreError::InUse { path, pid: None } => {
                write!(f, "the store at {} is in use by another process", path.display())
            }
            StoreError::Denied { action, path, reason } | StoreError::Io { action, path, reason } => {
                write!(f, "cannot {action} {}: {reason}", path.display())
            }
            StoreError::MapTooSmall { map_bytes } => write!(f, "a store of {map_bytes} bytes is too small"),
            StoreError::MapTooLarge { map_bytes } => write!(f, "a store of {map_bytes} bytes is too large"),
            StoreError::MapBelowUse { map_bytes, used_bytes } => {
                write!(
                    f,
                    "a store of {map_bytes} bytes cannot hold the {used_bytes} bytes that it uses and the \
                     {HEADROOM_BYTES} that it needs beside them"
                )
            }
            StoreError::MapNotMapped { map_bytes } => {
                write!(f, "the system does not let this process map {map_bytes} bytes")
            }
            StoreError::SettingTooLong { name } => write!(f, "the setting {name:?} is too long to be kept"),
            StoreError::TooManySettings { count } => write!(f, "{count} settings are too many to be kept"),
            StoreError::Format { path, found } => {
                write!(
                    f,
                    "the store at {} has format {found}, this program reads {FORMAT_VERSION}",
                    path.display()
                )
            }
            StoreError::Damaged { path, place, reason } => {
                write!(f, "the store at {} is damaged: {place}: {reason}", path.display())
            }
            StoreError::CheckDied { path, signal, last_line } => {
                write!(
                    f,
                    "the store at {} is damaged: the process that checked it was killed by signal {signal}",
                    path.display()
                )?;
                last_line.as_ref().map_or(Ok(()), |line| write!(f, " ({line})"))
            }
            StoreError::CheckEnded { signal } => {
                write!(f, "the store's check was ended by signal {signal}")
            }
            StoreError::CheckFailed { finding } => f.write_str(finding),
            StoreError::CheckNotRun { reason } => write!(f, "the store's check could not be run: {reason}"),
            StoreError::MapFull { map_bytes } => write!(f, "the store is full at {map_bytes} bytes"),
            StoreError::WriteFailed { path, reason } => {
                write!(f, "a write to the store at {} failed: {reason}", path.display())
            }
            StoreError::Lost { path, how } => write!(f, "{} {how}", path.display()),
            StoreError::Backlog { waiting_weight } => {
                write!(f, "{waiting_weight} entries wait to be written: the disk is as good as dead")
            }
            StoreError::Bug => f.write_str("the storage thread failed by a mistake in this program"),
        }
    }

    /// What to do.
    fn fmt_remedy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotFound { .. } => {
                f.write_str("make one with `start` or `join`, or give another --path")
            }
            StoreError::Exists { path } => {
                let path = path.display();
                write!(
                    f,
                    "run it with `ticketd --path {path}`, or destroy it for ever with `ticketd drop --path \
                     {path}` or --force, or give another --path"
                )
            }
            StoreError::Interrupted { what: Interrupted::Making, .. } => {
                f.write_str("give the `start` or `join` command again")
            }
            StoreError::Interrupted { what: Interrupted::Destroying, path } => write!(
                f,
                "remove what is left with `ticketd drop --path {}`, or make another with `start` or `join`",
                path.display()
            ),
            StoreError::ForeignFiles { .. } => f.write_str("give an empty or a new directory as --path"),
            StoreError::NotADirectory { .. } => f.write_str("give another --path"),
            StoreError::InUse { .. } => f.write_str("stop it first, or give another --path"),
            StoreError::Denied { .. } => {
                f.write_str("give this user the right to read and write there, or give another --path")
            }
            StoreError::Io { .. } => f.write_str("see to the disk and its file system, then try again"),
            StoreError::MapTooSmall { .. } => {
                write!(f, "give a --db_size of at least {} MB", MAP_BYTES_MIN.div_ceil(MB_BYTES))
            }
            StoreError::MapTooLarge { .. } => {
                write!(f, "give a --db_size of at most {} MB", MAP_BYTES_MAX / MB_BYTES)
            }
            StoreError::MapBelowUse { used_bytes, .. } => {
                write!(f, "give a --db_size of at least {} MB", db_size_mb(*used_bytes))
            }
            StoreError::MapNotMapped { .. } => {
                f.write_str("give a smaller --db_size, or raise the limit on address space (ulimit -v)")
            }
            StoreError::SettingTooLong { .. } => write!(
                f,
                "give a name of at most {SETTING_NAME_BYTES_MAX} and a value of at most \
                 {SETTING_VALUE_BYTES_MAX} bytes"
            ),
            StoreError::TooManySettings { .. } => write!(f, "give at most {SETTINGS_MAX}"),
            StoreError::Format { .. } => f.write_str("run it with the version of ticketd that wrote it"),
            StoreError::Damaged { .. } | StoreError::CheckDied { .. } => f.write_str(
                "leave it aside, remove this node from the cluster, and `join` again with another --path",
            ),
            StoreError::CheckFailed { .. } => f.write_str("see there what to do"),
            StoreError::CheckEnded { .. } => {
                f.write_str("try again; where the system was short of memory, see to that first")
            }
            StoreError::CheckNotRun { .. } => f.write_str("see to that, then try again"),
            StoreError::MapFull { map_bytes } => {
                write!(
                    f,
                    "restart this node with a larger --db_size, of at least {} MB",
                    db_size_mb(*map_bytes)
                )
            }
            StoreError::WriteFailed { .. } => {
                f.write_str("see to the disk and its file system, then restart this node")
            }
            StoreError::Lost { how, .. } => f.write_str(how.remedy()),
            StoreError::Backlog { .. } => f.write_str("see to the disk, then restart this node"),
            StoreError::Bug => f.write_str("report what was logged, then restart this node"),
        }
    }
}

/// The smallest `--db_size`, in MB, with which a store is opened that uses so many bytes.
fn db_size_mb(used_bytes: u64) -> u64 {
    let needed_bytes = used_bytes.saturating_add(HEADROOM_BYTES);
    needed_bytes.clamp(MAP_BYTES_MIN, MAP_BYTES_MAX).div_ceil(MB_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_line_that_says_what_is_wrong_and_what_to_do() {
        let path = || PathBuf::from("/data/node1");
        let reason = || "Input/output error".to_owned();
        let errors = [
            (StoreError::NotFound { path: path() }, "no store", "`start` or `join`"),
            (
                StoreError::Exists { path: path() },
                "holds a store already",
                "`ticketd drop --path /data/node1`",
            ),
            (
                StoreError::Interrupted { path: path(), what: Interrupted::Making },
                "making of the store at /data/node1 was interrupted",
                "again",
            ),
            (
                StoreError::Interrupted { path: path(), what: Interrupted::Destroying },
                "destroying of the store at /data/node1 was interrupted",
                "`ticketd drop --path /data/node1`",
            ),
            (StoreError::ForeignFiles { path: path(), name: "a\nb".into() }, "a\\nb", "--path"),
            (StoreError::NotADirectory { path: path() }, "not a directory", "--path"),
            (StoreError::InUse { path: path(), pid: Some(12) }, "in use by process 12", "stop it first"),
            (StoreError::InUse { path: path(), pid: None }, "in use by another process", "stop it first"),
            (StoreError::Denied { action: "lock", path: path(), reason: reason() }, "cannot lock", "right"),
            (StoreError::Io { action: "read", path: path(), reason: reason() }, "cannot read", "disk"),
            (StoreError::MapTooSmall { map_bytes: 1 }, "too small", "at least 16 MB"),
            (StoreError::MapTooLarge { map_bytes: 1 }, "too large", "at most 1048576 MB"),
            (
                StoreError::MapBelowUse { map_bytes: 1, used_bytes: 20_000_000 },
                "cannot hold the 20000000 bytes that it uses",
                "at least 22 MB",
            ),
            (StoreError::MapNotMapped { map_bytes: 1 }, "map 1 bytes", "smaller --db_size"),
            (StoreError::SettingTooLong { name: "n".into() }, "too long", "at most 4096"),
            (StoreError::TooManySettings { count: 99 }, "99 settings", "at most 64"),
            (StoreError::Format { path: path(), found: 9 }, "format 9, this program reads 2", "version"),
            (
                StoreError::Damaged { path: path(), place: Place::Page(7), reason: reason() },
                "damaged: page 7 of the data file: Input/output error",
                "leave it aside",
            ),
            (
                StoreError::CheckDied { path: path(), signal: 11, last_line: Some("a word".into()) },
                "signal 11 (a word)",
                "leave it aside",
            ),
            (StoreError::CheckEnded { signal: 9 }, "ended by signal 9", "try again"),
            (StoreError::CheckNotRun { reason: reason() }, "could not be run", "try again"),
            (StoreError::MapFull { map_bytes: 32 << 20 }, "full at 33554432 bytes", "at least 34 MB"),
            (StoreError::WriteFailed { path: path(), reason: reason() }, "failed: Input", "restart"),
            (
                StoreError::Lost { path: path(), how: Loss::Gone },
                "/data/node1 was removed or moved",
                "move it back",
            ),
            (
                StoreError::Lost { path: path(), how: Loss::Replaced },
                "/data/node1 is not what",
                "remove this node",
            ),
            (
                StoreError::Lost { path: path(), how: Loss::Cut { bytes: 5, bytes_min: 9 } },
                "cut to 5 bytes, from 9",
                "stop this process",
            ),
            (StoreError::Backlog { waiting_weight: 3 }, "3 entries wait", "restart"),
            (StoreError::Bug, "mistake", "report"),
        ];
        for (error, problem, remedy) in errors {
            let said = error.to_string();
            assert!(!said.contains('\n'), "{said}");
            let at = said.find(problem).unwrap_or_else(|| panic!("{problem:?} is not in {said:?}"));
            assert!(said[at..].contains(remedy), "{remedy:?} does not follow in {said:?}");
        }
    }
    /// The command line takes these, see `parse_db_size`.
    #[test]
    fn a_size_that_is_told_is_within_what_can_be_given_and_enough_where_anything_is() {
        const MB: u64 = MB_BYTES;
        for (used_bytes, told_mb) in [
            (0, 16),
            (14 * MB, 16),
            (14 * MB + 1, 17),
            (15 * MB, 17),
            (MAP_BYTES_MAX - 2 * MB, 1_048_576),
            (MAP_BYTES_MAX, 1_048_576),
            (u64::MAX, 1_048_576),
        ] {
            assert_eq!(db_size_mb(used_bytes), told_mb, "{used_bytes} bytes");
        }
    }
}
