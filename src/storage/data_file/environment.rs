//! The LMDB environment: how it is opened, mapped and read.
//!
//! It must never know what is done with what was read.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lmdb::{Cursor, Database, Environment, EnvironmentFlags, Transaction};
use rustix::io::Errno;

use super::pages::{self, PageReport};
use crate::storage::contents::{Collector, Contents};
use crate::storage::error::StoreError;
use crate::storage::files::DATA_FILE;
use crate::storage::{MAP_BYTES_MIN, journal};

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What reading a whole store gives.
pub(crate) struct Reading {
    pub(crate) env: Environment,
    pub(crate) db: Database,
    pub(crate) report: PageReport,
    /// The bytes of the journal.
    pub(crate) journal: Vec<u8>,
    pub(crate) contents: Contents,
}

/// Makes the data file on the disk what it is to whoever reads it now. The caller holds the lock.
///
/// A sync alone does not: where an earlier one has failed, the system takes the pages for clean, and what is read is
/// not what the disk has. The pages of a transaction are synced before its meta page is written, so that only the meta
/// pages can differ in what matters. They are written again, as they are, one after the other: the disk never has both
/// in its hands.
pub(crate) fn settle(path: &Path) -> Result<(), StoreError> {
    let data_path = path.join(DATA_FILE);
    let places = pages::meta_pages(&data_path)?;
    let settle = || {
        let file = File::options().read(true).write(true).open(&data_path)?;
        for Range { start, end } in places {
            let mut page = vec![0; usize::try_from(end - start).expect("a page is small")];
            file.read_exact_at(&mut page, start)?;
            file.write_all_at(&page, start)?;
            file.sync_all()?;
        }
        Ok(())
    };
    settle().map_err(|error| StoreError::io("write", &data_path, &error))
}

/// Reads and checks everything. The caller holds the lock.
pub(crate) fn read(path: &Path, access: Access) -> Result<Reading, StoreError> {
    let data_path = path.join(DATA_FILE);
    // LMDB trusts the file, so this goes first.
    let report = pages::check(&data_path)?;
    let (env, db) = open_env(&data_path, report.extent_bytes().max(MAP_BYTES_MIN), access)?;
    let error = |e| StoreError::lmdb("read", path, e);
    let mut collector = Collector::new(path);
    {
        let txn = env.begin_ro_txn().map_err(error)?;
        let mut cursor = txn.open_ro_cursor(db).map_err(error)?;
        for item in cursor.iter() {
            let (key, value) = item.map_err(error)?;
            collector.add(key, value)?;
        }
    }
    let journal = journal::read(path)?;
    let contents = collector.finish(&journal)?;
    Ok(Reading { env, db, report, journal, contents })
}

/// Opens the environment, or makes one where there is no file.
pub(crate) fn open_env(
    data_path: &Path,
    map_bytes: u64,
    access: Access,
) -> Result<(Environment, Database), StoreError> {
    // Our own lock keeps every other process out, and all use within this one is one after the other: LMDB's
    // lock file would only be another file that a crash can leave in a bad state.
    let mut flags = EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK;
    if access == Access::Read {
        flags |= EnvironmentFlags::READ_ONLY;
    }
    let env = Environment::new()
        .set_flags(flags)
        .set_map_size(map_size(map_bytes))
        .open(data_path)
        .map_err(|e| map_error(data_path, map_bytes, e))?;
    let db = env.open_db(None).map_err(|e| StoreError::lmdb("open", data_path, e))?;
    Ok((env, db))
}

/// Maps another size. No transaction may be open; where this fails, none can be opened any more.
pub(crate) fn set_map_bytes(env: &Environment, path: &Path, map_bytes: u64) -> Result<(), StoreError> {
    env.set_map_size(map_size(map_bytes)).map_err(|e| map_error(path, map_bytes, e))
}

fn map_size(map_bytes: u64) -> usize {
    usize::try_from(map_bytes).expect("64-bit machines only")
}

fn map_error(path: &Path, map_bytes: u64, error: lmdb::Error) -> StoreError {
    if error == lmdb::Error::Other(Errno::NOMEM.raw_os_error()) {
        return StoreError::MapNotMapped { map_bytes };
    }
    StoreError::lmdb("open", path, error)
}
