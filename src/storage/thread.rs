//! The storage thread: writes go in, completions come out, and nobody else waits for the disk.
//!
//! All writes that wait when the disk becomes free are one transaction (group commit), so that a slow disk
//! makes the transactions larger and not the queue longer. After a failure nothing is written any more: what
//! the disk holds is then known only to the next process that reads it (fail-stop). It must never know what a
//! write means.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use raft_core::{Write, WriteId};

use super::error::StoreError;
use super::store::Store;
use crate::histogram::Times;

/// How much may wait: entries, and one for each write. The core has at most 16,384 entries uncommitted and a
/// follower some 32,768 unacknowledged, so a disk that is this far behind does not work at all.
const WAITING_WEIGHT_MAX: usize = 262_144;

/// How much goes into one transaction, counted in the same way: it bounds the pages that LMDB must hold in
/// memory (16,384 of the largest commands are 128 MiB, a quarter of what LMDB allows).
const TRANSACTION_WEIGHT_MAX: usize = 16_384;

/// What became of writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Completion {
    /// Every write up to and including this one survives a power cut.
    Durable {
        /// The last of them.
        through: WriteId,
    },
    /// A write failed. Comes once; no other write will be durable.
    Failed(StoreError),
}

/// What the thread has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StorageCounts {
    /// Writes that became durable. One transaction makes many of them so.
    pub writes: u64,
    /// How long each transaction took until it was durable; the syncs of the disk are nearly all of it.
    pub transactions: Times,
    /// How many of the transactions went to the data file, with all that waited in the journal.
    pub checkpoints: u64,
    /// How large the data file's pages have become, in bytes.
    pub data_file_bytes: u64,
    /// How large they may become, in bytes.
    pub map_bytes: u64,
    /// Failed writes: 1 at most, since there is no other after it.
    pub failures: u64,
    /// Writes that wait for the disk, or are on their way to it.
    pub waiting: u64,
}

/// A store in the hands of its thread.
///
/// Dropped without [`StorageThread::shutdown`], it stops after the transaction under way; what waits is lost.
#[derive(Debug)]
pub struct StorageThread {
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

impl StorageThread {
    /// Starts the thread. It calls `wake` whenever [`StorageThread::poll`] has something new to say.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn spawn(mut store: Store, wake: impl Fn() + Send + 'static) -> io::Result<StorageThread> {
        store.forget_recovered();
        let shared = Arc::new(Shared::default());
        shared.lock().measure(&store);
        let of_thread = Arc::clone(&shared);
        let handle = Builder::new().name("storage".into()).spawn(move || {
            let guard = PanicGuard { shared: &of_thread, wake: &wake };
            run(&of_thread, &mut store, &wake);
            std::mem::forget(guard);
        })?;
        Ok(StorageThread { shared, handle: Some(handle) })
    }

    /// Queues writes; those of one call become durable together, as far as one transaction goes. After a
    /// failure they are dropped: nothing more is written, and [`StorageThread::poll`] says why. True where
    /// there is such a failure; no wake tells of one that these writes have caused, by their number.
    ///
    /// # Panics
    /// Where a write's id does not follow the last one's.
    pub fn submit(&self, writes: impl IntoIterator<Item = Write>) -> bool {
        let mut queue = self.shared.lock();
        for write in writes {
            queue.push(write);
        }
        let has_failed = queue.failure.is_some();
        drop(queue);
        self.shared.changed.notify_one();
        has_failed
    }

    /// What became of the writes since the last call; `None` where that is nothing. Call it until then.
    pub fn poll(&self) -> Option<Completion> {
        let mut queue = self.shared.lock();
        if let Some(through) = queue.durable.take() {
            return Some(Completion::Durable { through });
        }
        if queue.reported {
            return None;
        }
        let failure = queue.failure.clone()?;
        queue.reported = true;
        Some(Completion::Failed(failure))
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> StorageCounts {
        let queue = self.shared.lock();
        StorageCounts {
            writes: queue.written,
            transactions: queue.transactions,
            checkpoints: queue.checkpoints,
            data_file_bytes: queue.data_file_bytes,
            map_bytes: queue.map_bytes,
            failures: u64::from(queue.failure.is_some()),
            waiting: u64::try_from(queue.writes.len() + queue.under_way).unwrap_or(u64::MAX),
        }
    }

    /// Writes what waits, then closes the store and releases its lock.
    ///
    /// # Errors
    /// Where a write failed, now or ever.
    pub fn shutdown(mut self) -> Result<(), StoreError> {
        self.stop(Stop::WhenEmpty);
        self.shared.lock().failure.clone().map_or(Ok(()), Err)
    }

    fn stop(&mut self, stop: Stop) {
        self.shared.lock().stop = stop;
        self.shared.changed.notify_one();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has been turned into a failure already.
            let _ = handle.join();
        }
    }
}

impl Drop for StorageThread {
    fn drop(&mut self) {
        self.stop(Stop::Now);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Never,
    WhenEmpty,
    Now,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, or the thread is to stop.
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    writes: VecDeque<Write>,
    /// Their weights together.
    waiting_weight: usize,
    /// How many the thread has taken and not finished.
    under_way: usize,
    /// How many it has finished.
    written: u64,
    transactions: Times,
    checkpoints: u64,
    data_file_bytes: u64,
    map_bytes: u64,
    submitted: Option<WriteId>,
    /// The last write that is durable, where that was not reported yet.
    durable: Option<WriteId>,
    failure: Option<StoreError>,
    /// Whether the failure was reported.
    reported: bool,
    stop: Stop,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            writes: VecDeque::new(),
            under_way: 0,
            written: 0,
            transactions: Times::of_times(),
            checkpoints: 0,
            data_file_bytes: 0,
            map_bytes: 0,
            waiting_weight: 0,
            submitted: None,
            durable: None,
            failure: None,
            reported: false,
            stop: Stop::Never,
        }
    }
}

impl Queue {
    /// How full the store is now.
    fn measure(&mut self, store: &Store) {
        self.checkpoints = store.checkpoints();
        self.map_bytes = store.map_bytes();
        // Where LMDB can not say, it has said so already, as the failure of a write.
        self.data_file_bytes = store.used_bytes().unwrap_or(self.data_file_bytes);
    }

    fn push(&mut self, write: Write) {
        if self.failure.is_some() {
            return;
        }
        if let Some(last) = self.submitted {
            assert!(write.id == last.next(), "write {} after write {last}", write.id);
        }
        self.submitted = Some(write.id);
        self.waiting_weight += weight(&write);
        self.writes.push_back(write);
        if self.waiting_weight > WAITING_WEIGHT_MAX {
            self.fail(StoreError::Backlog { waiting_weight: self.waiting_weight });
        }
    }

    fn fail(&mut self, error: StoreError) {
        // The first failure is the cause of the others.
        self.failure.get_or_insert(error);
        self.writes.clear();
        self.waiting_weight = 0;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whatever panicked while it held the lock, the queue is whole: no operation leaves it half done.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits for writes and takes as many as go into one transaction; false when it is time to stop.
    fn take(&self, writes: &mut Vec<Write>) -> bool {
        let mut queue = self
            .changed
            .wait_while(self.lock(), |queue| queue.writes.is_empty() && queue.stop == Stop::Never)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if queue.stop == Stop::Now {
            return false;
        }
        let mut taken = 0;
        while let Some(write) = queue.writes.pop_front() {
            taken += weight(&write);
            writes.push(write);
            // Beyond the bound by one write at most, which the core keeps small.
            if taken >= TRANSACTION_WEIGHT_MAX {
                break;
            }
        }
        queue.waiting_weight -= taken;
        queue.under_way = writes.len();
        !writes.is_empty()
    }
}

fn weight(write: &Write) -> usize {
    1 + write.entries.len()
}

fn run(shared: &Shared, store: &mut Store, wake: &dyn Fn()) {
    let mut writes = Vec::new();
    while shared.take(&mut writes) {
        let began = Instant::now();
        let result = store.write(&writes);
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let last = writes.last().map(|write| write.id);
        let mut queue = shared.lock();
        queue.under_way = 0;
        if result.is_ok() {
            queue.written += writes.len() as u64;
            queue.transactions.note(took_us);
            if queue.checkpoints != store.checkpoints() {
                queue.measure(store);
            }
        }
        writes.clear();
        match result {
            // Where the queue has failed meanwhile, that may have been reported: nothing comes after it.
            Ok(()) if queue.failure.is_none() => queue.durable = last,
            Ok(()) => {}
            Err(error) => queue.fail(error),
        }
        drop(queue);
        wake();
    }
}

/// Turns a panic into a failure like any other, where panics unwind at all: the node must not wait for ever
/// for a thread that is gone.
struct PanicGuard<'a> {
    shared: &'a Shared,
    wake: &'a dyn Fn(),
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.shared.lock().fail(StoreError::Bug);
        (self.wake)();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use raft_core::{HardState, Term};

    use super::*;
    use crate::storage::testing::{TestDir, append, member, settings, snapshot};
    use crate::storage::{MAP_BYTES_MIN, verify};

    const EIO: i32 = 5;
    const ENOSPC: i32 = 28;

    fn new_store(dir: &TestDir) -> Store {
        let initial = (HardState { current_term: Term(1), voted_for: None }, snapshot(1, 1));
        Store::create(dir.path(), MAP_BYTES_MIN, &member(), &settings(), Some(initial)).unwrap()
    }

    /// Appends entry `id + 1`, so that the log begins at 2.
    fn nth(id: u64) -> Write {
        append(id, id + 1..=id + 1, 1)
    }

    /// A thread whose every wake is announced, and then lasts until it is allowed to end.
    fn spawn_stepped(store: Store) -> (StorageThread, Receiver<()>, Sender<()>) {
        let (woken, wakes) = channel();
        let (go, permits) = channel();
        let thread = StorageThread::spawn(store, move || {
            let _ = woken.send(());
            let _ = permits.recv();
        });
        (thread.unwrap(), wakes, go)
    }

    #[test]
    fn writes_that_wait_while_the_disk_is_busy_become_one_transaction() {
        let dir = TestDir::new();
        let store = new_store(&dir);
        drop(store);
        let before = verify(dir.path()).unwrap().transaction;
        let (thread, wakes, go) = spawn_stepped(Store::open(dir.path()).unwrap());
        thread.submit([nth(1)]);
        wakes.recv().unwrap();
        assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(1) }));
        assert_eq!(thread.poll(), None);
        for id in 2..=50 {
            thread.submit([nth(id)]);
        }
        go.send(()).unwrap();
        wakes.recv().unwrap();
        assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(50) }));
        assert_eq!(thread.poll(), None);
        drop(go);
        thread.shutdown().unwrap();
        let after = verify(dir.path()).unwrap();
        assert_eq!(after.entries, 50);
        // One for the first write, one for the 49 others.
        assert_eq!(after.transaction, before + 2);
    }

    #[test]
    fn transactions_that_go_to_the_data_file_are_counted_and_its_growth_is_seen() {
        let dir = TestDir::new();
        let (woken, wakes) = channel();
        let thread = StorageThread::spawn(new_store(&dir), move || woken.send(()).unwrap()).unwrap();
        let before = thread.counts();
        // Each takes a block of the journal at least.
        let transactions = 300;
        for id in 1..=transactions {
            thread.submit([nth(id)]);
            wakes.recv().unwrap();
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
        wakes.recv().unwrap();
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
        wakes.recv().unwrap();
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
            store.journal.fault = Some(errno);
            let (thread, wakes, go) = spawn_stepped(store);
            drop(go);
            thread.submit([nth(2)]);
            wakes.recv().unwrap();
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
    fn a_mistake_of_ours_in_the_thread_is_a_failure_too() {
        let dir = TestDir::new();
        let (thread, wakes, go) = spawn_stepped(new_store(&dir));
        drop(go);
        thread.submit([nth(7)]);
        wakes.recv().unwrap();
        assert_eq!(thread.poll(), Some(Completion::Failed(StoreError::Bug)));
        assert_eq!(thread.shutdown(), Err(StoreError::Bug));
    }

    #[test]
    fn a_disk_that_is_hopelessly_behind_has_failed() {
        let dir = TestDir::new();
        let (thread, wakes, go) = spawn_stepped(new_store(&dir));
        thread.submit([nth(1)]);
        wakes.recv().unwrap();
        assert_eq!(thread.poll(), Some(Completion::Durable { through: WriteId(1) }));
        // The thread is held in its wake; each write weighs 2.
        let mut id = 2;
        while !thread.submit([nth(id)]) {
            id += 1;
            assert!(id < WAITING_WEIGHT_MAX as u64, "no bound was reached");
        }
        assert_eq!(id, WAITING_WEIGHT_MAX as u64 / 2 + 2);
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
        wakes.recv().unwrap();
        let count = TRANSACTION_WEIGHT_MAX as u64 / 2 + 10;
        for id in 2..=1 + count {
            thread.submit([nth(id)]);
        }
        go.send(()).unwrap();
        wakes.recv().unwrap();
        let first = WriteId(1 + TRANSACTION_WEIGHT_MAX as u64 / 2);
        assert_eq!(thread.poll(), Some(Completion::Durable { through: first }));
        drop(go);
        thread.shutdown().unwrap();
        assert_eq!(verify(dir.path()).unwrap().entries as u64, 1 + count);
    }
}
