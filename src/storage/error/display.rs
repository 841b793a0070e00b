//! The text of the errors: one line each, which says what is wrong and what to do.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use raft_core::LogIndex;

use crate::advice::{JOIN_ANEW, path_flag};
use crate::settings::MB_BYTES;
use crate::storage::error::{Interrupted, Loss, Place, StoreError};
use crate::storage::record::FORMAT_VERSION;
use crate::storage::{
    HEADROOM_BYTES, MAP_BYTES_MAX, MAP_BYTES_MIN, SETTING_NAME_BYTES_MAX, SETTING_VALUE_BYTES_MAX,
    SETTINGS_MAX,
};

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_problem(f)?;
        self.remedy().map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
    }
}

impl StoreError {
    /// What is wrong.
    fn fmt_problem(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotFound { path } => write!(f, "there is no store at {}", path.display()),
            StoreError::Exists { path } => write!(f, "{} holds a store already", path.display()),
            StoreError::Interrupted { path, what } => {
                let (what, harm) = match what {
                    Interrupted::Making => ("making", ", nothing is lost"),
                    Interrupted::Destroying => ("destroying", ""),
                };
                write!(f, "the {what} of the store at {} was interrupted{harm}", path.display())
            }
            StoreError::ForeignFiles { path, name } => {
                write!(f, "{} holds something that does not belong to a store ({name:?})", path.display())
            }
            StoreError::NotADirectory { path } => write!(f, "{} is not a directory", path.display()),
            StoreError::HolderUnknown { path } => {
                let path = path.display();
                write!(f, "the store at {path} is in use by a process that its lock does not name")
            }
            StoreError::InUse { path, pid } => {
                write!(f, "the store at {} is in use by {}", path.display(), holder(*pid))
            }
            StoreError::Denied { action, path, reason }
            | StoreError::ReadOnly { action, path, reason }
            | StoreError::Io { action, path, reason, .. } => {
                write!(f, "cannot {action} {}: {reason}", path.display())
            }
            StoreError::MapTooSmall { map_bytes } => write!(f, "a store of {map_bytes} bytes is too small"),
            StoreError::MapTooLarge { map_bytes } => write!(f, "a store of {map_bytes} bytes is too large"),
            StoreError::MapBelowFile { map_bytes, file_bytes } => write!(
                f,
                "a store of {map_bytes} bytes cannot hold the data file, which has {file_bytes} bytes, and \
                 the {HEADROOM_BYTES} that are needed beside it"
            ),
            StoreError::MapNotMapped { map_bytes } => {
                write!(f, "the system does not let this process map {map_bytes} bytes")
            }
            StoreError::SettingTooLong { name } => write!(f, "the setting {name:?} is too long to be kept"),
            StoreError::TooManySettings { count } => write!(f, "{count} settings are too many to be kept"),
            StoreError::Format { path, found } => {
                let ours = FORMAT_VERSION;
                write!(f, "the store at {} has format {found}, this program reads {ours}", path.display())
            }
            StoreError::Damaged { path, place, reason } => {
                write!(f, "the store at {} is damaged: {place}: {reason}", path.display())
            }
            StoreError::CheckDied { path, signal, last_line } => {
                let said = last_line.as_ref().map_or_else(String::new, |line| format!(" ({line})"));
                let how = format!("the process that checked it was killed by signal {signal}{said}");
                write!(f, "the store at {} is damaged: {how}", path.display())
            }
            StoreError::CheckEnded { signal } => write!(f, "the store's check was ended by signal {signal}"),
            StoreError::CheckFailed { finding, restart: _ } => f.write_str(finding),
            StoreError::CheckNotRun { reason, remedy: _ } => {
                write!(f, "the store's check could not be run: {reason}")
            }
            StoreError::MapFull { map_bytes } => write!(f, "the store is full at {map_bytes} bytes"),
            StoreError::WriteFailed { path, reason, remedy: _ } => {
                write!(f, "a write to {} failed: {reason}", path.display())
            }
            StoreError::EntriesLost { acknowledged, last } => fmt_entries_lost(*acknowledged, *last, f),
            StoreError::Contradicted(evidence) => write!(f, "{evidence}: {SAFETY_LOST}"),
            StoreError::Lost { path, how } => write!(f, "{} {how}", path.display()),
            StoreError::Backlog { waiting_weight } => {
                write!(f, "{waiting_weight} entries and writes wait for the disk, which is as good as dead")
            }
            StoreError::Bug => f.write_str("the storage thread failed because of a bug in this program"),
        }
    }

    /// What to do; `None` if the text says so already.
    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            StoreError::NotFound { .. } => NO_STORE.into(),
            StoreError::Exists { path } => {
                let (run, drop) = (format!("ticketd {}", path_flag(path)), drop_command(path));
                format!(
                    "run it with '{run}', or destroy it for ever with '{drop}' or --force, or give another \
                     --path"
                )
                .into()
            }
            StoreError::Interrupted { what: Interrupted::Making, .. } => {
                "run the 'ticketd start' or 'ticketd join' command again".into()
            }
            StoreError::Interrupted { what: Interrupted::Destroying, path } => {
                let drop = drop_command(path);
                format!(
                    "remove what is left with '{drop}', or make another with 'ticketd start' or \
                     'ticketd join'"
                )
                .into()
            }
            StoreError::ForeignFiles { .. } => "give an empty or a new directory as --path".into(),
            StoreError::NotADirectory { .. } => "give another --path".into(),
            StoreError::HolderUnknown { .. } => WHERE_TO_ASK.into(),
            StoreError::InUse { .. } => "stop it first, or give another --path".into(),
            StoreError::Denied { .. } => GIVE_RIGHTS.into(),
            StoreError::ReadOnly { .. } => MAKE_WRITABLE.into(),
            StoreError::Io { remedy, .. } => {
                remedy.unwrap_or("see to the disk and its file system, then try again").into()
            }
            StoreError::MapTooSmall { .. } => {
                format!("give a --db_size of at least {} MB", MAP_BYTES_MIN.div_ceil(MB_BYTES)).into()
            }
            StoreError::MapTooLarge { .. } => {
                format!("give a --db_size of at most {} MB", MAP_BYTES_MAX / MB_BYTES).into()
            }
            StoreError::MapBelowFile { file_bytes, .. } => {
                format!("give a --db_size of at least {} MB", db_size_mb_min(*file_bytes)).into()
            }
            StoreError::MapNotMapped { .. } => MAP_LESS.into(),
            StoreError::SettingTooLong { .. } => {
                let (name, value) = (SETTING_NAME_BYTES_MAX, SETTING_VALUE_BYTES_MAX);
                format!("give a name of at most {name} and a value of at most {value} bytes").into()
            }
            StoreError::TooManySettings { .. } => format!("give at most {SETTINGS_MAX}").into(),
            StoreError::Format { .. } => "run it with the version of ticketd that wrote it".into(),
            StoreError::Damaged { .. } | StoreError::CheckDied { .. } | StoreError::EntriesLost { .. } => {
                JOIN_ANEW.into()
            }
            // The finding is the complete error line of another process.
            StoreError::CheckFailed { .. } => return None,
            StoreError::CheckEnded { .. } => {
                "try again; where the system was short of memory, see to that first".into()
            }
            StoreError::CheckNotRun { remedy, .. } => remedy.unwrap_or("see to that, then try again").into(),
            StoreError::MapFull { map_bytes } => room_for_more(*map_bytes),
            StoreError::WriteFailed { remedy, .. } => {
                let first = remedy.unwrap_or("see to the disk and its file system");
                format!("{first}, then restart this node").into()
            }
            StoreError::Contradicted(_) => {
                "find out which member that is, stop what runs with a copy, and only then restart this node"
                    .into()
            }
            StoreError::Lost { how, .. } => how.remedy().into(),
            StoreError::Backlog { .. } => "see to the disk, then restart this node".into(),
            StoreError::Bug => "report what was logged, then restart this node".into(),
        })
    }
}

/// The process that holds a store and has said that this is its id. It is not this process: one with the same
/// id runs in another container, where the first process is number 1 as well.
fn holder(pid: Option<u32>) -> String {
    let other = pid.filter(|pid| *pid != std::process::id());
    other.map_or("another process".to_owned(), |pid| format!("process {pid}"))
}

/// The log lacks an entry that this node has acknowledged.
fn fmt_entries_lost(acknowledged: LogIndex, last: LogIndex, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "the leader counts on entry {acknowledged}, which this node has acknowledged, and its log ")?;
    if acknowledged > last {
        write!(f, "ends with entry {last}")?;
    } else {
        f.write_str("has another in its place")?;
    }
    f.write_str(
        ": the store is an earlier copy, or another process runs with a copy of it and has \
         acknowledged that entry, or its disk loses what it reports as written",
    )
}

const SAFETY_LOST: &str = "two processes run with the store of one member or with copies of it, or a disk \
                           has lost what it reported as written, and IDs may have repeated";

const GIVE_RIGHTS: &str = "give this user the right to read and write there, or give another --path";

/// Linux makes a file system read-only when its disk fails.
const MAKE_WRITABLE: &str = "see to the disk, which may have failed, and make the file system writable, or \
                             give another --path";

/// For a running node that no command can find.
const WHERE_TO_ASK: &str = "if that is a node, ask GET /status at its address for clients, which is in the \
                            line of its log that says 'listening'; commands find it once its disk has room, \
                            or after a restart";

/// If only its disk is not mounted, a new cluster in its place would hand out the same IDs again.
const NO_STORE: &str = "mount the disk that it is on, or give another --path; a new node makes one with \
                        'ticketd join', and only the first of a new cluster with 'ticketd start'";

/// A store that exists is mapped at its former size before it is made smaller.
const MAP_LESS: &str = "raise the limit on address space (ulimit -v, systemd's LimitAS), or give a new store \
                        a smaller --db_size";

fn drop_command(path: &Path) -> String {
    format!("ticketd drop {}", path_flag(path))
}

/// The smallest `--db_size`, in MB, with which a store whose data file has this many bytes can be opened.
fn db_size_mb_min(file_bytes: u64) -> u64 {
    let needed_bytes = file_bytes.saturating_add(HEADROOM_BYTES);
    needed_bytes.clamp(MAP_BYTES_MIN, MAP_BYTES_MAX).div_ceil(MB_BYTES)
}

/// What to do about a store that is full at this size.
fn room_for_more(map_bytes: u64) -> Cow<'static, str> {
    if map_bytes >= MAP_BYTES_MAX {
        return JOIN_ANEW.into();
    }
    let least_mb = db_size_mb_min(map_bytes);
    format!("restart this node with a larger --db_size, of at least {least_mb} MB").into()
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
            Place::DataFile => f.write_str("the data file"),
            Place::JournalSector(sector) => write!(f, "sector {sector} of the journal"),
            Place::Journal => f.write_str("the journal"),
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
                "stop this process if it still runs; where the store was only moved, move it back and start \
                 the node again; or else remove this node from the cluster ('ticketd leave --id N' at a \
                 member), and 'ticketd join' again with another --path"
            }
            Loss::Cut { .. } => {
                "stop this process if it still runs, leave the store aside, remove this node from the \
                 cluster ('ticketd leave --id N' at a member), and 'ticketd join' again with another --path"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn every_error_is_one_line_that_says_what_is_wrong_and_what_to_do() {
        let path = || PathBuf::from("/data/node1");
        let reason = || "Input/output error".to_owned();
        let errors = [
            (StoreError::NotFound { path: path() }, "no store", "mount the disk that it is on"),
            (
                StoreError::Exists { path: path() },
                "holds a store already",
                "'ticketd drop --path=/data/node1'",
            ),
            (
                StoreError::Interrupted { path: path(), what: Interrupted::Making },
                "making of the store at /data/node1 was interrupted",
                "again",
            ),
            (
                StoreError::Interrupted { path: path(), what: Interrupted::Destroying },
                "destroying of the store at /data/node1 was interrupted",
                "'ticketd drop --path=/data/node1'",
            ),
            (StoreError::ForeignFiles { path: path(), name: "a\nb".into() }, "a\\nb", "--path"),
            (StoreError::NotADirectory { path: path() }, "not a directory", "--path"),
            (StoreError::InUse { path: path(), pid: Some(12) }, "in use by process 12", "stop it first"),
            (StoreError::InUse { path: path(), pid: None }, "in use by another process", "stop it first"),
            (
                StoreError::InUse { path: path(), pid: Some(std::process::id()) },
                "in use by another process",
                "stop it first",
            ),
            (StoreError::Denied { action: "lock", path: path(), reason: reason() }, "cannot lock", "right"),
            (StoreError::io("write", &path(), &Errno::ACCESS.into()), "cannot write", "the right"),
            (StoreError::io("write", &path(), &Errno::ROFS.into()), "cannot write", "may have failed"),
            (StoreError::io("read", &path(), &Errno::IO.into()), "cannot read", "the disk"),
            (StoreError::io("read", &path(), &Errno::MFILE.into()), "cannot read", "ulimit -n"),
            (StoreError::io("read", &path(), &Errno::NOMEM.into()), "cannot read", "ulimit -v"),
            (StoreError::HolderUnknown { path: path() }, "/data/node1", "GET /status"),
            (StoreError::MapTooSmall { map_bytes: 1 }, "too small", "at least 16 MB"),
            (StoreError::MapTooLarge { map_bytes: 1 }, "too large", "at most 1048576 MB"),
            (
                StoreError::MapBelowFile { map_bytes: 1, file_bytes: 20_000_000 },
                "which has 20000000 bytes",
                "at least 22 MB",
            ),
            (StoreError::MapNotMapped { map_bytes: 1 }, "map 1 bytes", "ulimit -v"),
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
            (
                StoreError::lmdb("read", &path().join("data.mdb"), lmdb::Error::Corrupted),
                "the store at /data/node1 is damaged: the data file: LMDB cannot read it",
                "leave it aside",
            ),
            (StoreError::CheckEnded { signal: 9 }, "ended by signal 9", "try again"),
            (StoreError::check_not_run(&Errno::NOENT.into()), "could not be run", "try again"),
            (StoreError::check_not_run(&Errno::AGAIN.into()), "could not be run", "ulimit -u"),
            (StoreError::MapFull { map_bytes: 32 << 20 }, "full at 33554432 bytes", "at least 34 MB"),
            (StoreError::MapFull { map_bytes: MAP_BYTES_MAX }, "the store is full", "'ticketd join' again"),
            (
                StoreError::write_failed(&path(), &Errno::IO.into()),
                "a write to /data/node1 failed: Input",
                "the disk",
            ),
            (StoreError::write_failed(&path(), &Errno::FBIG.into()), "failed: File too", "ulimit -f"),
            (
                StoreError::lmdb_write(&path(), 1, lmdb::Error::Other(Errno::IO.raw_os_error())),
                "failed: Input/output error (os error 5): see whether its file system is full",
                "restart",
            ),
            (
                StoreError::lmdb_write(&path(), 1, lmdb::Error::Other(Errno::FBIG.raw_os_error())),
                "failed: File too large",
                "restart",
            ),
            (
                StoreError::EntriesLost { acknowledged: LogIndex(77), last: LogIndex(27) },
                "counts on entry 77, which this node has acknowledged, and its log ends with entry 27",
                "leave it aside, remove this node",
            ),
            (
                StoreError::EntriesLost { acknowledged: LogIndex(9), last: LogIndex(10) },
                "counts on entry 9, which this node has acknowledged, and its log has another in its place",
                "leave it aside, remove this node",
            ),
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
            (StoreError::Backlog { waiting_weight: 3 }, "3 entries and writes wait", "restart"),
            (StoreError::Bug, "a bug", "report"),
        ];
        for (error, problem, remedy) in errors {
            let said = error.to_string();
            assert!(!said.contains('\n'), "{said}");
            let at = said.find(problem).unwrap_or_else(|| panic!("{problem:?} is not in {said:?}"));
            assert!(said[at..].contains(remedy), "{remedy:?} does not follow in {said:?}");
        }
    }

    /// The command line accepts these values: see `db_size` in `src/cli/values.rs`.
    #[test]
    fn a_size_that_is_told_is_within_what_can_be_given_and_enough_where_anything_is() {
        const MB: u64 = MB_BYTES;
        for (file_bytes, told_mb) in [
            (0, 16),
            (14 * MB, 16),
            (14 * MB + 1, 17),
            (15 * MB, 17),
            (MAP_BYTES_MAX - 2 * MB, 1_048_576),
            (MAP_BYTES_MAX, 1_048_576),
            (u64::MAX, 1_048_576),
        ] {
            assert_eq!(db_size_mb_min(file_bytes), told_mb, "{file_bytes} bytes");
        }
    }
}
