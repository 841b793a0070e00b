//! Turns the records of a data file and the bytes of a journal into contents, checked as a whole.
//!
//! Pure: records and the bytes of a journal in, contents or the first fault out. A store that fails a check
//! here is never served from and never truncated: which of two conflicting records is wrong cannot be told.
//! This module must never know where the records come from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use raft_core::{Entry, HardState, INDEX_MAX, LogIndex, Recovered, Snapshot, TERM_MAX, Term};

use super::Contents;
use crate::identity::Identity;
use crate::storage::error::{Place, StoreError};
use crate::storage::journal::{Journal, JournalError, Transaction, read_changes};
use crate::storage::record::{
    self, Checkpoint, Extent, Inventory, KEY_BYTES_MAX, Key, LostEntries, Pending, Record, RecordError,
};
use crate::storage::{MAP_BYTES_MAX, MAP_BYTES_MIN, Setting};

/// Collects the records: those of the data file, then the changes in the journal.
#[derive(Debug)]
pub struct Collector<'p> {
    path: &'p Path,
    identity: Option<Identity>,
    settings: Option<Vec<Setting>>,
    map_bytes: Option<u64>,
    hard_state: Option<HardState>,
    snapshot: Option<Snapshot>,
    entries: BTreeMap<LogIndex, Entry>,
    extent: Option<Extent>,
    checkpoint: Option<Checkpoint>,
    lost_entries: Option<LostEntries>,
    inventory: Inventory,
}

/// The records that every store has, after they were checked together with all others.
struct Checked<'c> {
    identity: Identity,
    settings: &'c [Setting],
    map_bytes: u64,
    hard_state: HardState,
    extent: Extent,
}

impl<'p> Collector<'p> {
    /// An empty collector. The path is used in errors.
    #[must_use]
    pub fn new(path: &'p Path) -> Self {
        Collector {
            path,
            identity: None,
            settings: None,
            map_bytes: None,
            hard_state: None,
            snapshot: None,
            entries: BTreeMap::new(),
            extent: None,
            checkpoint: None,
            lost_entries: None,
            inventory: Inventory::default(),
        }
    }

    /// Adds a record of the data file.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the record is not what belongs under that key, [`StoreError::Format`].
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some(key) = Key::from_bytes(key) else {
            let mut start = [0; KEY_BYTES_MAX];
            let len = key.len().min(KEY_BYTES_MAX);
            start[..len].copy_from_slice(&key[..len]);
            return Err(self.damaged(Place::UnknownKey(start), "ticketd never writes it"));
        };
        self.set(key, Some(value))
    }

    /// The record is written, or removed if it is `None`.
    fn set(&mut self, key: Key, record: Option<&[u8]>) -> Result<(), StoreError> {
        match record {
            Some(record) => self.put(key, record)?,
            None => self.delete(key)?,
        }
        self.inventory.set(key, record);
        Ok(())
    }

    fn put(&mut self, key: Key, value: &[u8]) -> Result<(), StoreError> {
        match record::decode(key, value) {
            Ok(Record::Identity(identity)) => self.identity = Some(identity),
            Ok(Record::Settings(settings)) => self.settings = Some(settings),
            Ok(Record::MapSize(map_bytes)) => self.map_bytes = Some(map_bytes),
            Ok(Record::HardState(hard_state)) => self.hard_state = Some(hard_state),
            Ok(Record::Snapshot(snapshot)) => self.snapshot = Some(snapshot),
            Ok(Record::Entry(entry)) => drop(self.entries.insert(entry.index, entry)),
            Ok(Record::Extent(extent)) => self.extent = Some(extent),
            Ok(Record::Checkpoint(checkpoint)) => self.checkpoint = Some(checkpoint),
            Ok(Record::LostEntries(lost_entries)) => self.lost_entries = Some(lost_entries),
            Err(RecordError::Version(found)) => {
                return Err(StoreError::Format { path: self.path.to_owned(), found });
            }
            Err(error) => return Err(self.damaged(Place::Record(key), error.to_string())),
        }
        Ok(())
    }

    /// Removes a record, which must be there.
    fn delete(&mut self, key: Key) -> Result<(), StoreError> {
        let was_there = match key {
            Key::Identity => self.identity.take().is_some(),
            Key::Settings => self.settings.take().is_some(),
            Key::MapSize => self.map_bytes.take().is_some(),
            Key::HardState => self.hard_state.take().is_some(),
            Key::Snapshot => self.snapshot.take().is_some(),
            Key::Entry(index) => self.entries.remove(&index).is_some(),
            Key::Extent => self.extent.take().is_some(),
            Key::Checkpoint => self.checkpoint.take().is_some(),
            Key::LostEntries => self.lost_entries.take().is_some(),
        };
        if was_there { Ok(()) } else { Err(self.missing(key)) }
    }

    /// Applies the changes of a transaction.
    fn replay(&mut self, transaction: &Transaction, pending: &mut Pending) -> Result<(), StoreError> {
        for change in read_changes(&transaction.bytes) {
            let (key, record) = change
                .map_err(|error| self.damaged(Place::JournalSector(transaction.sector), error.to_string()))?;
            self.set(key, record)?;
            pending.set(key, record);
        }
        Ok(())
    }

    /// Adds the bytes of the journal, and checks the whole.
    ///
    /// # Errors
    /// As [`Collector::finish_outdated`]; and [`StoreError::EntriesLost`] if a node has found out that the
    /// store lacks what it acknowledged.
    pub fn finish(self, journal: &[u8]) -> Result<Contents, StoreError> {
        match self.finish_any(journal)? {
            (contents, None) => Ok(contents),
            (_, Some(LostEntries { acknowledged, last })) => {
                Err(StoreError::EntriesLost { acknowledged, last })
            }
        }
    }

    /// The same even if the store lacks what its node acknowledged. No node may serve with these contents.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a record is missing, two records contradict each other, or the journal does
    /// not belong to these records; [`StoreError::Format`].
    pub fn finish_outdated(self, journal: &[u8]) -> Result<Contents, StoreError> {
        self.finish_any(journal).map(|(contents, _)| contents)
    }

    fn finish_any(mut self, journal: &[u8]) -> Result<(Contents, Option<LostEntries>), StoreError> {
        let me = self.identity.ok_or_else(|| self.missing(Key::Identity))?.me;
        let checkpoint = self.checkpoint.ok_or_else(|| self.missing(Key::Checkpoint))?;
        if self.inventory.checksum() != checkpoint.inventory {
            return Err(self.misfit());
        }
        let read = Journal::read(journal, me.incarnation, checkpoint);
        let (journal, transactions) = read.map_err(|error| self.damaged_journal(error))?;
        let mut pending = Pending::default();
        transactions.iter().try_for_each(|transaction| self.replay(transaction, &mut pending))?;
        // A journal belongs to one node and cannot change which node that is.
        if let Some(Identity { me: now, .. }) = self.identity
            && now != me
        {
            let reason = format!("it is that of node {now} ({})", now.incarnation);
            return Err(self.damaged(Place::Record(Key::Identity), reason));
        }
        let Checked { identity, settings, map_bytes, hard_state, extent } = self.check()?;
        let settings = settings.to_vec();
        let snapshot = self.snapshot.map(Arc::new);
        let entries = self.entries.into_values().collect();
        let contents = Contents {
            identity,
            settings,
            map_bytes,
            recovered: Recovered { hard_state, snapshot, entries },
            journalled: transactions.len(),
            extent,
            journal,
            pending,
            inventory: self.inventory,
        };
        Ok((contents, self.lost_entries))
    }

    /// Checks that all records are there and fit together.
    fn check(&self) -> Result<Checked<'_>, StoreError> {
        let identity = self.identity.ok_or_else(|| self.missing(Key::Identity))?;
        let settings = self.settings.as_deref().ok_or_else(|| self.missing(Key::Settings))?;
        let map_bytes = self.map_bytes.ok_or_else(|| self.missing(Key::MapSize))?;
        let hard_state = self.hard_state.ok_or_else(|| self.missing(Key::HardState))?;
        let extent = self.extent.ok_or_else(|| self.missing(Key::Extent))?;
        if !(MAP_BYTES_MIN..=MAP_BYTES_MAX).contains(&map_bytes) {
            return Err(self.damaged(Place::Record(Key::MapSize), format!("it says {map_bytes} bytes")));
        }
        if hard_state.current_term > TERM_MAX {
            let reason = format!("no cluster ever reaches its term {}", hard_state.current_term);
            return Err(self.damaged(Place::Record(Key::HardState), reason));
        }
        if extent.last_log_index > INDEX_MAX {
            let reason = format!("no log ever reaches its last index {}", extent.last_log_index);
            return Err(self.damaged(Place::Record(Key::Extent), reason));
        }
        self.check_snapshot(&extent)?;
        self.check_log(&extent, hard_state.current_term)?;
        Ok(Checked { identity, settings, map_bytes, hard_state, extent })
    }

    /// The data file is not what the last checkpoint made of it. The error names the fault if it can be
    /// found.
    fn misfit(&self) -> StoreError {
        let untold = || {
            let reason = "the data file has other records than it had then: some are older, or newer";
            self.damaged(Place::Record(Key::Checkpoint), reason)
        };
        self.check().err().unwrap_or_else(untold)
    }

    fn check_snapshot(&self, extent: &Extent) -> Result<(), StoreError> {
        let found = self.snapshot.as_ref().map(|s| (s.last_included_index, s.last_included_term));
        match (found, extent.snapshot) {
            (found, expected) if found == expected => Ok(()),
            (None, _) => Err(self.missing(Key::Snapshot)),
            (Some((index, term)), expected) => {
                let expected = expected.map_or("there should be none".to_owned(), |(index, term)| {
                    format!("it should be of entry {index} of term {term}")
                });
                let reason = format!("it is of entry {index} of term {term}, and {expected}");
                Err(self.damaged(Place::Record(Key::Snapshot), reason))
            }
        }
    }

    /// Checks that the log starts right after the snapshot, has no gaps and ends where it should, and that
    /// its terms never decrease (Raft §5.3) nor exceed the current one (§5.1).
    fn check_log(&self, extent: &Extent, current_term: Term) -> Result<(), StoreError> {
        let mut last_term = extent.snapshot.map_or(Term(0), |(_, term)| term);
        if last_term > current_term {
            let reason = format!("its term {last_term} is above the current term {current_term}");
            return Err(self.damaged(Place::Record(Key::Snapshot), reason));
        }
        // Not `LogIndex::next`: the numbers come from a disk, and one may be the largest possible.
        let mut last_index = extent.base().0;
        for Entry { index, term, .. } in self.entries.values() {
            if last_index.checked_add(1) != Some(index.0) {
                return Err(self.out_of_place(*index, LogIndex(last_index.saturating_add(1))));
            }
            if *term < last_term || *term > current_term {
                let reason = format!(
                    "its term {term} is not between {last_term}, that of the entry before it, and the \
                     current term {current_term}"
                );
                return Err(self.damaged(Place::Record(Key::Entry(*index)), reason));
            }
            last_index = index.0;
            last_term = *term;
        }
        if last_index < extent.last_log_index.0 {
            return Err(self.missing(Key::Entry(LogIndex(last_index + 1))));
        }
        if last_index > extent.last_log_index.0 {
            let reason = format!("the log should end at {}", extent.last_log_index);
            return Err(self.damaged(Place::Record(Key::Entry(LogIndex(last_index))), reason));
        }
        Ok(())
    }

    /// Entries come in the order of their keys: either one is missing, or this one should not be there any
    /// more.
    fn out_of_place(&self, found: LogIndex, expected: LogIndex) -> StoreError {
        if found > expected {
            return self.missing(Key::Entry(expected));
        }
        let reason = format!("the log should begin at {expected}");
        self.damaged(Place::Record(Key::Entry(found)), reason)
    }

    fn missing(&self, key: Key) -> StoreError {
        self.damaged(Place::Record(key), "it is missing")
    }

    fn damaged_journal(&self, error: JournalError) -> StoreError {
        match error {
            JournalError::Version { found } => StoreError::Format { path: self.path.to_owned(), found },
            JournalError::Length { .. }
            | JournalError::Checksum { .. }
            | JournalError::Lost { .. }
            | JournalError::Impossible { .. } => {
                let place = error.sector().map_or(Place::Journal, Place::JournalSector);
                self.damaged(place, error.to_string())
            }
        }
    }

    fn damaged(&self, place: Place, reason: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.to_owned(), place, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::Incarnation;

    use super::*;
    use crate::storage::journal::encode;
    use crate::storage::record::{Change, TransactionId, Value};
    use crate::storage::testing::{entry, member, settings, snapshot};

    /// Everything but the log.
    fn collector(path: &Path) -> Collector<'_> {
        let mut collector = Collector::new(path);
        add(&mut collector, &Value::Identity(&member()));
        add(&mut collector, &Value::Settings(&settings()));
        add(&mut collector, &Value::MapSize(MAP_BYTES_MIN));
        collector
    }

    fn checkpoint(inventory: u32) -> Checkpoint {
        Checkpoint { through: TransactionId(3), journal_bytes: JOURNAL_BYTES, inventory }
    }

    /// The contents that these records, all from one checkpoint, and a journal give.
    fn read(mut collector: Collector<'_>, journal: &[u8]) -> Result<Contents, String> {
        let checkpoint = checkpoint(collector.inventory.checksum());
        add(&mut collector, &Value::Checkpoint(checkpoint));
        collector.finish(journal).map_err(|error| error.to_string())
    }

    const JOURNAL_BYTES: u64 = 2 * 4096;

    fn blank() -> Vec<u8> {
        Journal::blank(member().me.incarnation, JOURNAL_BYTES)
    }

    fn add(collector: &mut Collector<'_>, value: &Value<'_>) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        collector.add(value.key().to_bytes().as_ref(), &bytes).unwrap();
    }

    /// A log in term 5, with a snapshot of entry 10 of term 3, while the extent says that the log ends at 12.
    fn finish(entries: &[(u64, u64)]) -> Result<Contents, String> {
        finish_at(LogIndex(12), entries)
    }

    fn finish_at(last_log_index: LogIndex, entries: &[(u64, u64)]) -> Result<Contents, String> {
        finish_with(last_log_index, entries, &blank())
    }

    fn finish_with(
        last_log_index: LogIndex,
        entries: &[(u64, u64)],
        journal: &[u8],
    ) -> Result<Contents, String> {
        let mut collector = collector(Path::new("store"));
        add(&mut collector, &Value::HardState(&HardState { current_term: Term(5), voted_for: None }));
        add(&mut collector, &Value::Snapshot(&snapshot(10, 3)));
        for (index, term) in entries {
            add(&mut collector, &Value::Entry(&entry(*index, *term)));
        }
        let extent = Extent { snapshot: Some((LogIndex(10), Term(3))), last_log_index };
        add(&mut collector, &Value::Extent(extent));
        read(collector, journal)
    }

    /// A journal with one transaction, which makes these changes.
    fn journal_of(changes: &[Change<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(changes, &mut bytes);
        let mut file = blank();
        let (mut journal, _) = Journal::read(&file, member().me.incarnation, checkpoint(0)).unwrap();
        let (_, sectors) = journal.append(&bytes);
        file[..sectors.len()].copy_from_slice(sectors);
        file
    }

    #[test]
    fn what_the_journal_removes_is_gone_and_must_have_been_there() {
        let after = |changes: &[Change<'_>]| {
            let contents = finish_with(LogIndex(12), &[(11, 3), (12, 5)], &journal_of(changes));
            contents.map(|contents| contents.recovered.entries)
        };
        let snapshot = Some((LogIndex(10), Term(3)));
        let ends_at_11 = Change::Put(Value::Extent(Extent { snapshot, last_log_index: LogIndex(11) }));
        let removed = |index| Change::Delete(Key::Entry(LogIndex(index)));
        assert_eq!(after(&[removed(12), ends_at_11]), Ok(vec![entry(11, 3)]));
        let error = after(&[removed(12), ends_at_11, removed(13)]).unwrap_err();
        assert!(error.contains("the record of log entry 13: it is missing"), "{error}");
        for key in [
            Key::Identity,
            Key::Settings,
            Key::MapSize,
            Key::HardState,
            Key::Snapshot,
            Key::Entry(LogIndex(11)),
            Key::Extent,
            Key::Checkpoint,
            Key::LostEntries,
        ] {
            let error = after(&[Change::Delete(key); 2]).unwrap_err();
            assert!(error.contains(&format!("{key}: it is missing")), "{error}");
        }
    }

    #[test]
    fn a_store_that_is_known_to_lack_entries_is_refused() {
        let lost = LostEntries { acknowledged: LogIndex(77), last: LogIndex(12) };
        let journal = journal_of(&[Change::Put(Value::LostEntries(lost))]);
        let error = finish_with(LogIndex(12), &[(11, 3), (12, 5)], &journal).unwrap_err();
        assert!(error.contains("counts on entry 77"), "{error}");
        assert!(finish(&[(11, 3), (12, 5)]).is_ok(), "it is sound otherwise");
    }

    #[test]
    fn a_log_that_follows_the_snapshot_is_recovered() {
        let contents = finish(&[(11, 3), (12, 5)]).unwrap();
        assert_eq!(contents.recovered.entries, [entry(11, 3), entry(12, 5)]);
        assert_eq!(contents.recovered.snapshot.as_deref(), Some(&snapshot(10, 3)));
        assert_eq!(contents.recovered.hard_state.current_term, Term(5));
    }

    #[test]
    fn a_log_that_is_not_as_it_should_be_is_refused_and_the_record_named() {
        let of = |index: u64| format!("the record of log entry {index}");
        for (entries, said) in [
            (&[(12, 3)][..], format!("{}: it is missing", of(11))),
            (&[(11, 3)], format!("{}: it is missing", of(12))),
            (&[], format!("{}: it is missing", of(11))),
            (&[(10, 3), (11, 3), (12, 3)], format!("{}: the log should begin at 11", of(10))),
            (&[(11, 3), (12, 3), (13, 3)], format!("{}: the log should end at 12", of(13))),
            (&[(11, 2), (12, 3)], format!("{}: its term 2 is not between 3", of(11))),
            (&[(11, 4), (12, 3)], format!("{}: its term 3 is not between 4", of(12))),
            (&[(11, 3), (12, 6)], format!("{}: its term 6 is not between 3", of(12))),
        ] {
            let error = finish(entries).unwrap_err();
            assert!(error.contains(&said), "{entries:?}: {said:?} is not in {error:?}");
        }
    }

    #[test]
    fn numbers_at_the_end_of_their_range_are_refused_without_a_panic() {
        assert!(finish_at(LogIndex(u64::MAX), &[(11, 3), (u64::MAX, 3)]).is_err());
        assert!(finish_at(LogIndex(0), &[]).is_err());
    }

    #[test]
    fn a_term_or_an_index_that_leaves_no_room_for_the_next_is_refused() {
        for (term, index, refused) in [
            (TERM_MAX.0, INDEX_MAX.0, None),
            (TERM_MAX.0 + 1, 10, Some("the hard state record: no cluster ever reaches")),
            (u64::MAX, 10, Some("the hard state record: no cluster ever reaches")),
            (5, INDEX_MAX.0 + 1, Some("the extent record: no log ever reaches")),
            (5, u64::MAX, Some("the extent record: no log ever reaches")),
        ] {
            let mut collector = collector(Path::new("store"));
            add(&mut collector, &Value::HardState(&HardState { current_term: Term(term), voted_for: None }));
            add(&mut collector, &Value::Snapshot(&snapshot(index, 3)));
            let last_log_index = LogIndex(index);
            let snapshot = Some((last_log_index, Term(3)));
            add(&mut collector, &Value::Extent(Extent { snapshot, last_log_index }));
            let outcome = read(collector, &blank()).err();
            match refused {
                None => assert_eq!(outcome, None),
                Some(said) => assert!(outcome.as_ref().is_some_and(|e| e.contains(said)), "{outcome:?}"),
            }
        }
    }

    #[test]
    fn a_snapshot_that_is_not_the_one_of_the_extent_is_refused() {
        let hard_state = HardState { current_term: Term(5), voted_for: None };
        let of = |index, term| Some((LogIndex(index), Term(term)));
        for (found, expected, said) in [
            (None, of(10, 3), "the snapshot record: it is missing"),
            (Some(snapshot(10, 3)), None, "there should be none"),
            (Some(snapshot(10, 3)), of(10, 4), "it should be of entry 10 of term 4"),
            (Some(snapshot(10, 6)), of(10, 6), "its term 6 is above the current term 5"),
        ] {
            let mut collector = collector(Path::new("store"));
            add(&mut collector, &Value::HardState(&hard_state));
            if let Some(found) = &found {
                add(&mut collector, &Value::Snapshot(found));
            }
            let last_log_index = expected.map_or(LogIndex(0), |(index, _)| index);
            add(&mut collector, &Value::Extent(Extent { snapshot: expected, last_log_index }));
            let error = read(collector, &blank()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_journal_that_makes_another_node_of_it_is_refused() {
        let me = raft_core::Peer { incarnation: Incarnation(1), ..member().me };
        let stranger = Identity { me, ..member() };
        for (identity, refused) in [(member(), false), (stranger, true)] {
            let mut collector = collector(Path::new("store"));
            add(&mut collector, &Value::HardState(&HardState::default()));
            add(&mut collector, &Value::Extent(Extent::default()));
            let journal = journal_of(&[Change::Put(Value::Identity(&identity))]);
            let outcome = read(collector, &journal).map(|contents| contents.identity);
            assert_eq!(outcome.is_err(), refused, "{outcome:?}");
            if let Err(error) = outcome {
                assert!(error.contains("the identity record: it is that of node 1"), "{error}");
            }
        }
    }

    #[test]
    fn a_map_size_that_no_store_has_is_refused() {
        let mut collector = collector(Path::new("store"));
        add(&mut collector, &Value::MapSize(1));
        add(&mut collector, &Value::HardState(&HardState::default()));
        add(&mut collector, &Value::Extent(Extent::default()));
        let error = read(collector, &blank()).unwrap_err();
        assert!(error.contains("the map size record: it says 1 bytes"), "{error}");
    }

    /// Each is a valid record and none is missing; only together are they not what the checkpoint made.
    #[test]
    fn a_record_of_before_the_last_checkpoint_is_refused() {
        let voted_for = Some(member().me);
        let hard_states = [None, voted_for].map(|voted_for| HardState { current_term: Term(5), voted_for });
        let of = |hard_state: &HardState| {
            let mut collector = collector(Path::new("store"));
            add(&mut collector, &Value::HardState(hard_state));
            add(&mut collector, &Value::Extent(Extent::default()));
            collector
        };
        let [before, mut after] = [&hard_states[0], &hard_states[1]].map(of);
        let made = checkpoint(after.inventory.checksum());
        add(&mut after, &Value::Checkpoint(made));
        assert_eq!(after.finish(&blank()).unwrap().recovered.hard_state.voted_for, voted_for);
        let mut older = before;
        add(&mut older, &Value::Checkpoint(made));
        let error = older.finish(&blank()).unwrap_err().to_string();
        assert!(error.contains("the checkpoint record: the data file has other records"), "{error}");
    }
}
