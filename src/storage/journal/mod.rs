//! The journal: a transaction becomes durable there with one write and one sync.
//!
//! To the journal, a transaction is a sequence of bytes. It goes into whole sectors of a file whose length
//! never changes. Each sector says which transaction it is part of and which transaction was durable when it
//! was written, and has a checksum. A disk writes a sector as a whole or not at all. So after a power cut
//! every sector is sound, and a transaction that was being written is either there with all its sectors or
//! known to be unfinished; a sector that is not sound has rotted, wherever it is. (A journal that ends where
//! the checksums cease to match cannot tell the two cases apart.)
//!
//! The journal is written from the front. A transaction that no longer fits goes to the data file, together
//! with all that came before it: that is a checkpoint, after which the journal is written from the front
//! again.
//!
//! ```text
//! changes   changes of records           <-> the bytes of a transaction
//! sectors   the bytes of a transaction   <-> sectors
//! file      sectors                      <-> the file
//! ```
//!
//! This module uses records. It must never know which are put or deleted, or why.

mod changes;
mod file;
mod sectors;

pub(super) use self::changes::{encode, read_changes};
pub(super) use self::file::{JournalFile, JournalLock, holds_something, read};
pub(super) use self::sectors::{JOURNAL_BYTES, JOURNAL_BYTES_MAX, JournalError, Transaction};
pub use self::sectors::{Journal, SECTOR_BYTES};
