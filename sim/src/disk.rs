//! A disk, and the store on it: transactions that survive, and those that do not yet.
//!
//! What it takes from the real store: a write is one transaction; all that waits goes into the next one (group
//! commit); after a failure nothing more is written. A power cut leaves a transaction that is being synced either
//! whole or not there at all, as LMDB promises.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use raft_core::{Entry, HardState, LogIndex, Recovered, Snapshot, Term, Write, WriteId};

use crate::oracle::Oracle;
use crate::violated;

/// What a disk holds for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    pub(crate) entries: VecDeque<Entry>,
}

impl Disk {
    /// What a node finds when it starts.
    pub(crate) fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state,
            snapshot: self.snapshot.clone(),
            entries: self.entries.iter().cloned().collect(),
        }
    }

    pub(crate) fn base(&self) -> (LogIndex, Term) {
        self.snapshot
            .as_ref()
            .map_or((LogIndex(0), Term(0)), |s| (s.last_included_index, s.last_included_term))
    }

    /// Index and term of the last entry.
    pub(crate) fn last(&self) -> (LogIndex, Term) {
        self.entries.back().map_or(self.base(), |e| (e.index, e.term))
    }

    /// The term of the entry at `index`; `None` where there is none, or where only the snapshot stands for it.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        let (base, term) = self.base();
        if index == base {
            return Some(term);
        }
        let offset = index.0.checked_sub(base.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(offset).ok()?).map(|e| e.term)
    }

    /// Whether the entry is there, itself or within the snapshot.
    pub(crate) fn holds(&self, index: LogIndex, term: Term) -> bool {
        index < self.base().0 || self.term_at(index) == Some(term)
    }

    /// Carries out one write, and checks that it can be: a store whose log has a gap would not be opened again.
    pub(crate) fn apply(&mut self, write: Write, oracle: &mut Oracle) {
        let Write { id, hard_state, snapshot, truncate_from, entries } = write;
        if let Some(new) = hard_state {
            self.replace_hard_state(new);
        }
        if let Some(snapshot) = snapshot {
            let index = snapshot.last_included_index;
            if index < self.base().0 {
                violated!("write {id} brings back snapshot {index}, the store has {}", self.base().0);
            }
            while self.entries.front().is_some_and(|e| e.index <= index) {
                self.entries.pop_front();
            }
            self.snapshot = Some(snapshot);
        }
        if let Some(from) = truncate_from {
            while self.entries.back().is_some_and(|e| e.index >= from) {
                self.entries.pop_back();
            }
        }
        for entry in entries {
            let (last, _) = self.last();
            if entry.index != last.next() {
                violated!("write {id} appends entry {} after entry {last}", entry.index);
            }
            if entry.term > self.hard_state.current_term {
                violated!(
                    "write {id} appends an entry of term {} in term {}",
                    entry.term,
                    self.hard_state.current_term
                );
            }
            let previous = self.term_at(last).expect("the last entry, or the snapshot, has a term");
            oracle.on_written(previous, &entry);
            self.entries.push_back(entry);
        }
        if self.entries.front().is_some_and(|e| e.index != self.base().0.next()) {
            violated!("write {id} leaves a gap after the snapshot at {}", self.base().0);
        }
    }

    fn replace_hard_state(&mut self, new: HardState) {
        let old = self.hard_state;
        if new.current_term < old.current_term {
            violated!("the term goes back from {} to {} on a disk", old.current_term, new.current_term);
        }
        let changed = old.voted_for.is_some() && new.voted_for != old.voted_for;
        if new.current_term == old.current_term && changed {
            violated!(
                "a second vote in term {}: {:?} after {:?}",
                new.current_term,
                new.voted_for,
                old.voted_for
            );
        }
        self.hard_state = new;
    }
}

/// The storage thread of one process.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    /// Being written and synced.
    syncing: Vec<Write>,
    /// Waits for that.
    queued: Vec<Write>,
    last: Option<WriteId>,
    failed: bool,
}

impl Storage {
    /// Queues a write; true where a transaction begins with it.
    pub(crate) fn submit(&mut self, write: Write) -> bool {
        if self.failed {
            return false;
        }
        if self.last.is_some_and(|last| write.id != last.next()) {
            violated!("write {} follows write {:?}", write.id, self.last);
        }
        self.last = Some(write.id);
        self.queued.push(write);
        self.begin()
    }

    /// Begins the next transaction, if none is under way and anything waits.
    pub(crate) fn begin(&mut self) -> bool {
        if !self.syncing.is_empty() || self.queued.is_empty() {
            return false;
        }
        mem::swap(&mut self.syncing, &mut self.queued);
        true
    }

    /// The transaction is durable.
    pub(crate) fn commit(&mut self, disk: &mut Disk, oracle: &mut Oracle) -> Option<WriteId> {
        let through = self.syncing.last().map(|w| w.id);
        for write in self.syncing.drain(..) {
            disk.apply(write, oracle);
        }
        through
    }

    /// The transaction failed; nothing more is ever written.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.syncing.clear();
        self.queued.clear();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }
}
