//! One open store: its files, and what it must know to write the next transaction.
//!
//! A change goes to the journal, which is then synced; or it goes, with everything that waits in the journal,
//! to the data file as one batch in LMDB's default mode: the pages are written and synced, then the meta page
//! that makes them valid is written and synced. So a change is durable when its call returns, and it is on
//! the disk as a whole or not at all. This module must never know of threads or of why something is written.

mod open_files;
#[cfg(test)]
mod tests;

use std::path::Path;

use raft_core::{Membership, Payload, Recovered, Write};

use self::open_files::OpenFiles;
use super::contents::{Contents, NewStore, Recorder, Step};
use super::data_file::{Access, Batch, open_env, settle};
use super::directory;
use super::error::StoreError;
use super::files::{self, DATA_FILE, JOURNAL_FILE, LOCK_FILE, NEW_DATA_FILE};
use super::journal::{JOURNAL_BYTES, Journal, JournalFile, JournalLock};
use super::lock::{Listening, Lock};
use super::reading::Readable;
use super::record::{LostEntries, Value};
use super::{
    HEADROOM_BYTES, MAP_BYTES_MAX, MAP_BYTES_MIN, SETTING_NAME_BYTES_MAX, SETTING_VALUE_BYTES_MAX,
    SETTINGS_MAX, Setting,
};
use crate::identity::Identity;

/// Map sizes are rounded up to a multiple of this, the largest page size of the systems in use, because LMDB
/// requires whole pages.
const MAP_GRANULE_BYTES: u64 = 64 << 10;

/// An open store. While it lives, no other process can open it.
#[derive(Debug)]
pub struct Store {
    identity: Identity,
    settings: Vec<Setting>,
    recovered: Recovered,
    /// Decides what a change does.
    recorder: Recorder,
    /// Where that is done.
    files: OpenFiles,
    /// A write has failed: the disk and our state may differ, so nothing more is written.
    failed: bool,
}

impl Store {
    /// Creates a store at `path`, a directory that is empty or does not exist, and opens it. When this
    /// returns, the store survives a power cut; if it is interrupted, there is no store.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::ForeignFiles`], [`StoreError::InUse`], and any fault in the
    /// size, the settings or the file system.
    ///
    /// # Panics
    /// If the term of the snapshot is above that of the hard state.
    pub fn create(path: &Path, new: &NewStore<'_>) -> Result<Store, StoreError> {
        let new = NewStore { map_bytes: check_map_bytes(new.map_bytes)?, ..*new };
        check_settings(new.settings)?;
        directory::expect_no_store(path)?;
        let (new_directories, lock) = make_and_lock(path, files::make_directory)?;
        // Another process may have created a store before we got the lock.
        directory::expect_no_store(path)?;
        directory::clear(path)?;
        let new_data_path = path.join(NEW_DATA_FILE);
        let journal = Journal::blank(new.identity.me.incarnation, JOURNAL_BYTES);
        let made = JournalFile::create(path, &journal).and_then(|()| fill(&new_data_path, &new));
        if let Err(error) = made {
            // What is left is known to be unfinished; removing it is only tidiness. The lock file goes last:
            // it must not stay behind, because it marks a directory as a store of ours, even if another
            // program later puts its files here.
            for name in [NEW_DATA_FILE, JOURNAL_FILE, LOCK_FILE] {
                let _ = files::remove(&path.join(name));
            }
            return Err(error);
        }
        // If this fails, there may be a store; if so, it is whole.
        files::finish(path, new_directories)?;
        // No settling is needed: this process has written and synced all of it.
        Store::open_locked(path, (lock, JournalLock::acquire(path)?), Readable::Complete)
    }

    /// Opens the store at `path` and checks all of it.
    ///
    /// # Errors
    /// As [`Store::open_outdated`]; and [`StoreError::EntriesLost`].
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open_readable(path, Readable::Complete)
    }

    /// Opens the store at `path` and checks all of it, even if it lacks what its node acknowledged: it can
    /// say whose it is before it is destroyed. No node may serve with it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Interrupted`], [`StoreError::InUse`], [`StoreError::Format`],
    /// [`StoreError::Damaged`], and any fault in the file system.
    pub fn open_outdated(path: &Path) -> Result<Store, StoreError> {
        Store::open_readable(path, Readable::Outdated)
    }

    fn open_readable(path: &Path, readable: Readable) -> Result<Store, StoreError> {
        directory::expect_store(path)?;
        let locks = (Lock::acquire(path)?, JournalLock::acquire(path)?);
        // What is read here may not be durable yet, and promises to others will rest on it. One case is the
        // name of the data file: the process that created the store may have stopped right after the rename.
        // Without that name, there is no store.
        files::sync_directory(path)?;
        // A process that was killed may have left a meta page that it had not synced. Also, when the sync of
        // a meta page fails, LMDB restores the old page but cannot sync it. The disk must not hold the failed
        // meta page when the pages that it refers to are overwritten: to a reader of the file as it looks
        // now, those pages are free.
        settle(&path.join(DATA_FILE))?;
        Store::open_locked(path, locks, readable)
    }

    /// Opens a store whose data file is on the disk exactly as it will be read.
    fn open_locked(path: &Path, locks: (Lock, JournalLock), readable: Readable) -> Result<Store, StoreError> {
        let (files, contents) = OpenFiles::open(path, locks, readable)?;
        let recorder = contents.recorder();
        let Contents { identity, settings, recovered, .. } = contents;
        Ok(Store { identity, settings, recovered, recorder, files, failed: false })
    }

    /// Where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// The identity of the node.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The settings that the node was last started with.
    #[must_use]
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// What the store held of the log when it was opened or created. Empty once a
    /// [`StorageThread`](super::StorageThread) has taken the store.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.recovered.clone()
    }

    /// The last membership in what was [recovered](Store::recovered): a membership is in force from the
    /// moment it is appended (dissertation §4.1). Empty if the node has not heard from its cluster yet.
    #[must_use]
    pub fn latest_membership(&self) -> Membership {
        let Recovered { hard_state: _, snapshot, entries } = &self.recovered;
        let appended = entries.iter().rev().find_map(|entry| match &entry.payload {
            Payload::Membership(membership) => Some(membership),
            Payload::Noop | Payload::Command(_) => None,
        });
        let known = appended.or(snapshot.as_ref().map(|snapshot| &snapshot.membership));
        known.map(|membership| Membership::clone(membership)).unwrap_or_default()
    }

    /// Whether the node has received nothing of the log, so that it knows no member that it could tell where
    /// it listens.
    #[must_use]
    pub fn knows_nobody(&self) -> bool {
        self.latest_membership().members.is_empty()
    }

    /// Destroys the store as [`destroy`](super::destroy) does, and lets no other process have it before that.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn destroy(self) -> Result<(), StoreError> {
        let path = self.path().to_owned();
        directory::destroy_locked(self.files.close(), &path)
    }

    /// Frees the memory of what was recovered.
    pub(super) fn forget_recovered(&mut self) {
        self.recovered = Recovered::default();
    }

    /// The largest size that the store may reach, in bytes.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        self.files.map_bytes()
    }

    /// Changes the identity of the node. Durable on return.
    ///
    /// # Errors
    /// If the write fails; the store then takes no further writes.
    pub fn set_identity(&mut self, identity: &Identity) -> Result<(), StoreError> {
        self.carry_out(|recorder| recorder.put(Value::Identity(identity)))?;
        self.identity = *identity;
        Ok(())
    }

    /// Changes the settings that the node was last started with. Durable on return.
    ///
    /// # Errors
    /// If the settings are too many or too long, or the write fails; after a failed write, the store takes no
    /// further writes.
    pub fn set_settings(&mut self, settings: &[Setting]) -> Result<(), StoreError> {
        check_settings(settings)?;
        self.carry_out(|recorder| recorder.put(Value::Settings(settings)))?;
        self.settings = settings.to_vec();
        Ok(())
    }

    /// Notes that the store lacks entries that its node has acknowledged: it cannot be opened any more.
    /// Durable on return.
    ///
    /// # Errors
    /// If the write fails; the store then takes no further writes.
    pub(super) fn note_lost_entries(&mut self, lost: LostEntries) -> Result<(), StoreError> {
        self.carry_out(|recorder| recorder.put(Value::LostEntries(lost)))
    }

    /// Changes the largest size that the store may reach. It can shrink only if the pages in use still fit.
    /// Durable on return.
    ///
    /// # Errors
    /// [`StoreError::MapTooSmall`], [`StoreError::MapTooLarge`], [`StoreError::MapBelowFile`],
    /// [`StoreError::MapNotMapped`], and if the write fails. After the last two, the store takes no further
    /// writes.
    ///
    /// # Panics
    /// If an earlier write failed; the other changes panic too.
    pub fn resize(&mut self, map_bytes: u64) -> Result<(), StoreError> {
        assert!(!self.failed, "a new size for {} after a write that failed", self.path().display());
        let map_bytes = check_map_bytes(map_bytes)?;
        if map_bytes == self.map_bytes() {
            return Ok(());
        }
        let file_bytes = self.file_bytes()?;
        if map_bytes < file_bytes.saturating_add(HEADROOM_BYTES) {
            return Err(StoreError::MapBelowFile { map_bytes, file_bytes });
        }
        // The map is changed first, so that a size that cannot be mapped is never recorded.
        if let Err(error) = self.files.set_map_bytes(map_bytes) {
            self.failed = true;
            return Err(error);
        }
        // If the size is too small for what waits in the journal, the checkpoint shows it now.
        self.checkpoint()
    }

    /// Writes the size of the map, and everything that waits in the journal, to the data file.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        let map_bytes = self.map_bytes();
        self.carry_out(|recorder| recorder.put_in_data_file(Value::MapSize(map_bytes)))
    }

    /// Tells other processes where this one listens, as soon as the disk has room for it.
    ///
    /// # Errors
    /// If the lock file cannot be written for another reason.
    pub fn publish(&mut self, listening: &Listening) -> Result<(), StoreError> {
        self.files.lock.publish(listening)
    }

    /// Carries out the writes, in order, as one transaction. Durable on return.
    ///
    /// # Errors
    /// If the write fails. It then counts as not done, although it may be found when the store is next
    /// opened; the store takes no further writes.
    ///
    /// # Panics
    /// If a write does not follow on what is there (see [`Write`]), or an earlier write failed: both are bugs
    /// of ours.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.carry_out(|recorder| recorder.write(writes))
    }

    /// Carries out the recorder's next step.
    fn carry_out(&mut self, next: impl FnOnce(&mut Recorder) -> Step<'_>) -> Result<(), StoreError> {
        assert!(!self.failed, "a write to {} after one that failed", self.path().display());
        let done = match next(&mut self.recorder) {
            Step::Append { offset, bytes } => self.files.append(offset, bytes),
            Step::Checkpoint(pending) => self.files.checkpoint(pending),
        };
        self.failed = done.is_err();
        done
    }

    /// Checks that the open files of the store are those at its path, and no shorter than they were. The
    /// contents of the files are not read.
    ///
    /// # Errors
    /// [`StoreError::Lost`], and if the file system cannot tell; the store then takes no further writes.
    pub(super) fn check_in_place(&mut self) -> Result<(), StoreError> {
        let checked = self.files.check_in_place();
        self.failed |= checked.is_err();
        if checked.is_ok() {
            self.files.lock.catch_up_on_publishing();
        }
        checked
    }

    /// How many transactions have gone to the data file since the store was opened.
    pub(super) fn checkpoints(&self) -> u64 {
        self.files.checkpoints()
    }

    /// The size of the data file's pages, in bytes.
    pub(super) fn file_bytes(&self) -> Result<u64, StoreError> {
        self.files.file_bytes()
    }

    /// Makes writes to the journal fail with this error number, in a test.
    #[cfg(test)]
    pub(super) fn fail_journal(&mut self, errno: i32) {
        self.files.journal.fault = Some(errno);
    }
}

/// Fills a new data file.
fn fill(data_path: &Path, new: &NewStore<'_>) -> Result<(), StoreError> {
    let records = new.records(JOURNAL_BYTES);
    let (env, db) = open_env(data_path, new.map_bytes, Access::Fill)?;
    let error = |e| StoreError::lmdb("write", data_path, e);
    let mut record = Vec::new();
    let mut batch = Batch::begin(&env, db).map_err(error)?;
    for value in records {
        value.encode(&mut record);
        batch.put(value.key().to_bytes().as_ref(), &record).map_err(error)?;
    }
    batch.commit().map_err(error)?;
    env.sync(true).map_err(error)
}

/// Makes the directory with `make`, and locks it. Returns what `make` did.
fn make_and_lock<T>(
    path: &Path,
    make: impl Fn(&Path) -> Result<T, StoreError>,
) -> Result<(T, Lock), StoreError> {
    let made = make(path)?;
    match Lock::acquire(path) {
        // It was there, and a process that destroyed the store in it has now removed it.
        Err(StoreError::NotFound { .. }) => Ok((make(path)?, Lock::acquire(path)?)),
        locked => Ok((made, locked?)),
    }
}

/// Rounds the size up to whole granules, if it is within the bounds.
fn check_map_bytes(map_bytes: u64) -> Result<u64, StoreError> {
    if map_bytes < MAP_BYTES_MIN {
        return Err(StoreError::MapTooSmall { map_bytes });
    }
    if map_bytes > MAP_BYTES_MAX {
        return Err(StoreError::MapTooLarge { map_bytes });
    }
    Ok(map_bytes.next_multiple_of(MAP_GRANULE_BYTES))
}

fn check_settings(settings: &[Setting]) -> Result<(), StoreError> {
    if settings.len() > SETTINGS_MAX {
        return Err(StoreError::TooManySettings { count: settings.len() });
    }
    for (name, value) in settings {
        if name.len() > SETTING_NAME_BYTES_MAX || value.len() > SETTING_VALUE_BYTES_MAX {
            return Err(StoreError::SettingTooLong { name: name.chars().take(NAME_CHARS_SHOWN).collect() });
        }
    }
    Ok(())
}

/// How much of a setting's name an error quotes.
const NAME_CHARS_SHOWN: usize = 40;
