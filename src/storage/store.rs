//! One open store: its environment, its lock, and what it must know to write the next transaction.
//!
//! A change goes to the journal, which is then synced; or it goes, with everything that waits in the journal,
//! to the data file as one batch in LMDB's default mode: the pages are written and synced, then the meta page
//! that makes them valid is written and synced. So a change is durable when its call returns, and it is on
//! the disk as a whole or not at all. This module must never know of threads or of why something is written.

use std::path::{Path, PathBuf};

use lmdb::{Database, Environment};
use raft_core::{HardState, Membership, Payload, Recovered, Snapshot, Write};

use super::contents::{Contents, Recorder, Step, new_records};
#[cfg(test)]
use super::data_file::Fault;
use super::data_file::{Access, Batch, open_env, set_map_bytes, settle};
use super::directory;
use super::error::StoreError;
use super::files::{self, DATA_FILE, JOURNAL_FILE, LOCK_FILE, NEW_DATA_FILE};
use super::journal::{JOURNAL_BYTES, Journal, JournalFile};
use super::lock::{Listening, Lock};
use super::reading::{Reading, read};
use super::record::Value;
use super::watch::Watched;
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
    env: Environment,
    db: Database,
    path: PathBuf,
    identity: Identity,
    settings: Vec<Setting>,
    map_bytes: u64,
    recovered: Recovered,
    recorder: Recorder,
    pub(super) journal: JournalFile,
    data: Watched,
    checkpoints: u64,
    /// A write has failed: the disk and our state may differ, so nothing more is written.
    failed: bool,
    #[cfg(test)]
    pub(super) fault: Option<Fault>,
    /// Last, so that the lock is released after the environment is closed.
    lock: Lock,
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
    /// If the term of the initial snapshot is above that of the initial hard state.
    pub fn create(
        path: &Path,
        map_bytes: u64,
        identity: &Identity,
        settings: &[Setting],
        initial: Option<(HardState, Snapshot)>,
    ) -> Result<Store, StoreError> {
        let map_bytes = check_map_bytes(map_bytes)?;
        check_settings(settings)?;
        directory::expect_no_store(path)?;
        files::make_directory(path)?;
        let lock = Lock::acquire(path)?;
        // Another process may have created a store before we got the lock.
        directory::expect_no_store(path)?;
        directory::clear(path)?;
        let new_data_path = path.join(NEW_DATA_FILE);
        let journal = Journal::blank(identity.me.incarnation, JOURNAL_BYTES);
        let made = JournalFile::create(path, &journal)
            .and_then(|()| fill(&new_data_path, map_bytes, identity, settings, initial));
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
        files::finish(path)?;
        // No settling is needed: this process has written and synced all of it.
        Store::open_locked(path, lock)
    }

    /// Opens the store at `path` and checks all of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Interrupted`], [`StoreError::InUse`], [`StoreError::Format`],
    /// [`StoreError::Damaged`], and any fault in the file system.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        directory::expect_store(path)?;
        let lock = Lock::acquire(path)?;
        // What is read here may not be durable yet, and promises to others will rest on it. One case is the
        // name of the data file: the process that created the store may have stopped right after the rename.
        // Without that name, there is no store.
        files::sync_directory(path)?;
        // A process that was killed may have left a meta page that it had not synced. Also, when the sync of
        // a meta page fails, LMDB restores the old page but cannot sync it. The disk must not hold the failed
        // meta page when the pages that it refers to are overwritten: to a reader of the file as it looks
        // now, those pages are free.
        settle(&path.join(DATA_FILE))?;
        Store::open_locked(path, lock)
    }

    /// Opens a store whose data file is on the disk exactly as it will be read.
    fn open_locked(path: &Path, lock: Lock) -> Result<Store, StoreError> {
        let mut data = Watched::open(&path.join(DATA_FILE))?;
        let reading = read(path, Access::Write)?;
        let Reading { env, db, report: _, journal: journal_bytes, contents } = reading;
        let journal = JournalFile::open(path, journal_bytes.len() as u64)?;
        // The last transaction attests that those before it are durable.
        let last = contents.last_in_journal();
        journal.settle(last.start, &journal_bytes[last])?;
        let recorder = contents.recorder();
        let Contents { identity, settings, map_bytes, recovered, .. } = contents;
        set_map_bytes(&env, path, map_bytes)?;
        check_in_place(&mut data, &journal, &lock)?;
        Ok(Store {
            env,
            db,
            path: path.to_owned(),
            identity,
            settings,
            map_bytes,
            recovered,
            recorder,
            journal,
            data,
            checkpoints: 0,
            failed: false,
            #[cfg(test)]
            fault: None,
            lock,
        })
    }

    /// Where the store is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
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

    /// Frees the memory of what was recovered.
    pub(super) fn forget_recovered(&mut self) {
        self.recovered = Recovered::default();
    }

    /// The largest size that the store may reach, in bytes.
    #[must_use]
    pub fn map_bytes(&self) -> u64 {
        self.map_bytes
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

    /// Changes the largest size that the store may reach. It can shrink only if the pages in use still fit.
    /// Durable on return.
    ///
    /// # Errors
    /// [`StoreError::MapTooSmall`], [`StoreError::MapTooLarge`], [`StoreError::MapBelowUse`],
    /// [`StoreError::MapNotMapped`], and if the write fails. After the last two, the store takes no further
    /// writes.
    ///
    /// # Panics
    /// If an earlier write failed; the other changes panic too.
    pub fn resize(&mut self, map_bytes: u64) -> Result<(), StoreError> {
        assert!(!self.failed, "a new size for {} after a write that failed", self.path.display());
        let map_bytes = check_map_bytes(map_bytes)?;
        if map_bytes == self.map_bytes {
            return Ok(());
        }
        let used_bytes = self.used_bytes()?;
        if map_bytes < used_bytes.saturating_add(HEADROOM_BYTES) {
            return Err(StoreError::MapBelowUse { map_bytes, used_bytes });
        }
        // The map is changed first, so that a size that cannot be mapped is never recorded.
        if let Err(error) = set_map_bytes(&self.env, &self.path, map_bytes) {
            self.failed = true;
            return Err(error);
        }
        self.map_bytes = map_bytes;
        // If the size is too small for what waits in the journal, the checkpoint shows it now.
        self.checkpoint()
    }

    /// Writes the size of the map, and everything that waits in the journal, to the data file.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        let map_bytes = self.map_bytes;
        self.carry_out(|recorder| recorder.put_in_data_file(Value::MapSize(map_bytes)))
    }

    /// Tells other processes where this one listens, as soon as the disk has room for it.
    ///
    /// # Errors
    /// If the lock file cannot be written for another reason.
    pub fn publish(&mut self, listening: &Listening) -> Result<(), StoreError> {
        self.lock.publish(listening)
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
    fn carry_out<'s>(
        &'s mut self,
        next: impl FnOnce(&'s mut Recorder) -> Step<'s>,
    ) -> Result<(), StoreError> {
        assert!(!self.failed, "a write to {} after one that failed", self.path.display());
        let done = match next(&mut self.recorder) {
            Step::Append { offset, bytes } => {
                self.journal.expect_whole_before(offset, bytes).and_then(|()| {
                    self.journal
                        .write(offset, bytes)
                        .map_err(|error| StoreError::write_failed(&self.path, &error))
                })
            }
            // LMDB reads the file through its map: if the file was cut short, that kills the process.
            Step::Checkpoint(pending) => {
                check_in_place(&mut self.data, &self.journal, &self.lock).and_then(|()| {
                    let begun = Batch::begin(&self.env, self.db);
                    let done = begun.and_then(|mut batch| {
                        #[cfg(test)]
                        {
                            batch.fault = self.fault;
                        }
                        pending.iter().try_for_each(|(key, record)| match record {
                            Some(record) => batch.put(key.as_ref(), record),
                            None => batch.delete(key.as_ref()),
                        })?;
                        batch.commit()
                    });
                    self.checkpoints += 1;
                    done.map_err(|error| StoreError::lmdb_write(&self.path, self.map_bytes, error))?;
                    // The batch may have extended the file.
                    check_in_place(&mut self.data, &self.journal, &self.lock)
                })
            }
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
        let checked = check_in_place(&mut self.data, &self.journal, &self.lock);
        self.failed |= checked.is_err();
        if checked.is_ok() {
            self.lock.catch_up_on_publishing();
        }
        checked
    }

    /// How many transactions have gone to the data file since the store was opened.
    pub(super) fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// The size of the data file's pages, in bytes.
    pub(super) fn used_bytes(&self) -> Result<u64, StoreError> {
        let error = |e| StoreError::lmdb("read", &self.path, e);
        let pages = self.env.info().map_err(error)?.last_pgno() as u64 + 1;
        Ok(pages * u64::from(self.env.stat().map_err(error)?.page_size()))
    }
}

/// See [`Store::check_in_place`].
fn check_in_place(data: &mut Watched, journal: &JournalFile, lock: &Lock) -> Result<(), StoreError> {
    // The data file goes first because its name says most in an error: all of the files may be gone.
    data.check_in_place()?;
    journal.check_in_place()?;
    lock.check_in_place()
}

/// Fills a new data file.
fn fill(
    data_path: &Path,
    map_bytes: u64,
    identity: &Identity,
    settings: &[Setting],
    initial: Option<(HardState, Snapshot)>,
) -> Result<(), StoreError> {
    let (hard_state, snapshot) = match initial {
        Some((hard_state, snapshot)) => (hard_state, Some(snapshot)),
        None => (HardState::default(), None),
    };
    let records = new_records(identity, settings, map_bytes, JOURNAL_BYTES, &hard_state, snapshot.as_ref());
    let (env, db) = open_env(data_path, map_bytes, Access::Write)?;
    let error = |e| StoreError::lmdb("write", data_path, e);
    let mut record = Vec::new();
    let mut batch = Batch::begin(&env, db).map_err(error)?;
    for value in records {
        value.encode(&mut record);
        batch.put(value.key().to_bytes().as_ref(), &record).map_err(error)?;
    }
    batch.commit().map_err(error)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lmdb::{Cursor, RwTransaction, Transaction, WriteFlags};
    use raft_core::{Entry, Incarnation, LogIndex, NodeId, Peer, Term};

    use super::*;
    use crate::settings::MB_BYTES;
    use crate::storage::contents::Collector;
    use crate::storage::record::Key;
    use crate::storage::testing::{self, TestDir, append, entry, member, settings, snapshot, write};
    use crate::storage::{Interrupted, Loss, Place, SECTOR_BYTES, destroy, running, verify};

    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;

    fn new_store(dir: &TestDir) -> Store {
        let initial = (HardState { current_term: Term(1), voted_for: None }, snapshot(1, 1));
        Store::create(dir.path(), MAP_BYTES_MIN, &member(), &settings(), Some(initial)).unwrap()
    }

    /// A store with entries 2 to 4 in the data file, so that they can be edited.
    fn store_to_edit(dir: &TestDir) {
        let mut store = new_store(dir);
        store.write(&[append(1, 2..=4, 1)]).unwrap();
        store.checkpoint().unwrap();
    }

    fn peer(id: u64) -> Peer {
        Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(7) }
    }

    fn reopened(dir: &TestDir) -> Recovered {
        Store::open(dir.path()).unwrap().recovered()
    }

    /// Changes the database behind the store's back.
    fn edit(dir: &TestDir, change: impl FnOnce(&mut RwTransaction<'_>, Database)) {
        let (env, db) = open_env(&dir.path().join(DATA_FILE), MAP_BYTES_MIN, Access::Write).unwrap();
        let mut txn = env.begin_rw_txn().unwrap();
        change(&mut txn, db);
        txn.commit().unwrap();
    }

    fn records(dir: &TestDir) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (env, db) = open_env(&dir.path().join(DATA_FILE), MAP_BYTES_MIN, Access::Read).unwrap();
        let txn = env.begin_ro_txn().unwrap();
        let mut cursor = txn.open_ro_cursor(db).unwrap();
        cursor.iter().map(|item| item.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect()
    }

    #[test]
    fn a_new_store_holds_what_it_was_made_with_before_and_after_reopening() {
        let dir = TestDir::new();
        for store in [|dir: &TestDir| new_store(dir), |dir: &TestDir| Store::open(dir.path()).unwrap()] {
            let store = store(&dir);
            assert_eq!(*store.identity(), member());
            assert_eq!(store.settings(), settings());
            assert_eq!(store.map_bytes(), MAP_BYTES_MIN);
            assert_eq!(store.recovered().hard_state.current_term, Term(1));
            assert_eq!(store.recovered().snapshot.as_deref(), Some(&snapshot(1, 1)));
            assert_eq!(store.recovered().entries, []);
        }
    }

    #[test]
    fn every_part_of_a_write_is_there_after_reopening() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let hard_state = HardState { current_term: Term(3), voted_for: Some(peer(2)) };
        store.write(&[Write { hard_state: Some(hard_state), ..append(1, 2..=9, 3) }]).unwrap();
        store.write(&[Write { truncate_from: Some(LogIndex(7)), ..append(2, 7..=8, 3) }]).unwrap();
        store.write(&[Write { snapshot: Some(Arc::new(snapshot(4, 3))), ..write(3) }]).unwrap();
        drop(store);
        let recovered = reopened(&dir);
        assert_eq!(recovered.hard_state, hard_state);
        assert_eq!(recovered.snapshot.as_deref(), Some(&snapshot(4, 3)));
        assert_eq!(recovered.entries, (5..=8).map(|i| entry(i, 3)).collect::<Vec<_>>());
    }

    #[test]
    fn a_snapshot_beyond_the_log_replaces_all_of_it_and_the_log_goes_on_after_it() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        store.write(&[append(1, 2..=9, 1)]).unwrap();
        store
            .write(&[
                Write {
                    hard_state: Some(HardState { current_term: Term(5), voted_for: None }),
                    snapshot: Some(Arc::new(snapshot(100, 4))),
                    ..write(2)
                },
                append(3, 101..=101, 5),
            ])
            .unwrap();
        drop(store);
        let recovered = reopened(&dir);
        assert_eq!(recovered.snapshot.as_deref(), Some(&snapshot(100, 4)));
        assert_eq!(recovered.entries, [entry(101, 5)]);
    }

    #[test]
    fn after_a_truncation_the_terms_go_on_from_the_entry_that_is_left() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let hard_state = Some(HardState { current_term: Term(9), voted_for: None });
        store.write(&[Write { hard_state, ..append(1, 2..=3, 2) }, append(2, 4..=5, 8)]).unwrap();
        // Term 3 is below 8, but above 2, the term of the entry before.
        store.write(&[Write { truncate_from: Some(LogIndex(4)), ..append(3, 4..=4, 3) }]).unwrap();
        // The same, down to the snapshot of term 1.
        store.write(&[Write { truncate_from: Some(LogIndex(2)), ..append(4, 2..=2, 1) }]).unwrap();
        drop(store);
        assert_eq!(reopened(&dir).entries, [entry(2, 1)]);
    }

    #[test]
    fn a_store_that_has_joined_and_heard_nothing_has_no_snapshot() {
        let dir = TestDir::new();
        let identity = Identity { standing: crate::identity::Standing::Joining, ..member() };
        let mut store = Store::create(dir.path(), MAP_BYTES_MIN, &identity, &[], None).unwrap();
        assert_eq!(store.recovered(), Recovered::default());
        store.set_identity(&member()).unwrap();
        store.set_settings(&settings()).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!((*store.identity(), store.settings()), (member(), &settings()[..]));
        assert_eq!(store.recovered(), Recovered::default());
    }

    #[test]
    fn the_membership_appended_last_counts_and_else_that_of_the_snapshot_and_else_none() {
        let (dir, unheard) = (TestDir::new(), TestDir::new());
        let store = Store::create(unheard.path(), MAP_BYTES_MIN, &member(), &[], None).unwrap();
        assert_eq!(store.latest_membership(), Membership::default());

        let mut store = new_store(&dir);
        let of_snapshot = Membership::clone(&snapshot(1, 1).membership);
        assert_eq!(store.latest_membership(), of_snapshot);
        let [one, other] = [8, 9].map(|id| {
            let mut membership = of_snapshot.clone();
            let member = membership.members.values().next().unwrap().clone();
            membership.members.insert(NodeId::new(id).unwrap(), member);
            membership
        });
        let change = |index, to: &Membership| Entry {
            payload: Payload::Membership(Arc::new(to.clone())),
            ..entry(index, 1)
        };
        let entries = vec![change(2, &one), change(3, &other), entry(4, 1)];
        store.write(&[Write { entries, ..write(1) }]).unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().latest_membership(), other);
    }

    #[test]
    #[should_panic(expected = "entry 4 where 2 follows")]
    fn an_entry_that_leaves_a_gap_is_a_bug() {
        let dir = TestDir::new();
        let _ = new_store(&dir).write(&[append(1, 4..=4, 1)]);
    }

    #[test]
    #[should_panic(expected = "an entry of term 2 in term 1")]
    fn an_entry_of_a_term_to_come_is_a_bug() {
        let dir = TestDir::new();
        let _ = new_store(&dir).write(&[append(1, 2..=2, 2)]);
    }

    #[test]
    #[should_panic(expected = "term 1 after term 2")]
    fn a_term_that_goes_down_is_a_bug() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let in_term = |term| Some(HardState { current_term: Term(term), voted_for: None });
        store.write(&[Write { hard_state: in_term(2), ..write(1) }]).unwrap();
        let _ = store.write(&[Write { hard_state: in_term(1), ..write(2) }]);
    }

    #[test]
    #[should_panic(expected = "in term 2")]
    fn a_second_vote_in_one_term_is_a_bug() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let vote = |id| Some(HardState { current_term: Term(2), voted_for: Some(peer(id)) });
        store.write(&[Write { hard_state: vote(1), ..write(1) }]).unwrap();
        let _ = store.write(&[Write { hard_state: vote(2), ..write(2) }]);
    }

    #[test]
    #[should_panic(expected = "a truncation from entry 1 where the log begins after 1")]
    fn a_truncation_of_what_the_snapshot_stands_for_is_a_bug() {
        let dir = TestDir::new();
        let _ = new_store(&dir).write(&[Write { truncate_from: Some(LogIndex(1)), ..write(1) }]);
    }

    #[test]
    fn every_record_with_a_bit_flipped_is_named_and_never_served() {
        let dir = TestDir::new();
        store_to_edit(&dir);
        let sound = records(&dir);
        assert_eq!(sound.len(), 10);
        for (key, value) in &sound {
            for bit in 0..value.len() * 8 {
                let mut flipped = value.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let error = Collector::new(dir.path()).add(key, &flipped).unwrap_err();
                let place = Place::Record(Key::from_bytes(key).unwrap());
                assert!(
                    matches!(&error, StoreError::Damaged { place: found, .. } if *found == place),
                    "bit {bit} of {place}: {error}"
                );
            }
            let mut flipped = value.clone();
            flipped[0] ^= 0x80;
            edit(&dir, |txn, db| txn.put(db, key, &flipped, WriteFlags::empty()).unwrap());
            let key_name = Key::from_bytes(key).unwrap().to_string();
            assert!(Store::open(dir.path()).unwrap_err().to_string().contains(&key_name));
            edit(&dir, |txn, db| txn.put(db, key, value, WriteFlags::empty()).unwrap());
        }
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn every_record_that_is_removed_is_missed() {
        let dir = TestDir::new();
        store_to_edit(&dir);
        for (key, value) in records(&dir) {
            edit(&dir, |txn, db| txn.del(db, &key, None).unwrap());
            let missing = StoreError::Damaged {
                path: dir.path().to_owned(),
                place: Place::Record(Key::from_bytes(&key).unwrap()),
                reason: "it is missing".into(),
            };
            assert_eq!(Store::open(dir.path()).unwrap_err(), missing);
            assert_eq!(verify(dir.path()).unwrap_err(), missing);
            edit(&dir, |txn, db| txn.put(db, &key, &value, WriteFlags::empty()).unwrap());
        }
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_record_of_an_unknown_kind_or_of_another_format_is_refused() {
        let dir = TestDir::new();
        drop(new_store(&dir));
        edit(&dir, |txn, db| txn.put(db, b"stranger", b"x", WriteFlags::empty()).unwrap());
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("unknown key 737472616e67657200"), "{error}");
        edit(&dir, |txn, db| txn.del(db, b"stranger", None).unwrap());

        edit(&dir, |txn, db| {
            let key = Key::Identity.to_bytes();
            let mut other = vec![FORMAT_OF_ANOTHER_VERSION, 1, 2, 3];
            let crc = {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(key.as_ref());
                hasher.update(&other);
                hasher.finalize()
            };
            other.extend_from_slice(&crc.to_be_bytes());
            txn.put(db, &key, &other, WriteFlags::empty()).unwrap();
        });
        let error = Store::open(dir.path()).unwrap_err();
        assert_eq!(
            error,
            StoreError::Format { path: dir.path().to_owned(), found: FORMAT_OF_ANOTHER_VERSION }
        );
        assert!(error.to_string().contains("has format 9, this program reads 2"), "{error}");
    }

    const FORMAT_OF_ANOTHER_VERSION: u8 = 9;

    #[test]
    fn a_failed_write_leaves_the_store_as_it_was_and_is_never_followed_by_another() {
        let resize = |store: &mut Store| store.resize(2 * MAP_BYTES_MIN);
        let append = |store: &mut Store| store.write(&[append(2, 3..=3, 1)]);
        type Change<'a> = &'a dyn Fn(&mut Store) -> Result<(), StoreError>;
        let in_data_file = |fault| (Some(fault), None, &resize as Change<'_>);
        let in_journal = |errno| (None, Some(errno), &append as Change<'_>);
        for ((of_batch, of_journal, change), said) in [
            (in_data_file(Fault::Commit(EIO)), "Input/output error"),
            (in_data_file(Fault::Commit(ENOSPC)), "No space left on device"),
            (in_data_file(Fault::Put(EIO)), "Input/output error"),
            (in_journal(EIO), "Input/output error"),
            (in_journal(ENOSPC), "No space left on device"),
        ] {
            let dir = TestDir::new();
            let mut store = new_store(&dir);
            store.write(&[testing::append(1, 2..=2, 1)]).unwrap();
            store.fault = of_batch;
            store.journal.fault = of_journal;
            let error = change(&mut store).unwrap_err();
            assert!(matches!(&error, StoreError::WriteFailed { .. }), "{error}");
            assert!(error.to_string().contains(said), "{error}");
            store.fault = None;
            store.journal.fault = None;
            let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| append(&mut store)));
            assert!(again.is_err(), "a write after one that failed");
            drop(store);
            assert_eq!(reopened(&dir).entries, [entry(2, 1)]);
            assert_eq!(Store::open(dir.path()).unwrap().map_bytes(), MAP_BYTES_MIN);
        }
    }

    fn journal(dir: &TestDir) -> Vec<u8> {
        std::fs::read(dir.path().join(JOURNAL_FILE)).unwrap()
    }

    fn set_journal(dir: &TestDir, bytes: &[u8]) {
        std::fs::write(dir.path().join(JOURNAL_FILE), bytes).unwrap();
    }

    fn assert_damaged(dir: &TestDir, place: Place) {
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { place: found, .. } if *found == place), "{error}");
        assert_eq!(verify(dir.path()).unwrap_err(), error);
    }

    #[test]
    fn every_sector_of_the_journal_that_is_damaged_is_named_and_the_store_is_not_served_from() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        for index in 2..=4 {
            store.write(&[append(1, index..=index, 1)]).unwrap();
        }
        drop(store);
        let sound = journal(&dir);
        for sector in (0..40).chain((40..sound.len() / SECTOR_BYTES).step_by(97)) {
            let mut rotten = sound.clone();
            rotten[sector * SECTOR_BYTES + sector % SECTOR_BYTES] ^= 4;
            set_journal(&dir, &rotten);
            assert_damaged(&dir, Place::Journal(sector));
        }
        set_journal(&dir, &sound);
        assert_eq!(reopened(&dir).entries, [entry(2, 1), entry(3, 1), entry(4, 1)]);
    }

    #[test]
    fn a_journal_that_is_missing_of_another_length_or_of_another_store_is_refused() {
        let (dir, other) = (TestDir::new(), TestDir::new());
        new_store(&dir).write(&[append(1, 2..=4, 1)]).unwrap();
        let me = Peer { incarnation: Incarnation(8), ..member().me };
        let stranger = Identity { me, ..member() };
        drop(Store::create(other.path(), MAP_BYTES_MIN, &stranger, &[], None).unwrap());
        let sound = journal(&dir);
        for bytes in [vec![], sound[..sound.len() / 2].to_vec(), [&sound[..], &sound[..]].concat()] {
            set_journal(&dir, &bytes);
            assert_damaged(&dir, Place::JournalFile);
        }
        set_journal(&dir, &journal(&other));
        assert_damaged(&dir, Place::Journal(0));
        files::remove(&dir.path().join(JOURNAL_FILE)).unwrap();
        assert_damaged(&dir, Place::JournalFile);
        set_journal(&dir, &sound);
        assert_eq!(reopened(&dir).entries.len(), 3);
    }

    #[test]
    fn a_data_file_that_is_older_than_its_journal_is_refused() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let data_path = dir.path().join(DATA_FILE);
        let older = std::fs::read(&data_path).unwrap();
        store.write(&[append(1, 2..=2, 1)]).unwrap();
        store.checkpoint().unwrap();
        store.write(&[append(1, 3..=3, 1)]).unwrap();
        drop(store);
        std::fs::write(data_path, older).unwrap();
        assert_damaged(&dir, Place::Journal(0));
    }

    #[test]
    fn a_checkpoint_that_fails_loses_nothing_that_was_durable_before_it() {
        for fault in [Fault::Put(EIO), Fault::Commit(ENOSPC)] {
            let dir = TestDir::new();
            let mut store = new_store(&dir);
            store.fault = Some(fault);
            let mut last = 1;
            while store.write(&[append(1, last + 1..=last + 1, 1)]).is_ok() {
                last += 1;
            }
            drop(store);
            assert_eq!(last, 1 + JOURNAL_BYTES / 4096, "a block for each, and then a checkpoint");
            let mut store = Store::open(dir.path()).unwrap();
            assert_eq!(store.recovered().entries.last(), Some(&entry(last, 1)));
            store.write(&[append(1, last + 1..=last + 1, 1)]).unwrap();
            store.write(&[append(1, last + 2..=last + 2, 1)]).unwrap();
            drop(store);
            assert_eq!(reopened(&dir).entries.last(), Some(&entry(last + 2, 1)));
            assert_eq!(verify(dir.path()).unwrap().journalled, 1);
        }
    }

    #[test]
    fn a_transaction_that_was_not_finished_never_was_and_the_next_goes_in_its_place() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        store.write(&[append(1, 2..=2, 1)]).unwrap();
        let before = journal(&dir);
        store.write(&[append(1, 3..=90, 1)]).unwrap();
        drop(store);
        let after = journal(&dir);
        for landed in [0b0111_1111_1111_1111, 0b1000_0000_0000_0000, 0b1010_1010_1010_1010, 0] {
            let mut torn = before.clone();
            // The write begins with the second block.
            for sector in (0..16).filter(|sector| landed >> sector & 1 == 1) {
                let range = (8 + sector) * SECTOR_BYTES..(9 + sector) * SECTOR_BYTES;
                torn[range.clone()].copy_from_slice(&after[range]);
            }
            set_journal(&dir, &torn);
            let mut store = Store::open(dir.path()).unwrap();
            assert_eq!(store.recovered().entries, [entry(2, 1)], "{landed:b}");
            store.write(&[append(1, 3..=3, 1)]).unwrap();
            drop(store);
            assert_eq!(reopened(&dir).entries, [entry(2, 1), entry(3, 1)], "{landed:b}");
        }
    }

    /// Writes entries of 4 KiB until one fails.
    fn fill_up(store: &mut Store) -> (u64, StoreError) {
        let mut last = store.recovered().entries.last().map_or(1, |entry| entry.index.0);
        loop {
            let entries = (last + 1..=last + 100).map(|index| Entry {
                index: LogIndex(index),
                term: Term(1),
                payload: Payload::Command(Arc::from(vec![0u8; 4096])),
            });
            match store.write(&[Write { entries: entries.collect(), ..write(1) }]) {
                Ok(()) => last += 100,
                Err(error) => return (last, error),
            }
        }
    }

    #[test]
    fn a_full_store_fails_the_write_and_takes_more_once_it_is_given_more() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let (last, error) = fill_up(&mut store);
        assert_eq!(error, StoreError::MapFull { map_bytes: MAP_BYTES_MIN });
        assert!(error.to_string().contains("--db_size"), "{error}");
        drop(store);

        let mut store = Store::open(dir.path()).unwrap();
        assert_eq!(store.recovered().entries.last().unwrap().index, LogIndex(last));
        store.resize(MAP_BYTES_MIN).unwrap();
        store.resize(2 * MAP_BYTES_MIN).unwrap();
        assert!(matches!(store.resize(MAP_BYTES_MIN), Err(StoreError::MapBelowUse { .. })));
        store.write(&[append(1, last + 1..=last + 1, 1)]).unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.map_bytes(), 2 * MAP_BYTES_MIN);
        assert_eq!(store.recovered().entries.last().unwrap().index, LogIndex(last + 1));
    }

    /// The size in MB that an error tells the operator to give.
    fn told_mb(error: &StoreError) -> u64 {
        let said = error.to_string();
        let number = said.split("at least ").nth(1).and_then(|rest| rest.strip_suffix(" MB"));
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"))
    }

    #[test]
    fn the_size_that_a_refusal_names_is_taken_and_a_smaller_one_is_not() {
        for full_at_mb in [16, 17] {
            let dir = TestDir::new();
            let mut store = new_store(&dir);
            store.resize(full_at_mb * MB_BYTES).unwrap();
            let (_, full) = fill_up(&mut store);
            drop(store);
            let mut store = Store::open(dir.path()).unwrap();
            store.resize(told_mb(&full) * MB_BYTES).unwrap();
            let used_bytes = store.used_bytes().unwrap();
            store.resize(8 * MAP_BYTES_MIN).unwrap();
            let below_use = store.resize(MAP_BYTES_MIN).unwrap_err();
            let told = told_mb(&below_use);
            assert!((used_bytes + HEADROOM_BYTES).div_ceil(MB_BYTES) <= told, "{below_use}");
            let smaller = store.resize((told - 1) * MB_BYTES).unwrap_err();
            assert_eq!(told_mb(&smaller), told);
            store.resize(told * MB_BYTES).unwrap();
            drop(store);
            assert_eq!(Store::open(dir.path()).unwrap().map_bytes(), told * MB_BYTES);
        }
    }

    #[test]
    fn a_store_that_is_full_to_the_last_page_can_be_opened_and_given_more() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let (mut last, _) = fill_up(&mut store);
        drop(store);
        // Entry by entry, until nothing fits any more.
        loop {
            let mut store = Store::open(dir.path()).unwrap();
            let before = last;
            while store.write(&[append(1, last + 1..=last + 1, 1)]).is_ok() {
                last += 1;
            }
            if last == before {
                break;
            }
        }
        let mut store = Store::open(dir.path()).unwrap();
        store.resize(2 * MAP_BYTES_MIN).unwrap();
        store.write(&[append(1, last + 1..=last + 1, 1)]).unwrap();
    }

    #[test]
    fn sizes_out_of_bounds_and_sizes_that_cannot_be_mapped_are_refused() {
        let dir = TestDir::new();
        let create = |bytes| Store::create(dir.path(), bytes, &member(), &[], None).map(|_| ());
        assert_eq!(create(1), Err(StoreError::MapTooSmall { map_bytes: 1 }));
        let too_large = MAP_BYTES_MAX + 1;
        assert_eq!(create(too_large), Err(StoreError::MapTooLarge { map_bytes: too_large }));
        let mut store = new_store(&dir);
        store.resize(MAP_BYTES_MIN + 1).unwrap();
        assert_eq!(store.map_bytes(), MAP_BYTES_MIN + MAP_GRANULE_BYTES);
        // A smaller size is accepted if what is there fits.
        store.resize(MAP_BYTES_MIN).unwrap();
        drop(store);
        assert_eq!(Store::open(dir.path()).unwrap().map_bytes(), MAP_BYTES_MIN);
    }

    #[test]
    fn settings_that_cannot_be_kept_are_refused_and_nothing_is_made() {
        let dir = TestDir::new();
        let long = vec![("name".to_owned(), "v".repeat(SETTING_VALUE_BYTES_MAX + 1))];
        let many = vec![("name".to_owned(), String::new()); SETTINGS_MAX + 1];
        for bad in [long, many] {
            assert!(Store::create(dir.path(), MAP_BYTES_MIN, &member(), &bad, None).is_err());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let most = vec![("n".repeat(320), "v".repeat(SETTING_VALUE_BYTES_MAX)); SETTINGS_MAX];
        drop(Store::create(dir.path(), MAP_BYTES_MIN, &member(), &most, None).unwrap());
        assert_eq!(Store::open(dir.path()).unwrap().settings(), most);
    }

    #[test]
    fn a_log_that_is_compacted_uses_a_bounded_number_of_pages() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let mut last = 1;
        while last < 200_000 {
            let batch: Vec<Write> = (1..=256).map(|i| append(i, last + i..=last + i, 1)).collect();
            store.write(&batch).unwrap();
            last += 256;
            if last % 4096 == 1 {
                let to = Arc::new(snapshot(last - 256, 1));
                store.write(&[Write { snapshot: Some(to), ..write(257) }]).unwrap();
            }
        }
        drop(store);
        let findings = verify(dir.path()).unwrap();
        assert!(findings.file_bytes < 4 << 20, "{findings}");
        // LMDB loses no pages: each is either in use or known to be free.
        assert_eq!(findings.used_bytes + findings.free_bytes, findings.file_bytes, "{findings}");
    }

    #[test]
    fn the_smallest_store_holds_what_a_leader_that_is_cut_off_may_add_twice_over() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let mut last = 1;
        while last < 4096 + 16_384 {
            let entries = (last + 1..=last + 128).map(|index| Entry {
                index: LogIndex(index),
                term: Term(1),
                payload: Payload::Command(Arc::from(vec![0u8; 75])),
            });
            store.write(&[Write { entries: entries.collect(), ..write(1) }]).unwrap();
            last += 128;
        }
        store.write(&[Write { snapshot: Some(Arc::new(snapshot(last, 1))), ..write(2) }]).unwrap();
        drop(store);
        let findings = verify(dir.path()).unwrap();
        assert!(findings.file_bytes <= MAP_BYTES_MIN / 2, "{findings}");
    }

    fn cut(dir: &TestDir, file: &str) {
        std::fs::OpenOptions::new().write(true).open(dir.path().join(file)).unwrap().set_len(0).unwrap();
    }

    fn assert_cut(result: Result<(), StoreError>, dir: &TestDir, file: &str) {
        match result {
            Err(StoreError::Lost { path, how: Loss::Cut { bytes: 0, bytes_min: 1.. } }) => {
                assert_eq!(path, dir.path().join(file));
            }
            other => panic!("{other:?}"),
        }
    }

    /// A transaction in the last block would restore the length of the file.
    #[test]
    fn a_journal_that_was_cut_off_never_has_its_length_again_whenever_it_was_checked() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        store.check_in_place().unwrap();
        cut(&dir, JOURNAL_FILE);
        let journal = dir.path().join(JOURNAL_FILE);
        let found = (1..).find_map(|id| {
            let written = store.write(&[append(id, id + 1..=id + 1, 1)]);
            assert!(std::fs::metadata(&journal).unwrap().len() < JOURNAL_BYTES, "after write {id}");
            written.err()
        });
        assert!(
            matches!(&found, Some(StoreError::Lost { path, how: Loss::Cut { .. } }) if *path == journal),
            "{found:?}"
        );
    }

    #[test]
    fn before_its_last_block_is_written_a_journal_must_be_whole() {
        let dir = TestDir::new();
        drop(new_store(&dir));
        let journal = JournalFile::open(dir.path(), JOURNAL_BYTES).unwrap();
        let block = [7; 4096];
        let last = JOURNAL_BYTES - block.len() as u64;
        assert_eq!(journal.expect_whole_before(last, &block), Ok(()));
        cut(&dir, JOURNAL_FILE);
        assert_eq!(journal.expect_whole_before(0, &block), Ok(()));
        assert_cut(journal.expect_whole_before(last, &block), &dir, JOURNAL_FILE);
    }

    /// LMDB would crash on it.
    #[test]
    fn a_data_file_that_was_cut_off_is_not_touched_by_a_checkpoint_whenever_it_was_checked() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        store.write(&[append(1, 2..=2, 1)]).unwrap();
        store.check_in_place().unwrap();
        cut(&dir, DATA_FILE);
        assert_cut(store.checkpoint(), &dir, DATA_FILE);
        drop(store);
        assert_eq!(std::fs::metadata(dir.path().join(DATA_FILE)).unwrap().len(), 0);
    }

    #[test]
    fn what_a_checkpoint_has_added_to_the_data_file_may_not_be_missing() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        let bytes = std::fs::metadata(dir.path().join(DATA_FILE)).unwrap().len();
        store.write(&[append(1, 2..=5000, 1)]).unwrap();
        store.checkpoint().unwrap();
        let data = std::fs::OpenOptions::new().write(true).open(dir.path().join(DATA_FILE)).unwrap();
        assert!(data.metadata().unwrap().len() > bytes);
        data.set_len(bytes).unwrap();
        assert!(matches!(store.check_in_place(), Err(StoreError::Lost { how: Loss::Cut { .. }, .. })));
    }

    /// Another process could lock the store there.
    #[test]
    fn a_store_whose_files_are_in_another_directory_than_it_has_locked_is_lost() {
        let dir = TestDir::new();
        let (path, aside) = (dir.path().join("store"), dir.path().join("aside"));
        let mut store = Store::create(&path, MAP_BYTES_MIN, &member(), &[], None).unwrap();
        std::fs::rename(&path, &aside).unwrap();
        std::fs::create_dir(&path).unwrap();
        for file in [DATA_FILE, JOURNAL_FILE] {
            std::fs::hard_link(aside.join(file), path.join(file)).unwrap();
        }
        assert_eq!(store.check_in_place(), Err(StoreError::Lost { path, how: Loss::Replaced }));
    }

    #[test]
    #[should_panic(expected = "after one that failed")]
    fn a_store_that_was_found_lost_is_not_written_to() {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        std::fs::remove_file(dir.path().join(DATA_FILE)).unwrap();
        store.check_in_place().unwrap_err();
        let _ = store.write(&[append(1, 2..=2, 1)]);
    }

    #[test]
    fn an_interrupted_making_is_recognised_and_made_anew() {
        let dir = TestDir::new();
        // Everything but the last step; then what a crash during the first write leaves behind.
        fill(&dir.path().join(NEW_DATA_FILE), MAP_BYTES_MIN, &member(), &settings(), None).unwrap();
        let interrupted = StoreError::Interrupted { path: dir.path().to_owned(), what: Interrupted::Making };
        assert_eq!(Store::open(dir.path()).unwrap_err(), interrupted);
        assert_eq!(verify(dir.path()).unwrap_err(), interrupted);
        std::fs::write(dir.path().join(NEW_DATA_FILE), b"").unwrap();
        assert_eq!(Store::open(dir.path()).unwrap_err(), interrupted);
        drop(new_store(&dir));
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn an_interrupted_making_can_be_dropped() {
        let dir = TestDir::new();
        std::fs::write(dir.path().join(NEW_DATA_FILE), b"").unwrap();
        destroy(dir.path()).unwrap();
        assert!(!dir.path().exists());
    }

    #[test]
    fn an_open_store_is_opened_made_and_destroyed_by_nobody_else() {
        let dir = TestDir::new();
        let store = new_store(&dir);
        let in_use = StoreError::InUse { path: dir.path().to_owned(), pid: Some(std::process::id()) };
        assert_eq!(Store::open(dir.path()).unwrap_err(), in_use);
        assert_eq!(verify(dir.path()).unwrap_err(), in_use);
        assert_eq!(destroy(dir.path()).unwrap_err(), in_use);
        assert_eq!(running(dir.path()).unwrap().unwrap().pid, std::process::id());
        drop(store);
        destroy(dir.path()).unwrap();
        assert!(!dir.path().exists());
    }
}
