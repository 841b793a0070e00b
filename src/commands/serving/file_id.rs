//! Which file is at a path.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file, whatever its names are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file that has this metadata.
    pub(super) fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The file that this path leads to; `None` if there is none that can be seen.
    pub(super) fn at(path: &Path) -> Option<FileId> {
        fs::metadata(path).ok().as_ref().map(FileId::of)
    }

    /// The file with this path, which may be a symbolic link; `None` if there is none that can be seen.
    pub(super) fn at_nofollow(path: &Path) -> Option<FileId> {
        fs::symlink_metadata(path).ok().as_ref().map(FileId::of)
    }
}
