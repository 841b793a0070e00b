//! Makes sure that what is read of the data file is what the disk has.
//!
//! This module uses the file alone, before LMDB opens it. Of what is in it, it must never know more than
//! where the meta pages are.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::pages;
use crate::storage::error::StoreError;

/// Brings the data file, as it is read now, to the disk. The caller holds the lock.
///
/// A sync alone does not achieve that: after an earlier sync has failed, the system considers the pages
/// clean, and what is read is not what the disk has. The pages of a batch are synced before its meta page is
/// written, so only the meta pages can differ in a way that matters. They are written again unchanged, one
/// after the other, so that the disk is never writing both at once.
pub(crate) fn settle(data_path: &Path) -> Result<(), StoreError> {
    let places = pages::meta_pages(data_path)?;
    let settle = || {
        let file = File::options().read(true).write(true).open(data_path)?;
        for Range { start, end } in places {
            let mut page = vec![0; usize::try_from(end - start).expect("a page is small")];
            file.read_exact_at(&mut page, start)?;
            file.write_all_at(&page, start)?;
            file.sync_all()?;
        }
        Ok(())
    };
    settle().map_err(|error| StoreError::io("write", data_path, &error))
}
