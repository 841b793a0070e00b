//! The LMDB environment: how it is opened, mapped and read.
//!
//! This module must never know what is done with the records that are read.

use std::path::Path;

use lmdb::{Cursor, Database, Environment, EnvironmentFlags, Transaction};
use rustix::io::Errno;

use crate::storage::error::StoreError;

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// To be filled, and then synced as a whole: until then, the file means nothing to anybody.
    Fill,
}

/// Opens the environment, or creates one if there is no file.
pub(crate) fn open_env(
    data_path: &Path,
    map_bytes: u64,
    access: Access,
) -> Result<(Environment, Database), StoreError> {
    // Our own lock keeps every other process out, and this process uses the environment from one place at a
    // time. LMDB's lock file would only be one more file that a crash can leave in a bad state.
    let mut flags = EnvironmentFlags::NO_SUB_DIR | EnvironmentFlags::NO_LOCK;
    match access {
        Access::Read => flags |= EnvironmentFlags::READ_ONLY,
        Access::Write => {}
        Access::Fill => flags |= EnvironmentFlags::NO_SYNC,
    }
    let env = Environment::new()
        .set_flags(flags)
        .set_map_size(map_size(map_bytes))
        .open(data_path)
        .map_err(|e| map_error(data_path, map_bytes, e))?;
    let db = env.open_db(None).map_err(|e| StoreError::lmdb("open", data_path, e))?;
    Ok((env, db))
}

/// Passes every record to `take`, in key order, until one is refused.
pub(crate) fn read_records(
    env: &Environment,
    db: Database,
    data_path: &Path,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let error = |e| StoreError::lmdb("read", data_path, e);
    let txn = env.begin_ro_txn().map_err(error)?;
    let mut cursor = txn.open_ro_cursor(db).map_err(error)?;
    for item in cursor.iter() {
        let (key, record) = item.map_err(error)?;
        take(key, record)?;
    }
    Ok(())
}

/// Changes the size of the map. No `txn` may be open; if this fails, none can be opened any more.
pub(crate) fn set_map_bytes(env: &Environment, data_path: &Path, map_bytes: u64) -> Result<(), StoreError> {
    env.set_map_size(map_size(map_bytes)).map_err(|e| map_error(data_path, map_bytes, e))
}

fn map_size(map_bytes: u64) -> usize {
    usize::try_from(map_bytes).expect("64-bit machines only")
}

fn map_error(data_path: &Path, map_bytes: u64, error: lmdb::Error) -> StoreError {
    if error == lmdb::Error::Other(Errno::NOMEM.raw_os_error()) {
        return StoreError::MapNotMapped { map_bytes };
    }
    StoreError::lmdb("open", data_path, error)
}
