//! The bytes on a disk: records, as the real store has them, in an ordered map in place of LMDB.
//!
//! What is put and deleted was planned, and what is read is judged, by the storage layer that ships. This only keeps
//! bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use raft_core::{HardState, Snapshot};
use ticketd::identity::Identity;
use ticketd::storage::{
    Change, Collector, Contents, Key, KeyBytes, MAP_BYTES_MIN, StoreError, Value, new_records,
};

use crate::rng::Rng;

/// Room for an entry, so that a record is put together without growing.
const RECORD_BYTES_USUAL: usize = 64;

/// Records in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    of: BTreeMap<KeyBytes, Vec<u8>>,
    /// What deleted records were kept in: the next ones are.
    spare: Vec<Vec<u8>>,
}

impl Records {
    /// Those of a new store.
    pub(crate) fn new(identity: &Identity, hard_state: &HardState, snapshot: Option<&Snapshot>) -> Records {
        let mut records = Records::default();
        for value in new_records(identity, &[], MAP_BYTES_MIN, hard_state, snapshot) {
            records.put(&value);
        }
        records
    }

    pub(crate) fn put(&mut self, value: &Value<'_>) {
        let spare = &mut self.spare;
        let unused = || spare.pop().unwrap_or_else(|| Vec::with_capacity(RECORD_BYTES_USUAL));
        value.encode(self.of.entry(value.key().to_bytes()).or_insert_with(unused));
    }

    /// Makes the changes in their order, up to one that can not be made: its record is missing.
    pub(crate) fn make(&mut self, changes: &[Change<'_>]) -> Result<(), Key> {
        changes.iter().try_for_each(|change| match change {
            Change::Put(value) => {
                self.put(value);
                Ok(())
            }
            Change::Delete(key) => {
                self.spare.push(self.of.remove(&key.to_bytes()).ok_or(*key)?);
                Ok(())
            }
        })
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.of.keys().filter_map(|key| Key::from_bytes(key.as_ref())).collect()
    }

    /// A record goes missing.
    pub(crate) fn lose(&mut self, key: Key) {
        self.of.remove(&key.to_bytes());
    }

    /// A bit of a record flips. Says which.
    pub(crate) fn flip(&mut self, key: Key, rng: &mut Rng) -> Option<usize> {
        let record = self.of.get_mut(&key.to_bytes())?;
        let at = usize::try_from(rng.below(u64::try_from(record.len() * 8).ok()?)).ok()?;
        record[at / 8] ^= 1 << (at % 8);
        Some(at)
    }

    /// These records with some of what the changes make of them: `whole` is with all. What a record is in the end is
    /// there or is not, each by itself.
    pub(crate) fn torn(&self, whole: &Records, changes: &[Change<'_>], rng: &mut Rng) -> Records {
        let mut torn = self.clone();
        let chance = rng.pick(&[10, 50, 90]).unwrap_or(50);
        for key in changed(changes) {
            if !rng.percent(chance) {
                continue;
            }
            let key = key.to_bytes();
            match whole.of.get(&key) {
                Some(record) => torn.of.insert(key, record.clone()),
                None => torn.of.remove(&key),
            };
        }
        torn
    }

    /// Whether the changes put another entry in the place of one.
    pub(crate) fn entries_are_replaced(&self, whole: &Records, changes: &[Change<'_>]) -> bool {
        changed(changes).into_iter().filter(|key| matches!(key, Key::Entry(_))).any(|key| {
            let key = key.to_bytes();
            let (old, new) = (self.of.get(&key), whole.of.get(&key));
            old.is_some() && new.is_some() && old != new
        })
    }

    /// Reads and checks everything, as a store is when it is opened.
    pub(crate) fn read(&self) -> Result<Contents, StoreError> {
        let mut collector = Collector::new(Path::new("disk"));
        for (key, value) in &self.of {
            collector.add(key.as_ref(), value)?;
        }
        collector.finish()
    }
}

/// Which records the changes are to.
pub(crate) fn changed(changes: &[Change<'_>]) -> BTreeSet<Key> {
    let key = |change: &Change<'_>| match change {
        Change::Put(value) => value.key(),
        Change::Delete(key) => *key,
    };
    changes.iter().map(key).collect()
}
