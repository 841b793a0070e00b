//! The storage thread: writes go in, completions come out, and no other thread waits for the disk.
//!
//! All writes that are waiting when the disk becomes free form one transaction (group commit), so that a slow
//! disk makes the transactions larger and not the queue longer. After a failure nothing more is written: what
//! the disk holds is then known only to the next process that reads it (fail-stop). This module must never
//! know what a write means.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

use raft_core::{Write, WriteId};

use super::error::StoreError;
use super::record::LostEntries;
use super::store::Store;
use crate::histogram::Times;

/// The most that may wait, counted as one for each write plus one for each entry. The core has at most 16,384
/// uncommitted entries and a follower some 32,768 unacknowledged ones, so a disk that is this far behind does
/// not work at all.
const WAITING_WEIGHT_MAX: usize = 262_144;

/// The most that goes into one transaction, counted in the same way. It bounds the pages that LMDB must hold
/// in memory: 16,384 of the largest commands are 128 MiB, a quarter of what LMDB allows.
const TRANSACTION_WEIGHT_MAX: usize = 16_384;

/// How often the thread checks that the files it writes to are still those at the store's path.
#[derive(Clone, Copy, Debug)]
struct CheckIntervals {
    /// After a transaction, the thread checks before it reports the transaction durable if the last check is
    /// older than this.
    writing: Duration,
    /// How long the thread waits before it checks when there is nothing to write.
    idle: Duration,
}

/// A check is a few system calls: next to nothing beside a second of writing, and nothing that shows at rest.
const CHECK_INTERVALS: CheckIntervals =
    CheckIntervals { writing: Duration::from_secs(1), idle: Duration::from_secs(10) };

/// The outcome of writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Completion {
    /// Every write up to and including this one survives a power cut.
    Durable {
        /// The last of them.
        through: WriteId,
    },
    /// A write failed, or the files written to are no longer at the store's path. Reported once; no later
    /// write becomes durable.
    Failed(StoreError),
}

/// Counters of what the thread has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StorageCounts {
    /// Writes that became durable. One transaction covers many of them.
    pub writes: u64,
    /// How long each transaction took to become durable; nearly all of it is the syncs of the disk.
    pub transactions: Times,
    /// How many of the transactions went to the data file, with everything that waited in the journal.
    pub checkpoints: u64,
    /// The size of the data file's pages, in bytes.
    pub data_file_bytes: u64,
    /// The largest size that they may reach, in bytes.
    pub map_bytes: u64,
    /// Writes that wait for the disk or are being written.
    pub waiting: u64,
}

impl StorageCounts {
    /// The counts of a thread that has done nothing yet.
    fn at_start(store: &Store) -> StorageCounts {
        StorageCounts {
            writes: 0,
            transactions: Times::of_times(),
            checkpoints: store.checkpoints(),
            data_file_bytes: store.file_bytes().unwrap_or(0),
            map_bytes: store.map_bytes(),
            waiting: 0,
        }
    }
}

/// A store owned by its thread.
///
/// If it is dropped without [`StorageThread::shutdown`], the thread stops after the transaction in progress;
/// the waiting writes are lost.
#[derive(Debug)]
pub struct StorageThread {
    shared: Arc<Shared>,
    handle: Option<JoinHandle<()>>,
}

impl StorageThread {
    /// Starts the thread. It calls `wake` whenever [`StorageThread::poll`] has something new to report.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn spawn(store: Store, wake: impl Fn() + Send + 'static) -> io::Result<StorageThread> {
        StorageThread::spawn_checking(store, CHECK_INTERVALS, wake)
    }

    fn spawn_checking(
        mut store: Store,
        intervals: CheckIntervals,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<StorageThread> {
        store.forget_recovered();
        let shared = Arc::new(Shared::new(StorageCounts::at_start(&store)));
        let worker = Worker {
            shared: Arc::clone(&shared),
            store,
            intervals,
            wake,
            writes: Vec::new(),
            // Opening the store ends with a check.
            checked_at: Instant::now(),
        };
        let handle = Builder::new().name("storage".into()).spawn(move || worker.run())?;
        Ok(StorageThread { shared, handle: Some(handle) })
    }

    /// Queues writes. Those of one call become durable together, as far as they fit into one transaction.
    /// After a failure they are dropped: nothing more is written, and [`StorageThread::poll`] reports why.
    /// Returns true if there is a failure; if these very writes caused it, by overfilling the queue, `wake`
    /// is not called for it.
    ///
    /// # Panics
    /// If a write's id does not follow the last one's.
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

    /// The outcome of the writes since the last call, or `None`. Call it until it returns `None`.
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

    /// Notes in the store that it lacks entries that its node has acknowledged, so that no other process
    /// serves with it either. Writes that wait or come later are dropped.
    pub fn record_lost_entries(&self, lost: LostEntries) {
        let mut queue = self.shared.lock();
        queue.drop_writes();
        queue.given_up = Some(GivenUp { lost, noted: false });
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// What the thread has done so far.
    #[must_use]
    pub fn counts(&self) -> StorageCounts {
        self.shared.lock().counts
    }

    /// Writes everything that waits, checks once more that the store is in its place, then closes it and
    /// releases its lock.
    ///
    /// # Errors
    /// If any write has failed, or the files written to are no longer at the store's path.
    pub fn shutdown(mut self) -> Result<(), StoreError> {
        self.stop(Stop::WhenEmpty);
        self.shared.lock().failure.clone().map_or(Ok(()), Err)
    }

    fn stop(&mut self, stop: Stop) {
        self.shared.lock().stop = stop;
        self.shared.changed.notify_one();
        if let Some(handle) = self.handle.take() {
            // A panic of the thread has already been turned into a failure.
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

/// What the thread has to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Write,
    /// To note in the store that it is of no use.
    Note(LostEntries),
    Check,
    Stop,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, the store was given up, or the thread is to stop.
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    writes: VecDeque<Write>,
    /// The sum of their weights.
    waiting_weight: usize,
    counts: StorageCounts,
    submitted: Option<WriteId>,
    /// The last durable write, if it has not been reported yet.
    durable: Option<WriteId>,
    failure: Option<StoreError>,
    /// Whether the failure has been reported.
    reported: bool,
    given_up: Option<GivenUp>,
    stop: Stop,
}

/// The store is of no use, and takes no more writes but this one.
#[derive(Clone, Copy, Debug)]
struct GivenUp {
    lost: LostEntries,
    /// Whether it has been noted in the store, as far as that was possible.
    noted: bool,
}

impl Queue {
    fn push(&mut self, write: Write) {
        if self.failure.is_some() || self.given_up.is_some() {
            return;
        }
        if let Some(last) = self.submitted {
            assert!(write.id == last.next(), "write {} after write {last}", write.id);
        }
        self.submitted = Some(write.id);
        self.waiting_weight += weight(&write);
        self.counts.waiting += 1;
        self.writes.push_back(write);
        if self.waiting_weight > WAITING_WEIGHT_MAX {
            self.fail(StoreError::Backlog { waiting_weight: self.waiting_weight });
        }
    }

    fn fail(&mut self, error: StoreError) {
        // The first failure is the cause of all later ones.
        if self.failure.is_none() {
            self.failure = Some(error);
        }
        self.drop_writes();
    }

    fn drop_writes(&mut self) {
        self.counts.waiting -= self.writes.len() as u64;
        self.writes.clear();
        self.waiting_weight = 0;
    }

    /// What is still to be noted in the store. After a failure nothing is written.
    fn to_note(&self) -> Option<LostEntries> {
        let given_up = self.given_up.filter(|given_up| !given_up.noted && self.failure.is_none());
        given_up.map(|given_up| given_up.lost)
    }
}

impl Shared {
    fn new(counts: StorageCounts) -> Shared {
        let queue = Queue {
            writes: VecDeque::new(),
            waiting_weight: 0,
            counts,
            submitted: None,
            durable: None,
            failure: None,
            reported: false,
            given_up: None,
            stop: Stop::Never,
        };
        Shared { queue: Mutex::new(queue), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock was held leaves the queue whole: no operation leaves it half done.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until there is something to do. Takes as many writes as fit into one transaction.
    fn take(&self, writes: &mut Vec<Write>, next_check: Instant) -> Due {
        let mut queue = self.wait(next_check);
        if queue.stop == Stop::Now {
            return Due::Stop;
        }
        let mut taken = 0;
        while let Some(write) = queue.writes.pop_front() {
            taken += weight(&write);
            writes.push(write);
            // The bound is exceeded by at most one write, which the core keeps small.
            if taken >= TRANSACTION_WEIGHT_MAX {
                break;
            }
        }
        queue.waiting_weight -= taken;
        if !writes.is_empty() {
            Due::Write
        } else if let Some(lost) = queue.to_note() {
            Due::Note(lost)
        } else if queue.stop == Stop::Never {
            Due::Check
        } else {
            Due::Stop
        }
    }

    /// Waits for writes, for something to note in the store, or for the time to stop or to check.
    fn wait(&self, next_check: Instant) -> MutexGuard<'_, Queue> {
        let is_idle = |queue: &mut Queue| {
            queue.writes.is_empty() && queue.to_note().is_none() && queue.stop == Stop::Never
        };
        let queue = self.lock();
        if queue.failure.is_some() {
            // Nothing more is written, so there is nothing to check.
            let woken = self.changed.wait_while(queue, is_idle);
            return woken.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let patience = next_check.saturating_duration_since(Instant::now());
        let woken = self.changed.wait_timeout_while(queue, patience, is_idle);
        woken.unwrap_or_else(std::sync::PoisonError::into_inner).0
    }
}

fn weight(write: &Write) -> usize {
    1 + write.entries.len()
}

/// What runs on the thread: it makes what is queued durable in the store.
struct Worker<W: Fn()> {
    shared: Arc<Shared>,
    store: Store,
    intervals: CheckIntervals,
    wake: W,
    /// The writes of the transaction in progress.
    writes: Vec<Write>,
    /// When the store was last checked.
    checked_at: Instant,
}

impl<W: Fn()> Worker<W> {
    fn run(mut self) {
        loop {
            let next_check = self.checked_at + self.intervals.idle;
            match self.shared.take(&mut self.writes, next_check) {
                Due::Write => self.write_transaction(),
                Due::Note(lost) => {
                    self.note(lost);
                    continue;
                }
                Due::Check => match self.check_store() {
                    Ok(()) => continue,
                    Err(error) => self.shared.lock().fail(error),
                },
                Due::Stop => return self.finish(),
            }
            (self.wake)();
        }
    }

    /// Makes the writes one transaction and clears them.
    fn write_transaction(&mut self) {
        let (began, checkpoints) = (Instant::now(), self.store.checkpoints());
        let mut result = self.store.write(&self.writes);
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if result.is_ok() && self.checked_at.elapsed() >= self.intervals.writing {
            result = self.check_store();
        }
        // Without the lock: LMDB may read the file for it, and the loop must not wait for the disk. If LMDB
        // cannot tell, a write has failed and has reported that.
        let is_checkpoint = self.store.checkpoints() != checkpoints;
        let data_file_bytes = if is_checkpoint { self.store.file_bytes().ok() } else { None };
        let (last, count) = (self.writes.last().map(|write| write.id), self.writes.len() as u64);
        let mut queue = self.shared.lock();
        queue.counts.waiting -= count;
        if result.is_ok() {
            queue.counts.writes += count;
            queue.counts.transactions.note(took_us);
            queue.counts.checkpoints = self.store.checkpoints();
            queue.counts.map_bytes = self.store.map_bytes();
            queue.counts.data_file_bytes = data_file_bytes.unwrap_or(queue.counts.data_file_bytes);
        }
        self.writes.clear();
        match result {
            // If the queue has failed meanwhile, that may have been reported, and nothing is reported after
            // it.
            Ok(()) if queue.failure.is_none() => queue.durable = last,
            Ok(()) => {}
            Err(error) => queue.fail(error),
        }
    }

    /// Notes in the store that it is of no use. Its node is done for in any case.
    fn note(&mut self, lost: LostEntries) {
        if let Err(error) = self.store.note_lost_entries(lost) {
            log::warn!(
                "the store does not say that it is of no use, so never start this node again: {error}"
            );
        }
        if let Some(given_up) = &mut self.shared.lock().given_up {
            given_up.noted = true;
        }
    }

    /// Checks that the store's files are still in their place.
    fn check_store(&mut self) -> Result<(), StoreError> {
        self.checked_at = Instant::now();
        self.store.check_in_place()
    }

    /// Checks the store once more: a caller that is told that it was closed relies on the next start to find
    /// what was written.
    fn finish(&mut self) {
        let is_in_order = {
            let queue = self.shared.lock();
            queue.stop == Stop::WhenEmpty && queue.failure.is_none()
        };
        if is_in_order && let Err(error) = self.check_store() {
            self.shared.lock().fail(error);
        }
    }
}

impl<W: Fn()> Drop for Worker<W> {
    /// Turns a panic into a failure like any other, if panics unwind: the node must not wait for ever for a
    /// thread that is gone.
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.lock().fail(StoreError::Bug);
            (self.wake)();
        }
    }
}
