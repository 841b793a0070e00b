//! What becomes of writes that a thread is given, on a sound disk, on a failed one and on a slow one.

use std::sync::mpsc::{Receiver, Sender, channel};

use raft_core::LogIndex;

use super::*;
use crate::storage::testing::{TestDir, append, create, settings};
use crate::storage::{MAP_BYTES_MIN, verify};

mod lost;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn new_store(dir: &TestDir) -> Store {
    create(dir.path(), &settings())
}

/// Appends entry `id + 1`; the log begins at 2.
fn nth(id: u64) -> Write {
    append(id, id + 1..=id + 1, 1)
}

/// A thread that announces every wake and then waits in it until it is allowed to go on.
fn spawn_stepped(store: Store) -> (StorageThread, Receiver<()>, Sender<()>) {
    let (woken, wakes) = channel();
    let (go, permits) = channel();
    let thread = StorageThread::spawn(store, move || {
        let _ = woken.send(());
        let _ = permits.recv();
    });
    (thread.unwrap(), wakes, go)
}

/// Waits until the thread announces something. Only a failure takes as long as the deadline.
#[track_caller]
fn await_wake(wakes: &Receiver<()>) {
    wakes.recv_timeout(Duration::from_secs(60)).expect("the thread announces what it has done");
}

#[test]
fn writes_that_wait_while_the_disk_is_busy_become_one_transaction() {
    let dir = TestDir::new();
    let store = new_store(&dir);
    drop(store);
    let before = verify(dir.path()).unwrap().transaction;
    let (thread, wakes, go) = spawn_stepped(Store::open(dir.path()).unwrap());
    thread.submit([nth(1)]);
    await_wake(&wakes);
    assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(1) }));
    assert_eq!(thread.poll(), None);
    for id in 2..=50 {
        thread.submit([nth(id)]);
    }
    assert_eq!(thread.counts().waiting, 49);
    go.send(()).unwrap();
    await_wake(&wakes);
    assert_eq!(thread.counts().waiting, 0);
    assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(50) }));
    assert_eq!(thread.poll(), None);
    drop(go);
    thread.shutdown().unwrap();
    let after = verify(dir.path()).unwrap();
    assert_eq!(after.recovered.entries.len(), 50);
    // One transaction for the first write, one for the 49 others.
    assert_eq!(after.transaction, before + 2);
}

#[test]
fn transactions_that_go_to_the_data_file_are_counted_and_its_growth_is_seen() {
    let dir = TestDir::new();
    let (woken, wakes) = channel();
    let thread = StorageThread::spawn(new_store(&dir), move || woken.send(()).unwrap()).unwrap();
    let before = thread.counts();
    // Each takes at least one block of the journal.
    let transactions = 300;
    for id in 1..=transactions {
        thread.submit([nth(id)]);
        await_wake(&wakes);
    }
    let after = thread.counts();
    assert_eq!((before.checkpoints, after.checkpoints), (0, 1));
    assert!(before.data_file_bytes > 0 && after.data_file_bytes > before.data_file_bytes, "{after:?}");
    assert_eq!((after.writes, after.map_bytes), (transactions, MAP_BYTES_MIN));
}

#[test]
fn shutdown_writes_what_waits_and_gives_the_store_back() {
    let dir = TestDir::new();
    let (thread, wakes, go) = spawn_stepped(new_store(&dir));
    thread.submit([nth(1)]);
    await_wake(&wakes);
    thread.submit([nth(2)]);
    drop(go);
    thread.shutdown().unwrap();
    assert_eq!(Store::open(dir.path()).unwrap().recovered().entries.len(), 2);
}

#[test]
fn without_a_shutdown_what_waits_is_lost_and_what_was_reported_is_not() {
    let dir = TestDir::new();
    let (thread, wakes, go) = spawn_stepped(new_store(&dir));
    thread.submit([nth(1)]);
    await_wake(&wakes);
    assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(1) }));
    thread.submit([nth(2)]);
    thread.shared.lock().stop = Stop::Now;
    drop(go);
    drop(thread);
    assert_eq!(Store::open(dir.path()).unwrap().recovered().entries.len(), 1);
}

#[test]
fn after_a_failure_it_is_reported_once_and_nothing_more_is_written() {
    for errno in [EIO, ENOSPC] {
        let dir = TestDir::new();
        let mut store = new_store(&dir);
        store.write(&[nth(1)]).unwrap();
        store.fail_journal(errno);
        let (thread, wakes, go) = spawn_stepped(store);
        drop(go);
        thread.submit([nth(2)]);
        await_wake(&wakes);
        let Some(Completion::Failed(error)) = thread.poll() else { panic!("no failure reported") };
        assert!(matches!(error, StoreError::WriteFailed { .. }), "{error}");
        assert_eq!(thread.poll(), None);
        for id in 3..=10 {
            thread.submit([nth(id)]);
        }
        assert_eq!(thread.poll(), None);
        assert_eq!(thread.shutdown(), Err(error));
        assert_eq!(Store::open(dir.path()).unwrap().recovered().entries.len(), 1);
    }
}

#[test]
fn what_a_store_lacks_is_noted_in_it_whatever_waits_and_nothing_is_written_after_that() {
    const LOST: LostEntries = LostEntries { acknowledged: LogIndex(77), last: LogIndex(1) };
    let refused = StoreError::EntriesLost { acknowledged: LOST.acknowledged, last: LOST.last };
    let dir = TestDir::new();
    let (thread, wakes, go) = spawn_stepped(new_store(&dir));
    thread.submit([nth(1)]);
    await_wake(&wakes);
    thread.submit([nth(2)]);
    thread.record_lost_entries(LOST);
    assert_eq!(thread.counts().waiting, 0);
    assert!(!thread.submit([nth(3)]), "that is no failure of the disk");
    drop(go);
    assert_eq!(thread.shutdown(), Ok(()));
    assert_eq!(Store::open(dir.path()).unwrap_err(), refused);
    assert_eq!(verify(dir.path()).unwrap_err(), refused);
    let outdated = Store::open_outdated(dir.path()).unwrap();
    assert_eq!(outdated.identity().me.id.get(), 1);
}

#[test]
fn a_store_that_cannot_be_written_is_given_up_without_a_note() {
    let dir = TestDir::new();
    let mut store = new_store(&dir);
    store.fail_journal(ENOSPC);
    let (thread, _wakes, go) = spawn_stepped(store);
    thread.record_lost_entries(LostEntries { acknowledged: LogIndex(77), last: LogIndex(1) });
    drop(go);
    assert_eq!(thread.shutdown(), Ok(()));
    assert!(Store::open(dir.path()).is_ok());
}

#[test]
fn a_mistake_of_ours_in_the_thread_is_a_failure_too() {
    let dir = TestDir::new();
    let (thread, wakes, go) = spawn_stepped(new_store(&dir));
    drop(go);
    thread.submit([nth(7)]);
    await_wake(&wakes);
    assert_eq!(thread.poll(), Some(Completion::Failed(StoreError::Bug)));
    assert_eq!(thread.shutdown(), Err(StoreError::Bug));
}

#[test]
fn a_disk_that_is_hopelessly_behind_has_failed() {
    let dir = TestDir::new();
    let (thread, wakes, go) = spawn_stepped(new_store(&dir));
    thread.submit([nth(1)]);
    await_wake(&wakes);
    assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(1) }));
    // The thread is held in its wake; each write weighs 2.
    let mut id = 2;
    while !thread.submit([nth(id)]) {
        id += 1;
        assert!(id < WAITING_WEIGHT_MAX as u64, "no bound was reached");
    }
    assert_eq!(id, WAITING_WEIGHT_MAX as u64 / 2 + 2);
    assert_eq!(thread.counts().waiting, 0, "what waited is dropped");
    let waiting_weight = WAITING_WEIGHT_MAX + 2;
    let failure = StoreError::Backlog { waiting_weight };
    assert_eq!(thread.poll(), Some(Completion::Failed(failure)), "the disk need not answer for that");
    drop(go);
    assert_eq!(thread.shutdown(), Err(StoreError::Backlog { waiting_weight }));
    assert_eq!(Store::open(dir.path()).unwrap().recovered().entries.len(), 1);
}

#[test]
#[should_panic(expected = "write 3 after write 1")]
fn a_write_id_that_leaves_a_gap_is_a_bug() {
    let dir = TestDir::new();
    let thread = StorageThread::spawn(new_store(&dir), || ()).unwrap();
    thread.submit([nth(1)]);
    thread.submit([nth(3)]);
}

#[test]
fn more_than_fits_into_one_transaction_becomes_several() {
    let dir = TestDir::new();
    let (thread, wakes, go) = spawn_stepped(new_store(&dir));
    thread.submit([nth(1)]);
    await_wake(&wakes);
    let count = TRANSACTION_WEIGHT_MAX as u64 / 2 + 10;
    for id in 2..=1 + count {
        thread.submit([nth(id)]);
    }
    go.send(()).unwrap();
    await_wake(&wakes);
    let first = WriteId(1 + TRANSACTION_WEIGHT_MAX as u64 / 2);
    assert_eq!(thread.poll(), Some(Completion::Durable { through: first }));
    drop(go);
    thread.shutdown().unwrap();
    assert_eq!(verify(dir.path()).unwrap().recovered.entries.len() as u64, 1 + count);
}
