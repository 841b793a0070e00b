//! The journal: where a transaction becomes durable with one write and one sync.
//!
//! A transaction is bytes to it, and goes into whole sectors of a file whose length never changes. Each
//! sector says which transaction it is a part of, and which one was durable when it was written; each has a
//! checksum. A disk writes a sector as a whole or not at all. So after a power cut every sector is sound, and
//! a transaction that was being written is there with all its sectors, or is known to be unfinished; and a
//! sector that is not sound has rotted, wherever it is. (A journal whose end is where the checksums cease to
//! match cannot tell the two apart.)
//!
//! It is written from the front. Where a transaction does not fit any more, it goes to the data file, with
//! all that went before it: that is a checkpoint, and the journal is written from the front again.
//!
//! ```text
//! changes   changes of records           <-> the bytes of a transaction
//! sectors   the bytes of a transaction   <-> sectors
//! file      sectors                      <-> the file
//! ```
//!
//! It uses records, and must never know which are put and which deleted, or why.

mod changes;
mod file;
mod sectors;

pub(super) use self::changes::{encode, read_change};
pub(super) use self::file::{JournalFile, holds_something, read};
pub(super) use self::sectors::{JOURNAL_BYTES, JOURNAL_BYTES_MAX, JournalError, Transaction};
pub use self::sectors::{Journal, SECTOR_BYTES};
