//! Stores whose files are removed, moved, replaced or cut short while a thread writes to them, and one that
//! might be taken for such a store.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::storage::Loss;
use crate::storage::files::{DATA_FILE, JOURNAL_FILE, LOCK_FILE};
use crate::storage::testing::{nothing, snapshot};

/// Damage to a store, such as its removal: what is done, to which file, and how it is reported.
struct Damage {
    harm: fn(&Path),
    file: &'static str,
    is_told: fn(&Loss) -> bool,
}

fn aside(store: &Path) -> PathBuf {
    store.with_extension("aside")
}

fn cut(file: PathBuf) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap();
}

fn replace_with_copy(file: PathBuf) {
    fs::copy(&file, aside(&file)).unwrap();
    fs::rename(aside(&file), file).unwrap();
}

/// A removal takes one file after another.
const REMOVAL: Damage = Damage {
    harm: |store| fs::remove_dir_all(store).unwrap(),
    file: DATA_FILE,
    is_told: |how| *how == Loss::Gone,
};

/// These happen in one step.
const DAMAGES: [Damage; 7] = [
    Damage {
        harm: |store| fs::rename(store, aside(store)).unwrap(),
        file: DATA_FILE,
        is_told: |how| *how == Loss::Gone,
    },
    Damage {
        harm: |store| fs::remove_file(store.join(DATA_FILE)).unwrap(),
        file: DATA_FILE,
        is_told: |how| *how == Loss::Gone,
    },
    Damage {
        harm: |store| fs::remove_file(store.join(JOURNAL_FILE)).unwrap(),
        file: JOURNAL_FILE,
        is_told: |how| *how == Loss::Gone,
    },
    Damage {
        harm: |store| cut(store.join(DATA_FILE)),
        file: DATA_FILE,
        is_told: |how| matches!(how, Loss::Cut { bytes: 0, bytes_min: 1.. }),
    },
    Damage {
        harm: |store| cut(store.join(JOURNAL_FILE)),
        file: JOURNAL_FILE,
        // A transaction written meanwhile has made the file some blocks longer again.
        is_told: |how| matches!(how, Loss::Cut { bytes, bytes_min } if bytes < bytes_min),
    },
    Damage {
        harm: |store| replace_with_copy(store.join(DATA_FILE)),
        file: DATA_FILE,
        is_told: |how| *how == Loss::Replaced,
    },
    Damage {
        harm: |store| replace_with_copy(store.join(JOURNAL_FILE)),
        file: JOURNAL_FILE,
        is_told: |how| *how == Loss::Replaced,
    },
];

const EVERY_WRITE: Duration = Duration::ZERO;
const OFTEN: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(1 << 20);

/// A thread that checks its store this often, and has written once.
fn spawn_checking(store: &Path, intervals: CheckIntervals) -> (StorageThread, Receiver<()>) {
    let (woken, wakes) = channel();
    let wake = move || {
        let _ = woken.send(());
    };
    let thread = StorageThread::spawn_checking(create(store, &settings()), intervals, wake).unwrap();
    thread.submit([nth(1)]);
    await_wake(&wakes);
    assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(1) }));
    (thread, wakes)
}

/// Asserts that the thread's next wake reports this damage, and that the thread writes nothing
/// afterwards.
fn assert_fails(thread: StorageThread, wakes: &Receiver<()>, store: &Path, damage: &Damage) {
    await_wake(wakes);
    let Some(Completion::Failed(error)) = thread.poll() else { panic!("no failure reported") };
    let StoreError::Lost { path, how } = &error else { panic!("{error}") };
    assert_eq!(path, &store.join(damage.file));
    assert!((damage.is_told)(how), "{error}");
    assert!(thread.submit([nth(3)]));
    assert_eq!(thread.poll(), None);
    assert_eq!(thread.counts().writes, 1);
    assert_eq!(thread.shutdown(), Err(error));
}

#[test]
fn a_transaction_that_goes_to_a_store_that_is_lost_is_not_reported_durable() {
    for damage in DAMAGES.into_iter().chain([REMOVAL]) {
        let dir = TestDir::new();
        let store = dir.path().join("store");
        let intervals = CheckIntervals { writing: EVERY_WRITE, idle: NEVER };
        let (thread, wakes) = spawn_checking(&store, intervals);
        (damage.harm)(&store);
        thread.submit([nth(2)]);
        assert_fails(thread, &wakes, &store, &damage);
    }
}

#[test]
fn a_store_that_is_lost_while_nothing_is_written_has_failed() {
    for damage in DAMAGES {
        let dir = TestDir::new();
        let store = dir.path().join("store");
        let (thread, wakes) = spawn_checking(&store, CheckIntervals { writing: NEVER, idle: OFTEN });
        (damage.harm)(&store);
        assert_fails(thread, &wakes, &store, &damage);
    }
}

#[test]
fn a_store_that_is_lost_before_its_thread_is_shut_down_was_not_closed_in_order() {
    for damage in DAMAGES.into_iter().chain([REMOVAL]) {
        let dir = TestDir::new();
        let store = dir.path().join("store");
        let (thread, _wakes) = spawn_checking(&store, CheckIntervals { writing: NEVER, idle: NEVER });
        (damage.harm)(&store);
        let StoreError::Lost { path, how } = thread.shutdown().unwrap_err() else { panic!("no loss") };
        assert_eq!(path, store.join(damage.file));
        assert!((damage.is_told)(&how), "{how}");
    }
}

/// Copying the store of a running node yields nothing usable, but does no harm.
fn read_all_of(store: &Path, copies: &Path) {
    for file in [DATA_FILE, JOURNAL_FILE, LOCK_FILE] {
        fs::copy(store.join(file), copies.join(file)).unwrap();
    }
}

#[test]
fn a_store_that_is_written_compacted_and_copied_is_never_taken_for_lost() {
    let dir = TestDir::new();
    let (store, copies) = (dir.path().join("store"), dir.path().join("copies"));
    fs::create_dir(&copies).unwrap();
    let (thread, wakes) = spawn_checking(&store, CheckIntervals { writing: EVERY_WRITE, idle: OFTEN });
    let mut last = 2;
    let transactions = 900;
    for id in 2..=transactions {
        let next = if id % 100 == 0 {
            Write { snapshot: Some(Arc::new(snapshot(last, 1))), ..nothing(id) }
        } else {
            let first = last + 1;
            // Occasionally a write that does not fit into the journal and needs hundreds of pages.
            last += if id % 150 == 0 { 15_000 } else { 9 };
            append(id, first..=last, 1)
        };
        thread.submit([next]);
        await_wake(&wakes);
        assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(id) }));
        if id % 90 == 0 {
            read_all_of(&store, &copies);
        }
    }
    let counts = thread.counts();
    assert!(counts.checkpoints >= 3, "the journal is written from its front again: {counts:?}");
    thread.shutdown().unwrap();
    verify(&store).unwrap();
}
