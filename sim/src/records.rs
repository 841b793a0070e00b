//! The data file on a disk: records, as the real store has them, in an ordered map in place of LMDB.
//!
//! What a checkpoint puts and deletes was decided, and what is read is judged, by the storage layer that
//! ships. This only keeps bytes.

use std::collections::BTreeMap;
use std::path::Path;

use raft_core::{HardState, Snapshot};
use ticketd::identity::Identity;
use ticketd::storage::{Collector, Contents, Key, KeyBytes, MAP_BYTES_MIN, Pending, StoreError, new_records};

use crate::rng::Rng;
use crate::sectors::JOURNAL_BYTES;

/// Room for an entry, so that a record is kept without growing.
const RECORD_BYTES_USUAL: usize = 64;

/// Records in the order of their keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    of: BTreeMap<KeyBytes, Vec<u8>>,
    /// What there was before the last checkpoint, of all that it has changed.
    replaced: Vec<(KeyBytes, Option<Vec<u8>>)>,
    /// What former records were kept in: the next ones are.
    spare: Vec<Vec<u8>>,
}

impl Records {
    /// Those of a new store.
    pub(crate) fn new(identity: &Identity, hard_state: &HardState, snapshot: Option<&Snapshot>) -> Records {
        let mut records = Records::default();
        for value in new_records(identity, &[], MAP_BYTES_MIN, JOURNAL_BYTES, hard_state, snapshot) {
            value.encode(records.of.entry(value.key().to_bytes()).or_default());
        }
        records
    }

    /// A checkpoint: what is pending is made true here. To delete what is not there is no mistake.
    pub(crate) fn make(&mut self, pending: &Pending) {
        self.spare.extend(self.replaced.drain(..).filter_map(|(_, record)| record));
        for (key, record) in pending.iter() {
            let before = match record {
                Some(record) => {
                    let spare = self.spare.pop();
                    let mut kept = spare.unwrap_or_else(|| Vec::with_capacity(RECORD_BYTES_USUAL));
                    kept.clear();
                    kept.extend_from_slice(record);
                    self.of.insert(*key, kept)
                }
                None => self.of.remove(key),
            };
            self.replaced.push((*key, before));
        }
    }

    /// Whether it is known what there was before the last checkpoint.
    pub(crate) fn can_be_set_back(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// What there was before the last checkpoint is there instead of what is there now; the next time, the
    /// reverse.
    pub(crate) fn set_back_or_forth(&mut self) {
        for (key, replaced) in &mut self.replaced {
            *replaced = match replaced.take() {
                Some(record) => self.of.insert(*key, record),
                None => self.of.remove(key),
            };
        }
    }

    /// What there was before the last checkpoint was not sound, or is not known.
    pub(crate) fn forget_replaced(&mut self) {
        self.replaced.clear();
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

    /// These records with some of what a checkpoint makes of them: `whole` is with all. Each change is made
    /// or is not, by itself.
    pub(crate) fn torn(&self, whole: &Records, pending: &Pending, rng: &mut Rng) -> Records {
        let mut torn = Records { of: self.of.clone(), ..Records::default() };
        let chance = rng.pick(&[10, 50, 90]).unwrap_or(50);
        for (key, _) in pending.iter() {
            if !rng.percent(chance) {
                continue;
            }
            match whole.of.get(key) {
                Some(record) => torn.of.insert(*key, record.clone()),
                None => torn.of.remove(key),
            };
        }
        torn
    }

    /// Whether these and `other` have the same record under this key, or both have none.
    pub(crate) fn agree_on(&self, other: &Records, key: Key) -> bool {
        let key = key.to_bytes();
        self.of.get(&key) == other.of.get(&key)
    }

    /// Reads and checks everything, as a store is when it is opened with this journal.
    pub(crate) fn read(&self, journal: &[u8]) -> Result<Contents, StoreError> {
        let mut collector = Collector::new(Path::new("disk"));
        for (key, value) in &self.of {
            collector.add(key.as_ref(), value)?;
        }
        collector.finish(journal)
    }
}
