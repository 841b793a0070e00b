//! What a new store begins with.
//!
//! Pure: values in, records out. It must never know where the records go.

use raft_core::{HardState, Snapshot};

use crate::identity::Identity;
use crate::storage::Setting;
use crate::storage::record::{Checkpoint, Extent, Inventory, TransactionId, Value};

/// The contents of a store that is to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewStore<'a> {
    /// The identity of the node.
    pub identity: &'a Identity,
    /// The settings that the node is started with.
    pub settings: &'a [Setting],
    /// The largest size that the store may reach, in bytes.
    pub map_bytes: u64,
    /// The node's term and vote: the default for a node that joins a cluster.
    pub hard_state: HardState,
    /// What the log begins after: `None` for a node that joins a cluster.
    pub snapshot: Option<&'a Snapshot>,
}

impl NewStore<'_> {
    /// The records, for a store whose journal is this long.
    ///
    /// # Panics
    /// If the term of the snapshot is above that of the hard state.
    #[must_use]
    pub fn records(&self, journal_bytes: u64) -> Vec<Value<'_>> {
        let NewStore { identity, settings, map_bytes, ref hard_state, snapshot } = *self;
        let of_snapshot = snapshot.map(|s| (s.last_included_index, s.last_included_term));
        let (last_log_index, term) = of_snapshot.unwrap_or_default();
        let current_term = hard_state.current_term;
        assert!(term <= current_term, "a snapshot of term {term} in term {current_term}");
        let mut records: Vec<_> = snapshot.map(Value::Snapshot).into_iter().collect();
        records.extend([
            Value::Identity(identity),
            Value::Settings(settings),
            Value::MapSize(map_bytes),
            Value::HardState(hard_state),
            Value::Extent(Extent { snapshot: of_snapshot, last_log_index }),
        ]);
        let (mut inventory, mut record) = (Inventory::default(), Vec::new());
        for value in &records {
            value.encode(&mut record);
            inventory.set(value.key(), Some(&record));
        }
        let (through, inventory) = (TransactionId::default(), inventory.checksum());
        records.push(Value::Checkpoint(Checkpoint { through, journal_bytes, inventory }));
        records
    }
}
