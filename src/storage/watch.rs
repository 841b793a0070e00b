//! Checks that the files that a node has open are still those at its path, and as long as they were.
//!
//! A file that was removed, moved or replaced can still be written and synced, but no later start will find
//! what was written. This module changes nothing. It must never know what is in a file.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Loss, StoreError};

/// Checks that the open `file` is the one at `path`. Returns the metadata.
///
/// A path that leads nowhere only temporarily, for example because a directory above has been renamed, is a
/// loss too: a node started there meanwhile finds no store and no lock.
pub(super) fn expect_at(file: &File, path: &Path) -> Result<Metadata, StoreError> {
    let there = match path.metadata() {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(StoreError::Lost { path: path.to_owned(), how: Loss::Gone });
        }
        there => there,
    };
    match there.and_then(|there| Ok((file.metadata()?, there))) {
        Ok((ours, there)) if is_same(&ours, &there) => Ok(there),
        Ok(_) => Err(StoreError::Lost { path: path.to_owned(), how: Loss::Replaced }),
        Err(e) => Err(StoreError::io("look at", path, &e)),
    }
}

/// Checks that a file with this metadata has at least this many bytes.
pub(super) fn expect_length(of: &Metadata, path: &Path, bytes_min: u64) -> Result<(), StoreError> {
    let bytes = of.len();
    if bytes < bytes_min {
        return Err(StoreError::Lost { path: path.to_owned(), how: Loss::Cut { bytes, bytes_min } });
    }
    Ok(())
}

/// Whether both describe the same file.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// A file that is written by other code (LMDB), held open so that its inode number cannot be reused.
#[derive(Debug)]
pub(super) struct Watched {
    file: File,
    path: PathBuf,
    /// The greatest length seen so far. We never make the file shorter.
    bytes_min: u64,
}

impl Watched {
    /// The file at this path.
    pub(super) fn open(path: &Path) -> Result<Watched, StoreError> {
        let file = File::open(path).map_err(|e| StoreError::io("read", path, &e))?;
        Ok(Watched { file, path: path.to_owned(), bytes_min: 0 })
    }

    /// It.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the file is still there, and not shorter than it ever was.
    pub(super) fn check_in_place(&mut self) -> Result<(), StoreError> {
        let there = expect_at(&self.file, &self.path)?;
        expect_length(&there, &self.path, self.bytes_min)?;
        self.bytes_min = there.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::storage::testing::TestDir;

    fn lost(path: &Path, how: Loss) -> Result<(), StoreError> {
        Err(StoreError::Lost { path: path.to_owned(), how })
    }

    /// A directory with a watched file of 100 bytes.
    fn watched(dir: &TestDir) -> (PathBuf, Watched) {
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let path = inside.join("file");
        fs::write(&path, [7; 100]).unwrap();
        let mut watched = Watched::open(&path).unwrap();
        assert_eq!(watched.check_in_place(), Ok(()));
        (path, watched)
    }

    #[test]
    fn a_file_that_is_read_written_linked_or_given_other_rights_is_still_there() {
        let dir = TestDir::new();
        let (path, mut watched) = watched(&dir);
        fs::read(&path).unwrap();
        fs::write(&path, [8; 100]).unwrap();
        assert_eq!(watched.check_in_place(), Ok(()));
        fs::hard_link(&path, dir.path().join("link")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        fs::copy(&path, dir.path().join("copy")).unwrap();
        assert_eq!(watched.check_in_place(), Ok(()));
    }

    #[test]
    fn a_file_that_was_removed_moved_or_replaced_by_its_copy_is_lost_until_it_is_back() {
        let dir = TestDir::new();
        let (path, mut watched) = watched(&dir);
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        assert_eq!(watched.check_in_place(), lost(&path, Loss::Gone));
        fs::copy(&aside, &path).unwrap();
        assert_eq!(watched.check_in_place(), lost(&path, Loss::Replaced));
        fs::rename(&aside, &path).unwrap();
        assert_eq!(watched.check_in_place(), Ok(()));
        fs::remove_file(&path).unwrap();
        assert_eq!(watched.check_in_place(), lost(&path, Loss::Gone));
    }

    #[test]
    fn a_file_is_lost_where_its_directory_is_elsewhere_or_is_none() {
        let dir = TestDir::new();
        let (path, mut watched) = watched(&dir);
        let (inside, aside) = (path.parent().unwrap(), dir.path().join("aside"));
        fs::rename(inside, &aside).unwrap();
        assert_eq!(watched.check_in_place(), lost(&path, Loss::Gone));
        fs::write(inside, "").unwrap();
        assert_eq!(watched.check_in_place(), lost(&path, Loss::Gone), "its directory is a file");
        fs::remove_file(inside).unwrap();
        symlink(&aside, inside).unwrap();
        assert_eq!(watched.check_in_place(), Ok(()), "whoever starts a node there finds it");
    }

    #[test]
    fn a_file_may_grow_and_is_lost_where_it_is_shorter_than_it_ever_was() {
        let dir = TestDir::new();
        let (path, mut watched) = watched(&dir);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(300).unwrap();
        assert_eq!(watched.check_in_place(), Ok(()));
        file.set_len(299).unwrap();
        assert_eq!(watched.check_in_place(), lost(&path, Loss::Cut { bytes: 299, bytes_min: 300 }));
        file.set_len(0).unwrap();
        assert_eq!(watched.check_in_place(), lost(&path, Loss::Cut { bytes: 0, bytes_min: 300 }));
    }

    #[test]
    fn a_path_that_cannot_be_looked_at_is_an_error_of_its_own() {
        let dir = TestDir::new();
        let (path, mut watched) = watched(&dir);
        let (inside, aside) = (path.parent().unwrap(), dir.path().join("aside"));
        fs::rename(inside, aside).unwrap();
        symlink(inside, inside).unwrap();
        let error = watched.check_in_place().unwrap_err();
        assert!(matches!(&error, StoreError::Io { action: "look at", .. }), "{error}");
    }
}
