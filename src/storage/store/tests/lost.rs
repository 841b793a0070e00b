//! Files that are cut short, removed or replaced while a store has them open.

use std::os::unix::fs::FileExt;

use super::*;
use crate::storage::{Loss, Place};

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

/// LMDB would follow it wherever it leads. The page that a reference names is not there, or the disk cannot
/// read it: either kills a process that reaches it through the map.
#[test]
fn a_page_that_is_no_longer_what_was_written_is_found_before_lmdb_trusts_it() {
    let dir = TestDir::new();
    let mut store = new_store(&dir);
    store.write(&[append(1, 2..=2, 1)]).unwrap();
    let path = dir.path().join(DATA_FILE);
    let sound = std::fs::read(&path).unwrap();
    let root = sound.len() / PAGE_BYTES - 1;
    // The number that the page says it has.
    write_at(&path, root * PAGE_BYTES, &[0xff; 8]);
    let error = store.checkpoint().unwrap_err();
    let place = Place::Page(u64::try_from(root).unwrap());
    assert!(matches!(&error, StoreError::Damaged { place: found, .. } if *found == place), "{error}");
    drop(store);
    // Nothing was written on top of it.
    write_at(&path, 0, &sound);
    assert_eq!(reopened(&dir).entries, [entry(2, 1)]);
}

/// The size of LMDB's pages on the machines in use.
const PAGE_BYTES: usize = 4096;

fn write_at(path: &Path, offset: usize, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, u64::try_from(offset).unwrap()).unwrap();
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
    let mut store = Store::create(&path, &blank(&member(), &[])).unwrap();
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
