//! The changes that a [`Write`] of the core makes to the records: which are put, and which are deleted.
//!
//! Pure: writes in, changes out, in the order in which they are to be made. It checks what each write relies
//! on. Only the core makes writes, so a write that does not follow on what is there is a bug of ours, and
//! stops the process before it spoils the store. This module must never know where the changes go.

use raft_core::{Entry, HardState, LogIndex, Snapshot, Term, Write};

use crate::storage::record::{Change, Extent, Key, Value};

/// The hard state, and where the log begins, ends and changes its term, as recorded so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogShape {
    hard_state: HardState,
    extent: Extent,
    /// The terms of the entries as runs: where each run begins, ascending.
    runs: Vec<(LogIndex, Term)>,
}

impl LogShape {
    /// The shape of a store with these contents.
    pub(crate) fn new(hard_state: HardState, extent: Extent, entries: &[Entry]) -> LogShape {
        let mut shape = LogShape { hard_state, extent, runs: Vec::new() };
        entries.iter().for_each(|entry| shape.extend_runs(entry));
        shape
    }

    /// The changes that these writes make, in order, as one transaction. The next plan builds on this one, so
    /// if the transaction fails, no other plan may follow.
    ///
    /// # Panics
    /// If a write does not follow on what is there.
    #[must_use]
    pub(crate) fn plan<'w>(&mut self, writes: &'w [Write]) -> Vec<Change<'w>> {
        let puts = writes.iter().map(|write| write.entries.len() + 1).sum::<usize>();
        let mut changes = Vec::with_capacity(puts + 1);
        for write in writes {
            self.apply(write, &mut changes);
        }
        changes.push(Change::Put(Value::Extent(self.extent)));
        changes
    }

    /// The parts of a write apply in the order of its fields.
    fn apply<'w>(&mut self, write: &'w Write, changes: &mut Vec<Change<'w>>) {
        let Write { id: _, hard_state, snapshot, truncate_from, entries } = write;
        if let Some(hard_state) = hard_state {
            self.set_hard_state(hard_state);
            changes.push(Change::Put(Value::HardState(hard_state)));
        }
        if let Some(snapshot) = snapshot {
            changes.push(Change::Put(Value::Snapshot(snapshot)));
            self.set_snapshot(snapshot, changes);
        }
        if let Some(from) = truncate_from {
            self.truncate(*from, changes);
        }
        for entry in entries {
            self.append(entry);
            changes.push(Change::Put(Value::Entry(entry)));
        }
    }

    fn set_hard_state(&mut self, new: &HardState) {
        let old = self.hard_state;
        assert!(
            new.current_term >= old.current_term,
            "term {} after term {}",
            new.current_term,
            old.current_term
        );
        // Raft §5.2: at most one vote in a term.
        assert!(
            new.current_term > old.current_term || old.voted_for.is_none() || new.voted_for == old.voted_for,
            "a vote for {:?} after one for {:?} in term {}",
            new.voted_for,
            old.voted_for,
            new.current_term
        );
        self.hard_state = *new;
    }

    fn set_snapshot(&mut self, snapshot: &Snapshot, changes: &mut Vec<Change<'_>>) {
        let (index, term) = (snapshot.last_included_index, snapshot.last_included_term);
        let (base, last) = (self.extent.base(), self.extent.last_log_index);
        assert!(index >= base, "a snapshot of entry {index} after one of entry {base}");
        let current_term = self.hard_state.current_term;
        assert!(term <= current_term, "a snapshot of term {term} in term {current_term}");
        delete_entries(base, last.min(index), changes);
        self.extent.snapshot = Some((index, term));
        if index >= last {
            self.extent.last_log_index = index;
            self.runs.clear();
        } else {
            let later = self.runs.partition_point(|(start, _)| *start <= index.next());
            // The run that the first remaining entry belongs to is kept.
            self.runs.drain(..later.saturating_sub(1));
        }
    }

    fn truncate(&mut self, from: LogIndex, changes: &mut Vec<Change<'_>>) {
        let (base, last) = (self.extent.base(), self.extent.last_log_index);
        assert!(from > base, "a truncation from entry {from} where the log begins after {base}");
        let Some(new_last) = from.previous().filter(|new_last| *new_last < last) else { return };
        delete_entries(new_last, last, changes);
        self.extent.last_log_index = new_last;
        let kept =
            if new_last == base { 0 } else { self.runs.partition_point(|(start, _)| *start <= new_last) };
        self.runs.truncate(kept);
    }

    fn append(&mut self, entry: &Entry) {
        let expected = self.extent.last_log_index.next();
        assert!(entry.index == expected, "entry {} where {expected} follows", entry.index);
        let last_log_term = self.last_log_term();
        assert!(entry.term >= last_log_term, "term {} after term {last_log_term}", entry.term);
        let current_term = self.hard_state.current_term;
        assert!(entry.term <= current_term, "an entry of term {} in term {current_term}", entry.term);
        self.extent.last_log_index = entry.index;
        self.extend_runs(entry);
    }

    fn extend_runs(&mut self, entry: &Entry) {
        if self.runs.last().is_none_or(|(_, term)| *term != entry.term) {
            self.runs.push((entry.index, entry.term));
        }
    }

    /// The term of the last entry; without entries, that of the snapshot; without a snapshot, 0.
    fn last_log_term(&self) -> Term {
        let of_snapshot = self.extent.snapshot.map_or(Term(0), |(_, term)| term);
        self.runs.last().map_or(of_snapshot, |(_, term)| *term)
    }
}

/// Deletes the entries after the first index, up to and including the last.
fn delete_entries(after: LogIndex, last: LogIndex, changes: &mut Vec<Change<'_>>) {
    changes.extend((after.0..last.0).map(|index| Change::Delete(Key::Entry(LogIndex(index).next()))));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::StoreError;
    use crate::storage::contents::Contents;
    use crate::storage::journal::Journal;
    use crate::storage::record::{Checkpoint, Inventory, TransactionId};
    use crate::storage::testing::{self, entry, member, new_store_records, nothing, read_records, snapshot};

    const JOURNAL_BYTES: u64 = 4096;

    /// Records in memory.
    #[derive(Clone)]
    struct Records(testing::Records);

    impl Records {
        fn new() -> Records {
            Records(new_store_records(JOURNAL_BYTES))
        }

        fn make(&mut self, change: &Change<'_>) {
            match change {
                Change::Put(value) => {
                    value.encode(self.0.entry(value.key().to_bytes()).or_default());
                }
                Change::Delete(key) => {
                    self.0.remove(&key.to_bytes()).unwrap_or_else(|| panic!("{key} is not there"));
                }
            }
        }

        /// The contents, if the last checkpoint made all of these records.
        fn contents(&self) -> Result<Contents, StoreError> {
            let mut records = self.0.clone();
            let mut inventory = Inventory::default();
            for (key, record) in &records {
                inventory.set(Key::from_bytes(key.as_ref()).unwrap(), Some(record));
            }
            let (through, inventory) = (TransactionId::default(), inventory.checksum());
            let value = Value::Checkpoint(Checkpoint { through, journal_bytes: JOURNAL_BYTES, inventory });
            value.encode(records.entry(value.key().to_bytes()).or_default());
            read_records(&records, &Journal::blank(member().me.incarnation, JOURNAL_BYTES))
        }
    }

    /// A log: its base, the term of the base, and the terms that follow.
    type Log = (u64, u64, Vec<u64>);

    /// The write that a step stands for, and the log after it; `None` if the step is impossible.
    fn step(number: u32, log: &Log) -> Option<(Write, Log)> {
        let (base, base_term, terms) = log;
        let len = u64::try_from(terms.len()).unwrap();
        let last_term = terms.last().copied().unwrap_or(*base_term);
        let cut = |at: u64| terms[..usize::try_from(at).unwrap()].to_vec();
        let rest = |at: u64| terms[usize::try_from(at).unwrap()..].to_vec();
        match number {
            0 | 1 => {
                let term = last_term + u64::from(number);
                let entries = (1..=2).map(|offset| entry(base + len + offset, term)).collect();
                let after = [&terms[..], &[term, term]].concat();
                Some((Write { entries, ..nothing(1) }, (*base, *base_term, after)))
            }
            2 | 3 => {
                let at = len.checked_sub(u64::from(number) * 2 - 3)?;
                let from = Some(LogIndex(base + at + 1));
                Some((Write { truncate_from: from, ..nothing(1) }, (*base, *base_term, cut(at))))
            }
            4 => {
                let term = *terms.first()?;
                let of = Arc::new(snapshot(base + 1, term));
                Some((Write { snapshot: Some(of), ..nothing(1) }, (base + 1, term, rest(1))))
            }
            _ => {
                let of = Arc::new(snapshot(base + len + 2, last_term));
                Some((Write { snapshot: Some(of), ..nothing(1) }, (base + len + 2, last_term, Vec::new())))
            }
        }
    }

    const STEPS: u32 = 6;

    /// All sequences of this many steps, each planned on the one before.
    fn follow(depth: u32, shape: &LogShape, records: &Records, log: &Log) -> usize {
        let mut plans = 0;
        for number in 0..STEPS {
            let Some((write, after)) = step(number, log) else { continue };
            let (mut shape, mut records) = (shape.clone(), records.clone());
            let writes = [write];
            shape.plan(&writes).iter().for_each(|change| records.make(change));
            let contents = records.contents().unwrap();
            let terms = contents.recovered.entries.iter().map(|entry| entry.term.0).collect::<Vec<_>>();
            let of_snapshot = contents.extent.snapshot.unwrap();
            assert_eq!((of_snapshot.0.0, of_snapshot.1.0, terms), after);
            let (_, base_term, terms) = &after;
            assert_eq!(shape.last_log_term(), Term(*terms.last().unwrap_or(base_term)), "{after:?}");
            let anew = contents.shape();
            assert_eq!(
                (shape.hard_state, shape.extent, shape.last_log_term()),
                (anew.hard_state, anew.extent, anew.last_log_term())
            );
            plans += 1;
            if depth > 1 {
                plans += follow(depth - 1, &shape, &records, &after);
            }
        }
        plans
    }

    #[test]
    fn whatever_was_planned_before_a_plan_builds_on_what_a_store_opened_anew_would() {
        let records = Records::new();
        let shape = records.contents().unwrap().shape();
        let plans = follow(6, &shape, &records, &(1, 1, Vec::new()));
        assert!(plans > 2_000, "{plans}");
    }

    /// Plans these writes, one after the other, for a store in term 9 with a snapshot of entry 1 of term 1.
    fn plan_all(writes: &[Write]) {
        let mut shape = Records::new().contents().unwrap().shape();
        writes.iter().for_each(|write| drop(shape.plan(std::slice::from_ref(write))));
    }

    #[test]
    #[should_panic(expected = "term 2 after term 3")]
    fn an_entry_of_an_earlier_term_than_the_one_before_it_is_a_bug() {
        plan_all(&[Write { entries: vec![entry(2, 3), entry(3, 2)], ..nothing(1) }]);
    }

    #[test]
    #[should_panic(expected = "term 2 after term 3")]
    fn an_entry_of_an_earlier_term_than_the_snapshot_before_it_is_a_bug() {
        let entries = vec![entry(6, 2)];
        plan_all(&[Write { snapshot: Some(Arc::new(snapshot(5, 3))), entries, ..nothing(1) }]);
    }

    #[test]
    #[should_panic(expected = "a snapshot of entry 4 after one of entry 5")]
    fn a_snapshot_that_goes_back_is_a_bug() {
        let to = |index| Write { snapshot: Some(Arc::new(snapshot(index, 3))), ..nothing(1) };
        plan_all(&[to(5), to(5), to(4)]);
    }

    #[test]
    #[should_panic(expected = "a snapshot of term 10 in term 9")]
    fn a_snapshot_of_a_term_to_come_is_a_bug() {
        plan_all(&[Write { snapshot: Some(Arc::new(snapshot(5, 10))), ..nothing(1) }]);
    }

    #[test]
    fn what_one_write_of_a_transaction_appends_another_may_cut_off() {
        let mut records = Records::new();
        let mut shape = records.contents().unwrap().shape();
        let appended = Write { entries: vec![entry(2, 1), entry(3, 4)], ..nothing(1) };
        let cut = Write { truncate_from: Some(LogIndex(3)), entries: vec![entry(3, 2)], ..nothing(2) };
        shape.plan(&[appended, cut]).iter().for_each(|change| records.make(change));
        assert_eq!(records.contents().unwrap().recovered.entries, [entry(2, 1), entry(3, 2)]);
    }
}
