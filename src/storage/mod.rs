//! Floor 3: one node's store, a directory with an LMDB environment and a journal before it.
//!
//! It keeps what a node may not forget: who it is, what it was started with, its hard state, its snapshot and
//! its log. It uses the file system, LMDB, one thread, and a child process for the check at start-up; it
//! knows the values of raft-core and nothing of the protocol. It must never know of sockets, of the server,
//! or of why something is written.
//!
//! ```text
//! verify_in_child(path)                       a store that kills its reader kills a child
//! let store = Store::open(path)               takes the lock, checks everything
//! store.identity(), .settings(), .recovered()
//! let thread = StorageThread::spawn(store, wake)
//! thread.submit(writes)   ...   wake is called   ...   thread.poll()
//! thread.shutdown()
//! ```
//!
//! Inside, a module uses only those below its own:
//!
//! ```text
//! thread, verify        what the program calls
//! store                 carries out on the files what `contents` decides
//! reading               contents from both places
//! contents | directory  pure: what is there, and what becomes of a write | whether there is a store
//! journal | data_file   the two places on the disk
//! lock, watch           who has the store, and whether what is open is still at its path
//! files, error          the names, and what can go wrong
//! record                pure: what both places have, byte by byte
//! ```
//!
//! What is on the disk, byte by byte, is in `docs/storage-format.rst`. What decides about it touches nothing:
//! a [`Recorder`] says what becomes of a write, a [`Collector`] makes contents of what is on the disk, or an
//! error. The store carries that out on its files; the simulator, on a disk of its own.
//!
//! A *transaction* is what becomes durable at once, and has a number: it goes to the journal, or to the data
//! file, as one *batch* with all that waits in the journal. What LMDB calls a transaction is called `txn`
//! here.

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

pub use contents::{Collector, Contents, Recorder, Step, new_records};
pub use directory::{destroy, expect_destroyable, is_there};
pub use error::{Interrupted, Loss, Place, Prospect, StoreError};
pub use journal::{Journal, SECTOR_BYTES};
pub use lock::{Listening, Running, running};
pub use record::{Checkpoint, Extent, Key, KeyBytes, Pending, TransactionId, Value};
pub use store::Store;
pub use thread::{Completion, StorageCounts, StorageThread};
pub use verify::{EXIT_STATUS_HOPELESS, Findings, end_with_parent, verify, verify_in_child};

/// The name and the value of something that a node was started with. Opaque to the store.
pub type Setting = (String, String);

/// The most settings that are kept: several times what the command line has.
pub const SETTINGS_MAX: usize = 64;
/// The longest name of a setting, in bytes: that of a text of the codec.
pub const SETTING_NAME_BYTES_MAX: usize = crate::codec::ADDRESS_BYTES_MAX;
/// The longest value of a setting, in bytes: that of a blob of the codec, and of a path on Linux.
pub const SETTING_VALUE_BYTES_MAX: usize = crate::codec::STATE_BYTES_MAX;

/// The smallest size of a store, in bytes. The log is compacted every few thousand entries, but a leader that
/// is cut off may add 16,384 more; with some 100 bytes for each, pages half full and the copies that
/// copy-on-write needs, that is below 8 MiB. This is twice as much.
pub const MAP_BYTES_MIN: u64 = 16 << 20;
/// The largest size of a store, in bytes: a power of two that the address space of every 64-bit system has.
pub const MAP_BYTES_MAX: u64 = 1 << 40;
/// What a store must have beyond the pages that it uses, where it is given another size, in bytes: what waits
/// in the journal goes there, on pages that are half full.
const HEADROOM_BYTES: u64 = 2 * journal::JOURNAL_BYTES;
