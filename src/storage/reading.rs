//! Reads a whole store from its two places on the disk and checks it.
//!
//! It changes nothing that it reads. It must never know why the store is read.

use std::path::Path;

use lmdb::{Database, Environment};

use super::contents::{Collector, Contents};
use super::data_file::{self, Access, PageReport, open_env, read_records};
use super::error::StoreError;
use super::files::DATA_FILE;
use super::{MAP_BYTES_MIN, journal};

/// The result of reading a whole store.
pub(super) struct Reading {
    pub(super) env: Environment,
    pub(super) db: Database,
    pub(super) report: PageReport,
    /// The bytes of the journal.
    pub(super) journal: Vec<u8>,
    pub(super) contents: Contents,
}

/// Which stores can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readable {
    /// Those that a node can serve with.
    Complete,
    /// Also those that lack what their node acknowledged.
    Outdated,
}

/// Reads and checks everything. The caller holds the lock.
pub(super) fn read(path: &Path, access: Access, readable: Readable) -> Result<Reading, StoreError> {
    let data_path = path.join(DATA_FILE);
    // LMDB trusts the file, so the page check comes first.
    let report = data_file::check(&data_path)?;
    let (env, db) = open_env(&data_path, report.extent_bytes().max(MAP_BYTES_MIN), access)?;
    let mut collector = Collector::new(path);
    read_records(&env, db, &data_path, |key, record| collector.add(key, record))?;
    let journal = journal::read(path)?;
    let contents = match readable {
        Readable::Complete => collector.finish(&journal)?,
        Readable::Outdated => collector.finish_outdated(&journal)?,
    };
    Ok(Reading { env, db, report, journal, contents })
}
