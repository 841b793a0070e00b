//! Which store a directory holds, and how a store is destroyed.
//!
//! The names of its files decide. If the data file is missing, it matters whether anything was written to a
//! journal that is there: a node that founds a cluster on top of the remains of another store would hand out
//! its IDs again. LMDB's default name for a data file is also ours, so a data file without other files of
//! ours must hold a record of ours. This module must never know what is in a store that is there.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::error::{Interrupted, Place, StoreError};
use super::files::{
    self, DATA_FILE, GONE_DATA_FILE, JOURNAL_FILE, LMDB_LOCK_FILE, LOCK_FILE, NEW_DATA_FILE, remove,
    sync_directory,
};
use super::lock::Lock;
use super::{data_file, journal, record, watch};

/// Destroys the store at `path`, finished or not, damaged or not: its files, and then the directory if it is
/// empty and can be removed. Other files are left alone.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::ForeignFiles`] if the store is another program's;
/// [`StoreError::InUse`] while a process holds it; and if the file system refuses.
pub fn destroy(path: &Path) -> Result<(), StoreError> {
    destroy_locked(expect_any_store(path)?, path)
}

/// A store that was seen at a path. It is told from a store that is put there later, even by one that is
/// damaged or that a process has open: the data file is another one.
#[derive(Debug)]
pub struct Sighting {
    path: PathBuf,
    /// Held open, so that no other file gets its inode number. `None` if the store had lost its data file.
    data_file: Option<File>,
}

impl Sighting {
    /// Of the store, if any, that is at `path` now.
    ///
    /// # Errors
    /// If the data file cannot be opened.
    pub fn at(path: &Path) -> Result<Sighting, StoreError> {
        let data_path = path.join(DATA_FILE);
        let data_file = match File::open(&data_path) {
            Ok(file) => Some(file),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(e) => return Err(StoreError::io("read", &data_path, &e)),
        };
        Ok(Sighting { path: path.to_owned(), data_file })
    }

    /// Whether that store is still there.
    ///
    /// # Errors
    /// If the path cannot be looked at.
    pub fn is_there(&self) -> Result<bool, StoreError> {
        let data_path = self.path.join(DATA_FILE);
        let Some(data_file) = &self.data_file else { return Ok(!data_path.exists()) };
        match watch::expect_at(data_file, &data_path) {
            Ok(_) => Ok(true),
            Err(StoreError::Lost { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Destroys that store as [`destroy`] does, unless it is no longer there.
    ///
    /// # Errors
    /// As [`destroy`].
    pub fn destroy(&self) -> Result<Destroyed, StoreError> {
        // A process may hold the lock of another store that is there by now.
        if !self.is_there()? {
            return Ok(Destroyed::NotThere);
        }
        let lock = expect_any_store(&self.path)?;
        // Until this process had the lock, another one could still put a store in its place.
        if !self.is_there()? {
            return Ok(Destroyed::NotThere);
        }
        destroy_locked(lock, &self.path)?;
        Ok(Destroyed::Now)
    }
}

/// What has become of a store that was to be destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destroyed {
    /// It is destroyed.
    Now,
    /// It was no longer there, and nothing was destroyed.
    NotThere,
}

/// Checks that there is a store of ours at `path`, in whatever state, and locks it.
fn expect_any_store(path: &Path) -> Result<Lock, StoreError> {
    match classify(path)? {
        Found::Nothing | Found::Foreign(_) => return Err(StoreError::NotFound { path: path.to_owned() }),
        Found::ForeignStore => return Err(foreign(path, DATA_FILE.to_owned())),
        Found::Unfinished | Found::Store { .. } | Found::Remnant { .. } | Found::Gone { .. } => {}
    }
    Lock::acquire(path)
}

pub(super) fn destroy_locked(lock: Lock, path: &Path) -> Result<(), StoreError> {
    // Whatever interrupts this, the whole store is there until the data file has lost its name, and none is
    // there afterwards. What is left then can be removed without force: a file of that other name says that
    // the journal is to go as well.
    files::retire_data_file(path)?;
    clear(path)?;
    for name in [LMDB_LOCK_FILE, LOCK_FILE] {
        remove(&path.join(name))?;
    }
    drop(lock);
    // The directory may hold other files, be a mount point, or be in a directory that we may not change.
    let _ = fs::remove_dir(path);
    Ok(())
}

/// Whether there is a whole store at `path`, sound or not.
#[must_use]
pub fn is_there(path: &Path) -> bool {
    matches!(classify(path), Ok(Found::Store { .. }))
}

/// Checks that this user may destroy the store at `path`, as far as the modes of the files tell. Nothing is
/// changed.
///
/// # Errors
/// [`StoreError::Denied`], [`StoreError::ReadOnly`].
pub fn expect_destroyable(path: &Path) -> Result<(), StoreError> {
    let (read_write, search) = (Access::READ_OK | Access::WRITE_OK, Access::EXEC_OK);
    let of_files = [LOCK_FILE, DATA_FILE, JOURNAL_FILE].map(|name| (path.join(name), read_write));
    for (path, right) in [(path.to_owned(), read_write | search)].into_iter().chain(of_files) {
        match access(&path, right) {
            // A new store, or one that was tidied, lacks some of the files.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(StoreError::io("destroy", &path, &error.into())),
        }
    }
    Ok(())
}

/// Removes what is left if there is no store, or no whole one. The caller holds the lock.
///
/// The journal goes first, durably: without the other files, which show that it means nothing, it would look
/// like the remains of a store that has lost its data file. If nothing is left there is nothing to make
/// durable, and a new store is spared a sync.
pub(super) fn clear(path: &Path) -> Result<(), StoreError> {
    let is_there = |name: &&str| path.join(name).symlink_metadata().is_ok();
    if ![JOURNAL_FILE, GONE_DATA_FILE, NEW_DATA_FILE].iter().any(is_there) {
        return Ok(());
    }
    remove(&path.join(JOURNAL_FILE))?;
    sync_directory(path)?;
    [GONE_DATA_FILE, NEW_DATA_FILE].iter().try_for_each(|name| remove(&path.join(name)))
}

/// Checks that there is a whole store at `path`, sound or not.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Interrupted`]; [`StoreError::Damaged`] if it has lost its data
/// file; [`StoreError::ForeignFiles`] if it is another program's.
pub fn expect_store(path: &Path) -> Result<(), StoreError> {
    let interrupted = |what| Err(StoreError::Interrupted { path: path.to_owned(), what });
    match classify(path)? {
        Found::Store { .. } => Ok(()),
        Found::Unfinished => interrupted(Interrupted::Making),
        Found::Gone { .. } => interrupted(Interrupted::Destroying),
        Found::Remnant { .. } => Err(lost(path)),
        Found::ForeignStore => Err(foreign(path, DATA_FILE.to_owned())),
        Found::Nothing | Found::Foreign(_) => Err(StoreError::NotFound { path: path.to_owned() }),
    }
}

/// Checks that a store may be created at `path`.
pub(super) fn expect_no_store(path: &Path) -> Result<(), StoreError> {
    expect_free(path, classify(path)?)
}

/// Checks that a store may be created where this was found.
fn expect_free(path: &Path, found: Found) -> Result<(), StoreError> {
    match found {
        // An unfinished store never took part in anything, so it is created again. One that was being
        // destroyed was meant to be gone.
        Found::Nothing | Found::Unfinished | Found::Gone { foreign: None } => Ok(()),
        Found::Store { .. } => Err(StoreError::Exists { path: path.to_owned() }),
        Found::Remnant { .. } => Err(lost(path)),
        Found::ForeignStore => Err(foreign(path, DATA_FILE.to_owned())),
        Found::Foreign(name) | Found::Gone { foreign: Some(name) } => Err(foreign(path, name)),
    }
}

/// Checks that a store may be created at `path` once the one that is there, if any, is destroyed.
///
/// # Errors
/// [`StoreError::ForeignFiles`], and if the directory cannot be read.
pub fn expect_replaceable(path: &Path) -> Result<(), StoreError> {
    let left = match classify(path)? {
        Found::Store { foreign } | Found::Remnant { foreign } => {
            foreign.map_or(Found::Nothing, Found::Foreign)
        }
        found @ (Found::Nothing
        | Found::Unfinished
        | Found::Gone { .. }
        | Found::ForeignStore
        | Found::Foreign(_)) => found,
    };
    expect_free(path, left)
}

fn foreign(path: &Path, name: String) -> StoreError {
    StoreError::ForeignFiles { path: path.to_owned(), name }
}

fn lost(path: &Path) -> StoreError {
    let reason = format!("{DATA_FILE} is missing, and {JOURNAL_FILE} holds what was written after it");
    StoreError::Damaged { path: path.to_owned(), place: Place::DataFile, reason }
}

/// What a directory holds.
enum Found {
    /// No directory, no files, or only files that mean nothing.
    Nothing,
    /// A store whose creation was not finished.
    Unfinished,
    /// A store, and the name of another file beside it, if there is one.
    Store { foreign: Option<String> },
    /// The remains of a store that has lost its data file, and another file.
    Remnant { foreign: Option<String> },
    /// The remains of a store that was being destroyed, and another file.
    Gone { foreign: Option<String> },
    /// An LMDB data file that nothing marks as ours: many programs use that name.
    ForeignStore,
    /// No store, but another file of this name.
    Foreign(String),
}

/// Finds out what the directory holds.
fn classify(path: &Path) -> Result<Found, StoreError> {
    let error = |error: io::Error| StoreError::io("read", path, &error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(error(e)),
    };
    let (mut store, mut gone, mut unfinished, mut foreign) = (false, false, false, None);
    // Only this program creates either of these, and does so before there is a data file; LMDB's own lock
    // file has another name.
    let mut signed = false;
    for entry in entries {
        let name = entry.map_err(error)?.file_name();
        if name == DATA_FILE {
            store = true;
        } else if name == GONE_DATA_FILE {
            gone = true;
        } else if name == NEW_DATA_FILE {
            unfinished = true;
        } else if name == JOURNAL_FILE || name == LOCK_FILE {
            signed = true;
        } else if name != LMDB_LOCK_FILE {
            foreign = Some(name.to_string_lossy().into_owned());
        }
    }
    Ok(if store && !signed && !data_file::has_record(&path.join(DATA_FILE), record::is_ours)? {
        Found::ForeignStore
    } else if store {
        Found::Store { foreign }
    } else if gone {
        Found::Gone { foreign }
    } else if journal::holds_something(path)? {
        Found::Remnant { foreign }
    } else if let Some(name) = foreign {
        Found::Foreign(name)
    } else if unfinished {
        Found::Unfinished
    } else {
        Found::Nothing
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{read, remove_file, write};

    use lmdb::Transaction;

    use super::*;
    use crate::storage::testing::{TestDir, append, blank, member};
    use crate::storage::{Store, verify};

    fn create(dir: &TestDir) -> Result<Store, StoreError> {
        Store::create(dir.path(), &blank(&member(), &[]))
    }

    /// A store whose journal holds something.
    fn make_used(dir: &TestDir) {
        create(dir).unwrap().write(&[append(1, 1..=1, 0)]).unwrap();
    }

    #[test]
    fn a_store_that_has_lost_its_data_file_is_damaged_and_none_is_made_over_it() {
        for leftover in [&[][..], &[NEW_DATA_FILE], &["notes"]] {
            let dir = TestDir::new();
            make_used(&dir);
            let journal = read(dir.path().join(JOURNAL_FILE)).unwrap();
            remove_file(dir.path().join(DATA_FILE)).unwrap();
            for name in leftover {
                write(dir.path().join(name), "").unwrap();
            }
            let error = Store::open(dir.path()).unwrap_err();
            assert!(matches!(&error, StoreError::Damaged { place: Place::DataFile, .. }), "{error}");
            assert_eq!(verify(dir.path()).unwrap_err(), error);
            assert_eq!(create(&dir).unwrap_err(), error);
            assert_eq!(read(dir.path().join(JOURNAL_FILE)).unwrap(), journal);
            destroy(dir.path()).unwrap();
            assert!(!dir.path().join(JOURNAL_FILE).exists());
        }
    }

    /// The files in a directory, by name.
    fn files_of(dir: &TestDir) -> Vec<(String, Vec<u8>)> {
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let paths = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = paths.map(|path| (name(&path), read(&path).unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn a_data_file_of_another_program_is_no_store_of_ours_and_is_left_alone() {
        let dir = TestDir::new();
        let env = lmdb::Environment::new().open(dir.path()).unwrap();
        let db = env.open_db(None).unwrap();
        let mut txn = env.begin_rw_txn().unwrap();
        for key in 0..8 {
            // Keys like ours, with values unlike ours.
            txn.put(db, &[key], &[2, key, 0, 0, 0, 0], lmdb::WriteFlags::empty()).unwrap();
        }
        txn.commit().unwrap();
        drop(env);
        let before = files_of(&dir);
        assert_eq!(
            before.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            [DATA_FILE, LMDB_LOCK_FILE]
        );
        let foreign = StoreError::ForeignFiles { path: dir.path().to_owned(), name: DATA_FILE.to_owned() };
        // Twice: no attempt leaves anything that the next one would take for a mark of ours.
        for _ in 0..2 {
            assert_eq!(verify(dir.path()).unwrap_err(), foreign);
            assert_eq!(Store::open(dir.path()).unwrap_err(), foreign);
            assert_eq!(create(&dir).unwrap_err(), foreign);
            assert_eq!(destroy(dir.path()).unwrap_err(), foreign);
            assert!(!is_there(dir.path()));
        }
        assert_eq!(files_of(&dir), before);
    }

    #[test]
    fn a_store_that_was_seen_is_destroyed_and_one_that_took_its_place_is_not() {
        let dir = TestDir::new();
        drop(create(&dir).unwrap());
        let seen = Sighting::at(dir.path()).unwrap();
        assert_eq!(seen.is_there(), Ok(true));
        destroy(dir.path()).unwrap();
        assert_eq!(seen.is_there(), Ok(false));
        assert_eq!(seen.destroy(), Ok(Destroyed::NotThere), "there is none");

        let store = create(&dir).unwrap();
        assert_eq!(seen.destroy(), Ok(Destroyed::NotThere), "a process has another one open");
        drop(store);
        assert_eq!(seen.destroy(), Ok(Destroyed::NotThere), "there is another one");
        let seen = Sighting::at(dir.path()).unwrap();
        assert_eq!(seen.destroy(), Ok(Destroyed::Now));
        assert!(!dir.path().exists());
    }

    #[test]
    fn a_store_without_its_data_file_is_told_from_a_whole_one_that_took_its_place() {
        let dir = TestDir::new();
        make_used(&dir);
        fs::remove_file(dir.path().join(DATA_FILE)).unwrap();
        let seen = Sighting::at(dir.path()).unwrap();
        assert_eq!(seen.is_there(), Ok(true));
        destroy(dir.path()).unwrap();
        make_used(&dir);
        assert_eq!(seen.destroy(), Ok(Destroyed::NotThere));
        fs::remove_file(dir.path().join(DATA_FILE)).unwrap();
        assert_eq!(seen.destroy(), Ok(Destroyed::Now));
    }

    #[test]
    fn one_sign_that_a_store_is_ours_is_enough_to_destroy_it() {
        for kept in [JOURNAL_FILE, LOCK_FILE, DATA_FILE] {
            let dir = TestDir::new();
            make_used(&dir);
            for name in [JOURNAL_FILE, LOCK_FILE] {
                if name != kept {
                    remove_file(dir.path().join(name)).unwrap();
                }
            }
            let data = dir.path().join(DATA_FILE);
            let mut bytes = read(&data).unwrap();
            // A store that is recognised by its data file alone keeps only the leaves.
            let damaged = if kept == DATA_FILE { 2 * 4096 } else { bytes.len() };
            bytes[..damaged].fill(0xa5);
            write(&data, bytes).unwrap();
            destroy(dir.path()).unwrap();
            assert!(!dir.path().exists(), "{kept}");
        }
    }

    #[test]
    fn a_journal_that_holds_nothing_is_no_store() {
        let dir = TestDir::new();
        drop(create(&dir).unwrap());
        remove_file(dir.path().join(DATA_FILE)).unwrap();
        let blank = read(dir.path().join(JOURNAL_FILE)).unwrap();
        for left in [&blank[..], &blank[..5000], &[0; 512], &[]] {
            write(dir.path().join(JOURNAL_FILE), left).unwrap();
            let not_found = StoreError::NotFound { path: dir.path().to_owned() };
            assert_eq!(Store::open(dir.path()).unwrap_err(), not_found, "{} bytes", left.len());
            assert_eq!(destroy(dir.path()).unwrap_err(), not_found);
            make_used(&dir);
            Store::open(dir.path()).unwrap();
            destroy(dir.path()).unwrap();
            fs::create_dir(dir.path()).unwrap();
        }
    }

    /// What an interrupted destruction of a store leaves: after each of its steps, and with the last step not
    /// durable.
    #[test]
    fn wherever_a_destroying_is_interrupted_there_is_all_of_the_store_or_none() {
        type Finish = fn(&TestDir);
        let destroyed: Finish = |dir| destroy(dir.path()).unwrap();
        let made: Finish = make_used;
        for finish in [destroyed, made] {
            for removed in [&[][..], &[JOURNAL_FILE]] {
                let dir = TestDir::new();
                make_used(&dir);
                files::retire_data_file(dir.path()).unwrap();
                for name in removed {
                    remove_file(dir.path().join(name)).unwrap();
                }
                let interrupted =
                    StoreError::Interrupted { path: dir.path().to_owned(), what: Interrupted::Destroying };
                assert_eq!(Store::open(dir.path()).unwrap_err(), interrupted);
                assert_eq!(verify(dir.path()).unwrap_err(), interrupted);
                finish(&dir);
                assert!(!dir.path().join(GONE_DATA_FILE).exists());
                assert_eq!(dir.path().join(JOURNAL_FILE).exists(), dir.path().join(DATA_FILE).exists());
            }
        }
    }

    #[test]
    fn what_is_left_of_a_store_that_was_being_destroyed_beside_other_files_is_removed_without_them() {
        let dir = TestDir::new();
        make_used(&dir);
        let notes = dir.path().join("notes");
        write(&notes, "precious").unwrap();
        files::retire_data_file(dir.path()).unwrap();
        let foreign = StoreError::ForeignFiles { path: dir.path().to_owned(), name: "notes".to_owned() };
        assert_eq!(create(&dir).unwrap_err(), foreign);
        destroy(dir.path()).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [notes]);
    }

    /// The next store in its place must not be taken for this one if it loses its own data file.
    #[test]
    fn a_store_that_is_made_where_another_was_being_destroyed_is_as_good_as_any() {
        let dir = TestDir::new();
        make_used(&dir);
        files::retire_data_file(dir.path()).unwrap();
        make_used(&dir);
        Store::open(dir.path()).unwrap();
        remove_file(dir.path().join(DATA_FILE)).unwrap();
        assert!(matches!(Store::open(dir.path()).unwrap_err(), StoreError::Damaged { .. }));
    }
}
