//! The data file: one LMDB environment, checked before LMDB maps it and before LMDB changes it.
//!
//! ```text
//! layout        pure: the layout of a page
//! pages         checks the file page by page
//! traces        searches the leaves, whatever the state of the file
//! settle        makes sure that the disk has what is read
//! environment   the file as LMDB sees it: opened, mapped, read
//! batch         the changes made in one go
//! ```
//!
//! This module uses LMDB and the file system. It must never know what is in a record, or why one is put or
//! deleted.

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
pub(super) use self::pages::{PageReport, check, check_open};
pub(super) use self::settle::settle;
pub(super) use self::traces::has_record;
