//! The contents of a store, how they are put together, and how a write changes them.
//!
//! ```text
//! new_store   what a node begins with -> the records of a new store
//! collector   what is on the disk     -> contents, or an error
//! plan        writes of the core      -> changes of records
//! recorder    writes of the core      -> a step for the disk
//! ```
//!
//! Pure. It uses records and the journal's bytes. It must never know where either is stored: in files, or on
//! the disk of a simulation.

mod collector;
mod new_store;
mod plan;
mod recorder;

use std::ops::Range;

use raft_core::Recovered;

pub use self::collector::Collector;
pub use self::new_store::NewStore;
use self::plan::LogShape;
pub use self::recorder::{Recorder, Step};
use super::Setting;
use super::journal::Journal;
use super::record::{Extent, Inventory, Pending, TransactionId};
use crate::identity::Identity;

/// Everything that a store holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    /// The identity of the node.
    pub identity: Identity,
    /// The settings that the node was last started with.
    pub settings: Vec<Setting>,
    /// The largest size that the store may reach, in bytes.
    pub map_bytes: u64,
    /// The hard state, the snapshot and the log.
    pub recovered: Recovered,
    /// How many transactions are in the journal and not in the data file.
    pub journalled: usize,
    pub(super) extent: Extent,
    journal: Journal,
    pending: Pending,
    inventory: Inventory,
}

impl Contents {
    /// The state that the next transaction builds on.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.shape(), self.journal.clone(), self.pending.clone(), self.inventory.clone())
    }

    /// The last transaction.
    pub(super) fn last_transaction(&self) -> TransactionId {
        self.journal.last()
    }

    /// Where the last transaction is in the journal, in bytes from the front; empty if it is not there.
    pub(super) fn last_in_journal(&self) -> Range<usize> {
        self.journal.last_range()
    }

    pub(super) fn shape(&self) -> LogShape {
        LogShape::new(self.recovered.hard_state, self.extent, &self.recovered.entries)
    }
}
