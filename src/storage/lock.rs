//! The directory's lock: at most one process has a store open, and others can ask which.
//!
//! The lock is an advisory lock on the file `lock`, so it ends with the process, however that ends. The
//! file's content names the holder, if the disk had room for it; the content alone means nothing, because a
//! process that was killed leaves it behind. The directory itself is locked as well, in case somebody removes
//! the lock file as stale: two processes on one store would hand out the same IDs. This module knows nothing
//! of what the store holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use raft_core::Incarnation;

use super::error::StoreError;
use super::files::LOCK_FILE;
use super::watch;

/// The process that holds a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    /// Its process id.
    pub pid: u32,
    /// Where it listens; `None` if it does not, or does not yet.
    pub listening: Option<Listening>,
}

/// The addresses that a node is bound to, and which node it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listening {
    /// `host:port` for peers.
    pub peer_address: String,
    /// `host:port` for clients.
    pub client_address: String,
    /// The node's incarnation. Where whoever reads this reaches another network than the node does, such as
    /// that of a container, another node may listen at the same address.
    pub incarnation: Incarnation,
}

/// The process that holds the store at `path`; `None` if no process does, or if there is no store.
///
/// # Errors
/// If the lock file cannot be read; [`StoreError::HolderUnknown`] if a process holds the store and has not
/// said which it is.
pub fn running(path: &Path) -> Result<Option<Running>, StoreError> {
    let lock_path = path.join(LOCK_FILE);
    let error = |error: &io::Error| StoreError::io("read", &lock_path, error);
    let mut file = match File::open(&lock_path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return match lock_directory(path, File::try_lock_shared) {
                Directory::Held => Err(StoreError::HolderUnknown { path: path.to_owned() }),
                Directory::Locked(_) | Directory::Unlockable => Ok(None),
            };
        }
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            return Err(StoreError::NotADirectory { path: path.to_owned() });
        }
        Err(e) => return Err(error(&e)),
    };
    for _ in 0..TRIES {
        // A process that was killed leaves its content behind, but not its lock.
        match file.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(error(&e)),
        }
        if let Some(running) = read_content(&mut file).map_err(|e| error(&e))? {
            return Ok(Some(running));
        }
        // The holder is about to write its process id, or about to release the lock; or its disk is full.
        thread::sleep(TRY_INTERVAL);
    }
    Err(StoreError::HolderUnknown { path: path.to_owned() })
}

/// Whether the process that has this id here has the lock file of the store at `path` open. The id that a
/// lock file names is the one where the holder runs: in a container it is often 1, which is another process
/// elsewhere. Without a proc(5), or without the right to look, the answer is no.
#[must_use]
pub fn is_open_in(path: &Path, pid: u32) -> bool {
    let Ok(lock) = path.join(LOCK_FILE).metadata() else { return false };
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|file| file.path().metadata().is_ok_and(|file| watch::is_same(&file, &lock)))
}

/// The most that is read of a lock file. What is written is far shorter.
const CONTENT_BYTES_MAX: u64 = 4096;

/// How often a lock is tried for, and how long to wait between tries. [`running`] takes the lock for a moment
/// to see whether it can; that must not make a node that starts at that moment give up.
const TRIES: u32 = 20;
const TRY_INTERVAL: Duration = Duration::from_millis(5);

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// `None` for a caller that only reads where there is no lock file, if the directory is locked or the
    /// file system is read-only.
    file: Option<File>,
    path: PathBuf,
    /// Locked as well, if the file system supports it.
    directory: Option<File>,
    /// Where this process listens, while the disk has no room to publish it.
    unpublished: Option<Listening>,
}

/// The result of locking a directory.
#[derive(Debug)]
enum Directory {
    Locked(File),
    /// Another process holds the lock.
    Held,
    /// The file system cannot lock directories (NFS, for example), or there is no directory.
    Unlockable,
}

fn lock_directory(path: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> Directory {
    let Ok(directory) = File::open(path) else { return Directory::Unlockable };
    match lock(&directory) {
        Ok(()) => Directory::Locked(directory),
        Err(TryLockError::WouldBlock) => Directory::Held,
        Err(TryLockError::Error(error)) => {
            log::debug!("{} itself cannot be locked: {error}", path.display());
            Directory::Unlockable
        }
    }
}

/// What a caller that takes the lock is about to do with the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Read,
    Write,
}

/// The lock file, opened.
enum Opened {
    ToWrite(File),
    /// It cannot be written; locking it does not require that.
    ToRead(File),
    /// There is no lock file, and none is made: the directory is locked, or no process could create a file.
    Nowhere,
}

fn open_to_write(lock_path: &Path) -> io::Result<Opened> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(lock_path).map(Opened::ToWrite)
}

fn open_to_read(lock_path: &Path, locked_directory: Option<&File>) -> io::Result<Opened> {
    // A command that only reads makes no file, which would belong to whoever runs it: the lock of the
    // directory does.
    if locked_directory.is_some() && !lock_path.try_exists()? {
        return Ok(Opened::Nowhere);
    }
    let refused = match open_to_write(lock_path) {
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => e,
        opened => return opened,
    };
    match File::open(lock_path) {
        Ok(file) => Ok(Opened::ToRead(file)),
        // A process that has the store open through a writable mount of the same file system has a lock file.
        Err(e) if e.kind() == ErrorKind::NotFound && refused.kind() == ErrorKind::ReadOnlyFilesystem => {
            Ok(Opened::Nowhere)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Err(refused),
        Err(e) => Err(e),
    }
}

impl Lock {
    /// Takes the lock of the directory at `path`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no directory: a process that destroyed the store has removed it;
    /// [`StoreError::InUse`]; and any fault in the file system.
    pub(super) fn acquire(path: &Path) -> Result<Lock, StoreError> {
        Lock::take(path, Purpose::Write)
    }

    /// As [`Lock::acquire`], for a caller that writes nothing: works even if nothing can be written.
    pub(super) fn acquire_to_read(path: &Path) -> Result<Lock, StoreError> {
        Lock::take(path, Purpose::Read)
    }

    fn take(path: &Path, purpose: Purpose) -> Result<Lock, StoreError> {
        let lock_path = path.join(LOCK_FILE);
        let error = |error: &io::Error| StoreError::io("lock", &lock_path, error);
        for _ in 0..TRIES {
            let directory = match lock_directory(path, File::try_lock) {
                Directory::Locked(directory) => Some(directory),
                Directory::Unlockable => None,
                Directory::Held => {
                    thread::sleep(TRY_INTERVAL);
                    continue;
                }
            };
            let opened = match purpose {
                Purpose::Write => open_to_write(&lock_path),
                Purpose::Read => open_to_read(&lock_path, directory.as_ref()),
            };
            let opened = opened.map_err(|e| match path.try_exists() {
                Ok(false) if e.kind() == ErrorKind::NotFound => {
                    StoreError::NotFound { path: path.to_owned() }
                }
                Ok(_) | Err(_) => error(&e),
            });
            let (locked, can_write) = match opened? {
                Opened::Nowhere => {
                    return Ok(Lock { file: None, path: lock_path, directory, unpublished: None });
                }
                Opened::ToWrite(file) => (file.try_lock().map(|()| file), true),
                // Some file systems, NFS among them, allow only a shared lock on a descriptor that is open
                // for reading.
                Opened::ToRead(file) => (file.try_lock_shared().map(|()| file), false),
            };
            match locked {
                Ok(file) if is_still_at(&file, &lock_path) => {
                    let lock = Lock { file: Some(file), path: lock_path, directory, unpublished: None };
                    if can_write {
                        lock.sign();
                    }
                    return Ok(lock);
                }
                // `destroy` removed the file after it was opened here: a lock on it excludes nobody.
                Ok(_) => {}
                Err(TryLockError::WouldBlock) => thread::sleep(TRY_INTERVAL),
                Err(TryLockError::Error(e)) => return Err(error(&e)),
            }
        }
        Err(StoreError::InUse { path: path.to_owned(), pid: holder(&lock_path).map_err(|e| error(&e))? })
    }

    /// Checks that the lock still keeps others out of the directory at the path that it was taken for.
    ///
    /// If the directory itself is locked, that lock is enough, and the file may be missing.
    pub(super) fn check_in_place(&self) -> Result<(), StoreError> {
        let directory_path = self.path.parent().unwrap_or(&self.path);
        let locked = match (&self.directory, &self.file) {
            (Some(directory), _) => watch::expect_at(directory, directory_path),
            (None, Some(file)) => watch::expect_at(file, &self.path),
            (None, None) => return Ok(()),
        };
        locked.map(|_| ())
    }

    /// Writes this process's id to the lock file, if the disk has room. The lock holds without it.
    fn sign(&self) {
        if let Err(e) = self.put_content(None) {
            log::debug!("{} does not say which process has it: {e}", self.path.display());
            // Otherwise the id that an earlier process left behind would be believed.
            let _ = self.file.as_ref().map(|file| file.set_len(0));
        }
    }

    /// Publishes where this process listens. A full disk is not an error: [`Lock::catch_up_on_publishing`]
    /// then publishes it later.
    pub(super) fn publish(&mut self, listening: &Listening) -> Result<(), StoreError> {
        match self.put_content(Some(listening)) {
            Ok(()) => Ok(()),
            Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                let path = self.path.display();
                log::warn!("no command can find this node as long as {path} cannot be written: {e}");
                self.unpublished = Some(listening.clone());
                Ok(())
            }
            Err(e) => Err(StoreError::io("write to", &self.path, &e)),
        }
    }

    /// Publishes what there was no room for before. If it still cannot be published, nothing gets worse.
    pub(super) fn catch_up_on_publishing(&mut self) {
        if let Some(listening) = &self.unpublished
            && self.put_content(Some(listening)).is_ok()
        {
            log::info!("commands can find this node: {} says where it listens", self.path.display());
            self.unpublished = None;
        }
    }

    fn put_content(&self, listening: Option<&Listening>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut content = format!("pid {}\n", std::process::id());
        if let Some(Listening { peer_address, client_address, incarnation }) = listening {
            content.push_str(&format!("peer_address {peer_address}\nclient_address {client_address}\n"));
            content.push_str(&format!("incarnation {incarnation}\n"));
        }
        // What an earlier process left behind must not be read as if it were this one's. A reader that finds
        // nothing tries again.
        if listening.is_none() {
            file.set_len(0)?;
        }
        // Otherwise one write over the old content and then the truncation, so that a reader finds at least
        // the pid.
        file.write_all_at(content.as_bytes(), 0)?;
        file.set_len(content.len() as u64)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only a courtesy: the lock itself ends with the file's descriptor.
        let _ = self.file.as_ref().map(|file| file.set_len(0));
    }
}

/// The process that holds the lock that could not be taken, if it has said so.
fn holder(lock_path: &Path) -> io::Result<Option<u32>> {
    let mut file = match File::open(lock_path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    // A holder that only reads the store may not have been able to write here: then the content is that of
    // another process.
    if file.try_lock_shared().is_ok() {
        return Ok(None);
    }
    Ok(read_content(&mut file)?.map(|running| running.pid))
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(ours), Ok(there)) => watch::is_same(&ours, &there),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn read_content(file: &mut File) -> io::Result<Option<Running>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.take(CONTENT_BYTES_MAX).read_to_end(&mut content)?;
    Ok(parse(&String::from_utf8_lossy(&content)))
}

fn parse(content: &str) -> Option<Running> {
    let field = |name: &str| {
        content.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
    };
    let pid = field("pid")?.parse().ok()?;
    let listening = || {
        let incarnation = Incarnation(u128::from_str_radix(&field("incarnation")?, 16).ok()?);
        let (peer_address, client_address) = (field("peer_address")?, field("client_address")?);
        Some(Listening { peer_address, client_address, incarnation })
    };
    Some(Running { pid, listening: listening() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Loss;
    use crate::storage::testing::TestDir;

    fn listening() -> Listening {
        Listening {
            peer_address: "127.0.0.1:9001".into(),
            client_address: "[::1]:8001".into(),
            incarnation: Incarnation(u128::MAX),
        }
    }

    #[test]
    fn a_second_lock_names_the_process_that_holds_the_first() {
        let dir = TestDir::new();
        let _lock = Lock::acquire(dir.path()).unwrap();
        let pid = Some(std::process::id());
        assert_eq!(
            Lock::acquire(dir.path()).unwrap_err(),
            StoreError::InUse { path: dir.path().to_owned(), pid }
        );
    }

    #[test]
    fn where_the_directory_was_removed_meanwhile_there_is_no_store() {
        let dir = TestDir::new();
        let path = dir.path().join("store");
        let not_found = StoreError::NotFound { path: path.clone() };
        assert_eq!(Lock::acquire(&path).unwrap_err(), not_found);
        assert_eq!(Lock::acquire_to_read(&path).unwrap_err(), not_found);
    }

    #[test]
    fn a_lock_holds_although_its_file_was_removed() {
        let dir = TestDir::new();
        let in_use = StoreError::InUse { path: dir.path().to_owned(), pid: None };
        let lock = Lock::acquire(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join(LOCK_FILE)).unwrap();
        assert_eq!(running(dir.path()), Err(StoreError::HolderUnknown { path: dir.path().to_owned() }));
        assert_eq!(Lock::acquire(dir.path()).unwrap_err(), in_use);
        drop(lock);
        assert_eq!(running(dir.path()), Ok(None));
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_is_lost_where_its_directory_is_another_and_not_where_only_its_file_was_removed() {
        let dir = TestDir::new();
        let (path, aside) = (dir.path().join("store"), dir.path().join("aside"));
        std::fs::create_dir(&path).unwrap();
        let lock = Lock::acquire(&path).unwrap();
        assert_eq!(lock.check_in_place(), Ok(()));
        std::fs::remove_file(path.join(LOCK_FILE)).unwrap();
        assert_eq!(lock.check_in_place(), Ok(()));
        std::fs::rename(&path, aside).unwrap();
        assert_eq!(lock.check_in_place(), Err(StoreError::Lost { path: path.clone(), how: Loss::Gone }));
        std::fs::create_dir(&path).unwrap();
        assert_eq!(lock.check_in_place(), Err(StoreError::Lost { path, how: Loss::Replaced }));
    }

    #[test]
    fn a_lock_of_the_file_alone_is_lost_with_that() {
        let dir = TestDir::new();
        let mut lock = Lock::acquire(dir.path()).unwrap();
        // As on a file system that cannot lock directories.
        lock.directory = None;
        assert_eq!(lock.check_in_place(), Ok(()));
        let path = dir.path().join(LOCK_FILE);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lock.check_in_place(), Err(StoreError::Lost { path: path.clone(), how: Loss::Gone }));
        std::fs::write(&path, "").unwrap();
        assert_eq!(lock.check_in_place(), Err(StoreError::Lost { path, how: Loss::Replaced }));
    }

    #[test]
    fn running_says_who_holds_the_lock_and_where_it_listens_as_long_as_it_is_held() {
        let dir = TestDir::new();
        assert_eq!(running(dir.path()), Ok(None));
        let mut lock = Lock::acquire(dir.path()).unwrap();
        let pid = std::process::id();
        assert_eq!(running(dir.path()), Ok(Some(Running { pid, listening: None })));
        lock.publish(&listening()).unwrap();
        assert_eq!(running(dir.path()), Ok(Some(Running { pid, listening: Some(listening()) })));
        lock.put_content(None).unwrap();
        assert_eq!(running(dir.path()), Ok(Some(Running { pid, listening: None })));
        drop(lock);
        assert_eq!(running(dir.path()), Ok(None));
    }

    #[test]
    fn content_that_a_killed_process_left_behind_is_not_believed() {
        let dir = TestDir::new();
        let left = "pid 1\npeer_address a:1\nclient_address b:2\nincarnation ff\n";
        std::fs::write(dir.path().join(LOCK_FILE), left).unwrap();
        assert_eq!(running(dir.path()), Ok(None));
        let _lock = Lock::acquire(dir.path()).unwrap();
        assert_eq!(running(dir.path()).unwrap().unwrap().listening, None);
    }

    #[test]
    fn a_holder_that_has_not_said_who_it_is_is_another_process() {
        let dir = TestDir::new();
        let _lock = Lock::acquire(dir.path()).unwrap();
        // As on a full disk.
        for content in ["", "pi"] {
            std::fs::write(dir.path().join(LOCK_FILE), content).unwrap();
            let in_use = StoreError::InUse { path: dir.path().to_owned(), pid: None };
            assert_eq!(running(dir.path()), Err(StoreError::HolderUnknown { path: dir.path().to_owned() }));
            assert_eq!(Lock::acquire(dir.path()).unwrap_err(), in_use);
        }
    }

    #[test]
    fn who_locks_a_store_that_it_can_only_read_is_not_taken_for_the_last_one_to_serve_it() {
        let dir = TestDir::new();
        let lock_path = dir.path().join(LOCK_FILE);
        std::fs::write(&lock_path, "pid 1\n").unwrap();
        let reader = File::open(&lock_path).unwrap();
        reader.try_lock_shared().unwrap();
        let in_use = StoreError::InUse { path: dir.path().to_owned(), pid: None };
        assert_eq!(Lock::acquire(dir.path()).unwrap_err(), in_use);
        assert_eq!(running(dir.path()), Ok(None), "it is no node");
        drop(reader);
        Lock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn any_content_of_the_lock_file_is_read_without_a_panic() {
        for content in ["", "pid", "pid x", "pid 99999999999", "\0\u{fffd}", "peer_address a:1"] {
            assert_eq!(parse(content), None, "{content:?}");
        }
    }
}
