//! What a store holds, how it is put together, and what a write makes of it.
//!
//! ```text
//! collector   what is on the disk   -> contents, or an error
//! plan        writes of the core    -> changes of records
//! recorder    writes of the core    -> a step for the disk
//! ```
//!
//! Pure. It uses records and the journal's bytes. It must never know where either is kept: in files, or on
//! the disk of a simulation.

mod collector;
mod plan;
mod recorder;

use std::ops::Range;

use raft_core::Recovered;

pub use self::collector::Collector;
use self::plan::Tail;
pub use self::plan::new_records;
pub use self::recorder::{Recorder, Step};
use super::Setting;
use super::journal::Journal;
use super::record::{Extent, Inventory, Pending, TransactionId};
use crate::identity::Identity;

/// Everything that a store holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Who the node is.
    pub identity: Identity,
    /// What the node was last started with.
    pub settings: Vec<Setting>,
    /// How large the store may become, in bytes.
    pub map_bytes: u64,
    /// The hard state, the snapshot and the log.
    pub recovered: Recovered,
    /// How many transactions the journal has that the data file lacks.
    pub journalled: usize,
    pub(super) extent: Extent,
    journal: Journal,
    pending: Pending,
    inventory: Inventory,
}

impl Contents {
    /// What the next transaction builds on.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.tail(), self.journal.clone(), self.pending.clone(), self.inventory.clone())
    }

    /// The last transaction.
    pub(super) fn last_transaction(&self) -> TransactionId {
        self.journal.last()
    }

    /// Where in the journal the last transaction is, in bytes from the front; empty where none is there.
    pub(super) fn last_in_journal(&self) -> Range<usize> {
        self.journal.last_range()
    }

    pub(super) fn tail(&self) -> Tail {
        Tail::new(self.recovered.hard_state, self.extent, &self.recovered.entries)
    }
}
