//! Stores whose files are not what was written to them: each is refused, and the fault is named.

use lmdb::{Cursor, Database, RwTransaction, Transaction, WriteFlags};

use super::*;
use crate::storage::contents::Collector;
use crate::storage::record::Key;
use crate::storage::{Place, SECTOR_BYTES};

/// A store with entries 2 to 4 in the data file, so that they can be edited.
fn store_to_edit(dir: &TestDir) {
    let mut store = new_store(dir);
    store.write(&[append(1, 2..=4, 1)]).unwrap();
    store.checkpoint().unwrap();
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
    assert_eq!(error, StoreError::Format { path: dir.path().to_owned(), found: FORMAT_OF_ANOTHER_VERSION });
    assert!(error.to_string().contains("has format 9, this program reads 2"), "{error}");
}

const FORMAT_OF_ANOTHER_VERSION: u8 = 9;

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
        assert_damaged(&dir, Place::JournalSector(sector));
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
    drop(Store::create(other.path(), &blank(&stranger, &[])).unwrap());
    let sound = journal(&dir);
    for bytes in [vec![], sound[..sound.len() / 2].to_vec(), [&sound[..], &sound[..]].concat()] {
        set_journal(&dir, &bytes);
        assert_damaged(&dir, Place::Journal);
    }
    set_journal(&dir, &journal(&other));
    assert_damaged(&dir, Place::JournalSector(0));
    files::remove(&dir.path().join(JOURNAL_FILE)).unwrap();
    assert_damaged(&dir, Place::Journal);
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
    assert_damaged(&dir, Place::JournalSector(0));
}
