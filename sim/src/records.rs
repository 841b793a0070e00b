//! The data file on a disk: the records of the real store, in an ordered map in place of LMDB.
//!
//! The storage layer that ships decides what a checkpoint puts and deletes, and judges what is read. This
//! module only keeps the bytes.

use std::collections::BTreeMap;
use std::path::Path;

use raft_core::{HardState, Snapshot};
use ticketd::identity::Identity;
use ticketd::storage::{Collector, Contents, Key, KeyBytes, MAP_BYTES_MIN, NewStore, Pending, StoreError};

use crate::rng::Rng;
use crate::sectors::JOURNAL_BYTES;

/// Room for an entry, so that the buffer of a record need not grow.
const RECORD_BYTES_USUAL: usize = 64;

/// Records in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    by_key: BTreeMap<KeyBytes, Vec<u8>>,
    /// For everything that the last checkpoint changed, what was there before.
    replaced: Vec<(KeyBytes, Option<Vec<u8>>)>,
    /// Buffers of former records, reused for new ones.
    spare: Vec<Vec<u8>>,
}

impl Records {
    /// The records of a new store.
    pub(crate) fn new(identity: &Identity, hard_state: &HardState, snapshot: Option<&Snapshot>) -> Records {
        let mut records = Records::default();
        let map_bytes = MAP_BYTES_MIN;
        let new = NewStore { identity, settings: &[], map_bytes, hard_state: *hard_state, snapshot };
        for value in new.records(JOURNAL_BYTES) {
            value.encode(records.by_key.entry(value.key().to_bytes()).or_default());
        }
        records
    }

    /// Applies a checkpoint: makes the pending changes. Deleting a record that is not there is allowed.
    pub(crate) fn make(&mut self, pending: &Pending) {
        self.spare.extend(self.replaced.drain(..).filter_map(|(_, record)| record));
        for (key, record) in pending.iter() {
            let before = match record {
                Some(record) => {
                    let spare = self.spare.pop();
                    let mut kept = spare.unwrap_or_else(|| Vec::with_capacity(RECORD_BYTES_USUAL));
                    kept.clear();
                    kept.extend_from_slice(record);
                    self.by_key.insert(*key, kept)
                }
                None => self.by_key.remove(key),
            };
            self.replaced.push((*key, before));
        }
    }

    /// Whether the state before the last checkpoint is known.
    pub(crate) fn can_be_set_back(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// Swaps the current state with the one before the last checkpoint; calling it again swaps them back.
    pub(crate) fn set_back_or_forth(&mut self) {
        for (key, replaced) in &mut self.replaced {
            *replaced = match replaced.take() {
                Some(record) => self.by_key.insert(*key, record),
                None => self.by_key.remove(key),
            };
        }
    }

    /// The state before the last checkpoint was not sound, or is not known.
    pub(crate) fn forget_replaced(&mut self) {
        self.replaced.clear();
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.by_key.keys().filter_map(|key| Key::from_bytes(key.as_ref())).collect()
    }

    /// A record goes missing.
    pub(crate) fn lose(&mut self, key: Key) {
        self.by_key.remove(&key.to_bytes());
    }

    /// Flips a bit of a record. Returns which.
    pub(crate) fn flip(&mut self, key: Key, rng: &mut Rng) -> Option<usize> {
        let record = self.by_key.get_mut(&key.to_bytes())?;
        let at = usize::try_from(rng.below(u64::try_from(record.len() * 8).ok()?)).ok()?;
        record[at / 8] ^= 1 << (at % 8);
        Some(at)
    }

    /// These records with a random part of a checkpoint's changes, each made or not independently; `whole`
    /// has all of them.
    pub(crate) fn torn(&self, whole: &Records, pending: &Pending, rng: &mut Rng) -> Records {
        let mut torn = Records { by_key: self.by_key.clone(), ..Records::default() };
        let chance = rng.pick(&[10, 50, 90]).unwrap_or(50);
        for (key, _) in pending.iter() {
            if !rng.percent(chance) {
                continue;
            }
            match whole.by_key.get(key) {
                Some(record) => torn.by_key.insert(*key, record.clone()),
                None => torn.by_key.remove(key),
            };
        }
        torn
    }

    /// Whether both have the same record under this key, or neither has one.
    pub(crate) fn agree_on(&self, other: &Records, key: Key) -> bool {
        let key = key.to_bytes();
        self.by_key.get(&key) == other.by_key.get(&key)
    }

    /// Reads and checks everything, as when a store with this journal is opened.
    pub(crate) fn read(&self, journal: &[u8]) -> Result<Contents, StoreError> {
        let mut collector = Collector::new(Path::new("disk"));
        for (key, value) in &self.by_key {
            collector.add(key.as_ref(), value)?;
        }
        collector.finish(journal)
    }
}
