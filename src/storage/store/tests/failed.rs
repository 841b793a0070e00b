//! Writes that fail or are cut short.

use super::*;
use crate::storage::data_file::Fault;
use crate::storage::{SECTOR_BYTES, testing};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn a_failed_write_leaves_the_store_as_it_was_and_is_never_followed_by_another() {
    let resize = |store: &mut Store| store.resize(2 * MAP_BYTES_MIN);
    let append = |store: &mut Store| store.write(&[append(2, 3..=3, 1)]);
    type Change<'a> = &'a dyn Fn(&mut Store) -> Result<(), StoreError>;
    let in_data_file = |fault| (Some(fault), None, &resize as Change<'_>, "data.mdb");
    let in_journal = |errno| (None, Some(errno), &append as Change<'_>, "data.journal");
    for ((of_batch, of_journal, change, file), said) in [
        (in_data_file(Fault::Commit(EIO)), "Input/output error"),
        (in_data_file(Fault::Commit(ENOSPC)), "No space left on device"),
        (in_data_file(Fault::Put(EIO)), "Input/output error"),
        (in_journal(EIO), "Input/output error"),
        (in_journal(ENOSPC), "No space left on device"),
    ] {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        store.write(&[testing::append(1, 2..=2, 1)]).unwrap();
        store.files.fault = of_batch;
        store.files.journal.fault = of_journal;
        let error = change(&mut store).unwrap_err();
        assert!(matches!(&error, StoreError::WriteFailed { .. }), "{error}");
        let path = dir.path().join(file);
        let begins = format!("a write to {} failed: {said}", path.display());
        assert!(error.to_string().starts_with(&begins), "{error}");
        store.files.fault = None;
        store.files.journal.fault = None;
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| append(&mut store)));
        assert!(again.is_err(), "a write after one that failed");
        drop(store);
        assert_eq!(reopened(&dir).entries, [entry(2, 1)]);
        assert_eq!(Store::open(dir.path()).unwrap().map_bytes(), MAP_BYTES_MIN);
    }
}

#[test]
fn a_checkpoint_that_fails_loses_nothing_that_was_durable_before_it() {
    for fault in [Fault::Put(EIO), Fault::Commit(ENOSPC)] {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        store.files.fault = Some(fault);
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
