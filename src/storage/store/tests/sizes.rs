//! How large a store may become, and how large it becomes.

use super::*;
use crate::settings::MB_BYTES;

/// Writes entries of 4 KiB until one fails.
fn fill_up(store: &mut Store) -> (u64, StoreError) {
    let mut last = store.recovered().entries.last().map_or(1, |entry| entry.index.0);
    loop {
        let entries = (last + 1..=last + 100).map(|index| Entry {
            index: LogIndex(index),
            term: Term(1),
            payload: Payload::Command(Arc::from(vec![0u8; 4096])),
        });
        match store.write(&[Write { entries: entries.collect(), ..nothing(1) }]) {
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
    assert!(matches!(store.resize(MAP_BYTES_MIN), Err(StoreError::MapBelowFile { .. })));
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
        let file_bytes = store.file_bytes().unwrap();
        store.resize(8 * MAP_BYTES_MIN).unwrap();
        let below_use = store.resize(MAP_BYTES_MIN).unwrap_err();
        let told = told_mb(&below_use);
        assert!((file_bytes + HEADROOM_BYTES).div_ceil(MB_BYTES) <= told, "{below_use}");
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
    let create =
        |map_bytes| Store::create(dir.path(), &NewStore { map_bytes, ..blank(&member(), &[]) }).map(|_| ());
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
        assert!(Store::create(dir.path(), &blank(&member(), &bad)).is_err());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let most = vec![("n".repeat(320), "v".repeat(SETTING_VALUE_BYTES_MAX)); SETTINGS_MAX];
    drop(Store::create(dir.path(), &blank(&member(), &most)).unwrap());
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
            store.write(&[Write { snapshot: Some(to), ..nothing(257) }]).unwrap();
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
        store.write(&[Write { entries: entries.collect(), ..nothing(1) }]).unwrap();
        last += 128;
    }
    store.write(&[Write { snapshot: Some(Arc::new(snapshot(last, 1))), ..nothing(2) }]).unwrap();
    drop(store);
    let findings = verify(dir.path()).unwrap();
    assert!(findings.file_bytes <= MAP_BYTES_MIN / 2, "{findings}");
}
