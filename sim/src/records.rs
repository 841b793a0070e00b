//! The bytes on a disk: records, as the real store has them, in an ordered map in place of LMDB.
//!
//! What is put and deleted was planned, and what is read is judged, by the storage layer that ships. This only keeps
//! bytes.

use std::collections::BTreeMap;
use std::path::Path;

use raft_core::{HardState, Snapshot};
use ticketd::identity::Identity;
use ticketd::storage::{
    Change, Collector, Contents, Key, KeyBytes, MAP_BYTES_MIN, StoreError, Value, new_records,
};

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

    /// Reads and checks everything, as a store is when it is opened.
    pub(crate) fn read(&self) -> Result<Contents, StoreError> {
        let mut collector = Collector::new(Path::new("store"));
        for (key, value) in &self.of {
            collector.add(key.as_ref(), value)?;
        }
        collector.finish()
    }
}
