//! The data file: one LMDB environment, checked before LMDB maps it.
//!
//! ```text
//! pages         the file as a file, page by page
//! environment   the file as LMDB has it: opened, mapped, read
//! batch         what is made in it at once
//! ```
//!
//! It uses LMDB and the file system. It must never know what is in a record, or why one is put or deleted.

mod batch;
mod environment;
mod pages;

pub(super) use self::batch::Batch;
#[cfg(test)]
pub(super) use self::batch::Fault;
pub(super) use self::environment::{Access, Reading, open_env, read, set_map_bytes, settle};
