//! The data file: one LMDB environment, checked before LMDB maps it.
//!
//! ```text
//! layout        pure: what is where in a page
//! pages         the file as a file, page by page
//! traces        what is in its leaves, whatever its state
//! settle        that the disk has what is read
//! environment   the file as LMDB has it: opened, mapped, read
//! batch         what is made in it at once
//! ```
//!
//! It uses LMDB and the file system. It must never know what is in a record, or why one is put or deleted.

mod batch;
mod environment;
mod layout;
mod pages;
mod settle;
mod traces;

pub(super) use self::batch::Batch;
#[cfg(test)]
pub(super) use self::batch::Fault;
pub(super) use self::environment::{Access, open_env, read_records, set_map_bytes};
pub(super) use self::pages::{PageReport, check};
pub(super) use self::settle::settle;
pub(super) use self::traces::has_record;
