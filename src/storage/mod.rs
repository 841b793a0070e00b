//! Floor 3: one node's store, a directory that holds an LMDB environment and the journal in front of it.
//!
//! The store keeps everything that a node must not forget: its identity, the settings it was started with,
//! its hard state, its snapshot and its log. This module uses the file system, LMDB, one thread, and a child
//! process for the check at start-up; it knows the values of raft-core and nothing of the protocol. It must
//! never know of sockets, of the server, or of why something is written.
//!
//! ```text
//! verify_in_child(path)                       a store that kills its reader kills only a child
//! let store = Store::open(path)               takes the lock, checks everything
//! store.identity(), .settings(), .recovered()
//! let thread = StorageThread::spawn(store, wake)
//! thread.submit(writes)   ...   wake is called   ...   thread.poll()
//! thread.shutdown()
//! ```
//!
//! Within the store, a module uses only those below its own:
//!
//! ```text
//! thread, verify        what the program calls
//! store                 carries out on the files what `contents` decides
//! reading               reads the contents from both places
//! contents | directory  pure: what is there, and what a write does | whether there is a store
//! journal | data_file   the two places on the disk
//! lock, watch           which process has the store, and whether the open files are still at their paths
//! files, error          the file names, and what can go wrong
//! record                pure: the bytes of which both places consist
//! ```
//!
//! `docs/storage-format.rst` describes the bytes on the disk. The code that decides what they mean does no
//! I/O: a [`Recorder`] decides what a write does, and a [`Collector`] turns what is on the disk into contents
//! or an error. The store carries the decisions out on its files; the simulator carries them out on a
//! simulated disk.
//!
//! A *transaction* is a set of changes that become durable together. It has a number. It goes either to the
//! journal, or to the data file as one *batch* together with everything that waits in the journal. LMDB's own
//! transactions are called `txn` here.

mod contents;
mod data_file;
mod directory;
mod error;
mod files;
mod journal;
mod lock;
mod reading;
mod record;
mod store;
#[cfg(test)]
mod testing;
mod thread;
mod verify;
mod watch;

pub use contents::{Collector, Contents, NewStore, Recorder, Step};
pub use directory::{
    Destroyed, Sighting, destroy, expect_destroyable, expect_replaceable, expect_store, is_there,
};
pub use error::{Interrupted, Loss, Place, Restart, StoreError};
pub use journal::{Journal, SECTOR_BYTES};
pub use lock::{Listening, Running, is_open_in, running};
pub use record::{Checkpoint, Extent, Key, KeyBytes, LostEntries, Pending, TransactionId, Value};
pub use store::Store;
#[cfg(test)]
pub(crate) use testing::TestDir;
pub use thread::{Completion, StorageCounts, StorageThread};
pub use verify::{EXIT_STATUS_PERMANENT, Findings, end_with_parent, verify, verify_in_child};

/// The name and the value of a setting that a node was started with. Opaque to the store.
pub type Setting = (String, String);

/// The largest number of settings that are kept: several times what the command line has.
pub const SETTINGS_MAX: usize = 64;
/// The longest name of a setting, in bytes: the limit of the codec for a text.
pub const SETTING_NAME_BYTES_MAX: usize = crate::codec::ADDRESS_BYTES_MAX;
/// The longest value of a setting, in bytes: the limit of the codec for a blob, and that of Linux for a path.
pub const SETTING_VALUE_BYTES_MAX: usize = crate::codec::STATE_BYTES_MAX;

/// The smallest size of a store, in bytes. The log is compacted every few thousand entries, but a leader that
/// is cut off may append 16,384 more. At about 100 bytes each, with pages half full and the copies that
/// copy-on-write needs, that stays below 8 MiB. This is twice as much.
pub const MAP_BYTES_MIN: u64 = 16 << 20;
/// The largest size of a store, in bytes: a power of two that fits into the address space of every 64-bit
/// system.
pub const MAP_BYTES_MAX: u64 = 1 << 40;
/// The room that a store must have beyond the pages in use when its size is changed, in bytes: what waits in
/// the journal goes there, on pages that are half full.
const HEADROOM_BYTES: u64 = 2 * journal::JOURNAL_BYTES;
