//! Searches the leaves of a data file, whatever its state.
//!
//! This module reads the file page by page and follows no references in it: a page that LMDB no longer uses
//! counts as well, and one that makes no sense is skipped. It must never know what the records are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::layout::{Content, META_PAGE_BYTES, Meta, TreeId, TreePageKind, read_nodes};
use crate::storage::error::StoreError;

/// The page size that is assumed if the file does not tell: that of most machines.
const PAGE_BYTES_USUAL: u64 = 4096;

/// Whether a leaf of the file has a key and a value for which `is_so` holds.
pub(crate) fn has_record(path: &Path, is_so: impl Fn(&[u8], &[u8]) -> bool) -> Result<bool, StoreError> {
    let search = || -> io::Result<bool> {
        let file = File::open(path)?;
        let mut front = [0; META_PAGE_BYTES];
        let meta = file.read_exact_at(&mut front, 0).map(|()| Meta::read(0, &front));
        let page_bytes = match meta {
            Ok(Ok(meta)) => meta.page_bytes,
            Ok(Err(_)) | Err(_) => PAGE_BYTES_USUAL,
        };
        let mut page = vec![0; usize::try_from(page_bytes).expect("64-bit machines only")];
        for number in 0..file.metadata()?.len() / page_bytes {
            file.read_exact_at(&mut page, number * page_bytes)?;
            if TreePageKind::Leaf.is_of(&page, number) && has_node(&page, &is_so) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    search().map_err(|error| StoreError::io("read", path, &error))
}

fn has_node(page: &[u8], is_so: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let nodes = read_nodes(TreeId::Records, TreePageKind::Leaf, page).unwrap_or_default();
    nodes.iter().any(|node| match node.content {
        Content::Inline(value) => is_so(node.key, value),
        Content::Child(_) | Content::Overflow(..) => false,
    })
}
