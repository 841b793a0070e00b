//! Directories for tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A directory that is removed when this is dropped, unless the test fails: then it stays for inspection.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Creates an empty directory.
    pub fn new() -> Directory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{count}", env!("CARGO_CRATE_NAME"), process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the build directory can be written to");
        Directory { path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, as a command-line argument.
    pub fn join(&self, name: &str) -> String {
        as_argument(&self.path.join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("what the test left behind is in {}", self.path.display());
        } else {
            fs::remove_dir_all(&self.path).expect("the test's own directory can be removed");
        }
    }
}

/// A path as a command-line argument.
pub fn as_argument(path: &Path) -> String {
    path.to_str().expect("the tests' paths are UTF-8").to_owned()
}

/// Copies a directory with its files, except lock files.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the test's own directory can be written to");
    for (path, bytes) in contents(from) {
        let name = path.strip_prefix(from).expect("it is below the directory");
        fs::write(to.join(name), bytes).expect("the test's own directory can be written to");
    }
}

/// All files below a directory and their content; empty if there is no directory. Lock files are left out:
/// which process holds or held a lock does not change a store.
pub fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.expect("a directory of the test's own can be read").path();
            if path.is_dir() {
                waiting.push(path);
            } else if !path.ends_with("lock") && !path.ends_with("lock.mdb") {
                let bytes = fs::read(&path).expect("a file of the test's own can be read");
                files.insert(path, bytes);
            }
        }
    }
    files
}
