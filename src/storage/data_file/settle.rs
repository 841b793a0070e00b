//! That what is read of the data file is what the disk has.
//!
//! It uses the file alone, before LMDB has it open. It must never know more of what is in it than where the
//! meta pages are.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::pages;
use crate::storage::error::StoreError;

/// Makes the data file on the disk what it is to whoever reads it now. The caller holds the lock.
///
/// A sync alone does not: where an earlier one has failed, the system takes the pages for clean, and what is
/// read is not what the disk has. The pages of a batch are synced before its meta page is written, so that
/// only the meta pages can differ in what matters. They are written again, as they are, one after the other:
/// the disk never has both in its hands.
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
