//! The file that holds the node's process id, for scripts and supervisors.
//!
//! It appears, complete, when the node listens, and is removed when the node ends. Another process may have
//! created its own file in the meantime, because a join can wait for a long time: that file is neither
//! replaced nor removed. This module uses the file system alone. The lock of the store, not this file, keeps
//! two nodes off one store.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

use super::file_id::FileId;
use crate::commands::Failure;
use crate::commands::random::random_u64;
use crate::procfs;

/// A process id has at most ten digits; a longer file is not a pid file.
const CONTENT_BYTES_MAX: u64 = 32;

/// How often publication is retried while other processes create and remove their own files.
const PUBLISH_ATTEMPTS: u32 = 8;

/// The random part of the name of a prepared file, in hexadecimal digits.
const SUFFIX_DIGITS: usize = 16;

/// A pid file that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// Where the file is prepared: renaming makes it appear complete, and creating it early shows that it can
    /// be created. The name is hidden and random, so that no file of anybody else has it.
    prepared: PathBuf,
    /// The prepared file, locked as long as this process lives: one that is not locked is a leftover.
    _locked: File,
    /// The prepared file. Its content does not suffice to recognise it: in two containers that share a
    /// directory, both processes may have id 1.
    file: Option<FileId>,
}

impl PidFile {
    /// Checks that the file can be written and that no other process owns it. The file itself is not there
    /// yet; one left by a dead process stays until [`PidFile::publish`].
    ///
    /// # Errors
    /// [`Failure`] if the file names a live process or is not a pid file, or if it cannot be written.
    pub(crate) fn prepare(path: &Path) -> Result<PidFile, Failure> {
        refuse_if_owned(path, path)?;
        let name = name_of(path).map_err(|error| unwritable(path, &error))?;
        remove_leftovers(path, name);
        let mut hidden = prefix(name);
        hidden.push(format!("{:0SUFFIX_DIGITS$x}", random_u64()?));
        let prepared = path.with_file_name(hidden);
        // Neither an existing file nor what a symbolic link leads to.
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&prepared)
            .map_err(|error| unwritable(path, &error))?;
        // Where files cannot be locked, leftovers are not removed either.
        let _ = file.try_lock();
        if let Err(error) = writeln!(file, "{}", process::id()) {
            // On a full disk the file is there, and empty.
            let _ = fs::remove_file(&prepared);
            return Err(unwritable(path, &error));
        }
        Ok(PidFile { path: path.to_owned(), file: FileId::at(&prepared), prepared, _locked: file })
    }

    /// Makes the file appear.
    ///
    /// # Errors
    /// [`Failure`] if the file by now names a live process or is not a pid file, or if it cannot be written.
    pub(crate) fn publish(&self) -> Result<(), Failure> {
        for _ in 0..PUBLISH_ATTEMPTS {
            refuse_if_owned(&self.path, &self.path)?;
            if self.put()? == Put::Done {
                return Ok(());
            }
        }
        Err(unwritable(&self.path, &io::ErrorKind::ResourceBusy.into()))
    }

    /// Puts the prepared file in place, unless another process is quicker.
    fn put(&self) -> Result<Put, Failure> {
        let rename = |flags| renameat_with(CWD, &self.prepared, CWD, &self.path, flags);
        match rename(RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Put::Done),
            Err(Errno::EXIST) => (),
            // Not every file system supports more than a plain rename.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.replace().map(|()| Put::Done),
            Err(error) => return Err(unwritable(&self.path, &error.into())),
        }
        match rename(RenameFlags::EXCHANGE) {
            Ok(()) => (),
            Err(Errno::NOENT) => return Ok(Put::Again),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return self.replace().map(|()| Put::Done),
            Err(error) => return Err(unwritable(&self.path, &error.into())),
        }
        // The old file still exists under the other name, so this check cannot come too late.
        if let Err(owned) = refuse_if_owned(&self.prepared, &self.path) {
            rename(RenameFlags::EXCHANGE).map_err(|error| unwritable(&self.path, &error.into()))?;
            return Err(owned);
        }
        // If it cannot be removed now, it is removed at the end.
        let _ = fs::remove_file(&self.prepared);
        Ok(Put::Done)
    }

    fn replace(&self) -> Result<(), Failure> {
        fs::rename(&self.prepared, &self.path).map_err(|error| unwritable(&self.path, &error))
    }
}

/// Whether the file is in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Put {
    Done,
    /// The file that was in the way is gone.
    Again,
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A failure here cannot be helped: the node is ending, and a file left behind is recognised as stale.
        let _ = fs::remove_file(&self.prepared);
        let names_us = matches!(read(&self.path), Ok(Some(Content::Pid(pid))) if pid == getpid());
        if names_us && self.file.is_some_and(|file| FileId::at(&self.path) == Some(file)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The name of the file, which must not be that of a directory.
fn name_of(path: &Path) -> io::Result<&OsStr> {
    let is_directory = path.as_os_str().as_bytes().ends_with(b"/");
    path.file_name().filter(|_| !is_directory).ok_or_else(|| io::ErrorKind::IsADirectory.into())
}

/// What the names of files begin with that are prepared to get this name.
fn prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

/// Removes what killed processes left behind that had prepared a file for this path. If that fails, nothing
/// gets worse.
fn remove_leftovers(path: &Path, name: &OsStr) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(directory.unwrap_or(Path::new("."))) else { return };
    let prefix = prefix(name);
    for entry in entries.flatten() {
        let name = entry.file_name();
        let suffix = name.as_bytes().strip_prefix(prefix.as_bytes());
        let has_our_name = suffix
            .is_some_and(|suffix| suffix.len() == SUFFIX_DIGITS && suffix.iter().all(u8::is_ascii_hexdigit));
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if has_our_name && is_file && is_left_over(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a prepared file is of a process that has ended. Its id alone does not tell: in two containers that
/// share a directory, both processes may have id 1.
fn is_left_over(prepared: &Path) -> bool {
    let names_nobody = match read(prepared) {
        // Not written yet, or on a full disk.
        Ok(Some(Content::Pid(pid))) => pid == getpid() || !is_alive(pid),
        Ok(None | Some(Content::Nobody | Content::Foreign)) | Err(_) => false,
    };
    names_nobody && File::open(prepared).is_ok_and(|file| file.try_lock().is_ok())
}

/// The content of a file that may be a pid file.
enum Content {
    Pid(Pid),
    /// Nothing, or a number that no process has as its id.
    Nobody,
    /// It is not a pid file.
    Foreign,
}

/// Checks the file at `path`; errors name it `known_as`, because the operator knows no other name.
fn refuse_if_owned(path: &Path, known_as: &Path) -> Result<(), Failure> {
    let shown = known_as.display();
    match read(path) {
        Ok(None | Some(Content::Nobody)) => Ok(()),
        Ok(Some(Content::Foreign)) => {
            Err(Failure::runtime(format!("{shown} is not a pid file: give another with --pid_file")))
        }
        // An earlier process may have had the same id, as in a container.
        Ok(Some(Content::Pid(pid))) if pid == getpid() || !is_alive(pid) => Ok(()),
        Ok(Some(Content::Pid(pid))) => Err(Failure::runtime(format!(
            "{shown} belongs to process {pid}, which is alive: stop that process, or remove the file if it \
             is not a ticketd"
        ))),
        Err(error) => Err(unwritable(known_as, &error)),
    }
}

fn read(path: &Path) -> io::Result<Option<Content>> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > CONTENT_BYTES_MAX => {
            return Ok(Some(Content::Foreign));
        }
        Ok(_) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let bytes = fs::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(match (text.trim(), text.trim().parse::<i32>()) {
        ("", _) => Content::Nobody,
        (_, Ok(number)) if number > 0 => Pid::from_raw(number).map_or(Content::Nobody, Content::Pid),
        (_, Ok(_)) => Content::Nobody,
        (_, Err(_)) => Content::Foreign,
    }))
}

fn is_alive(pid: Pid) -> bool {
    // A zombie: it has ended, but its parent has not collected its status, as happens when the parent is the
    // first process of a container.
    let is_zombie = procfs::text(format!("/proc/{pid}/stat")).is_ok_and(|stat| state(&stat) == Some("Z"));
    if is_zombie {
        return false;
    }
    match test_kill_process(pid) {
        Ok(()) => true,
        // The process exists and belongs to another user.
        Err(error) => error == Errno::PERM,
    }
}

/// The state of a process, from its line in proc(5). It follows the name, which may contain any characters.
fn state(stat: &str) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().next()
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let remedy = if is_full { "make room there, or give" } else { "give" };
    Failure::runtime(format!("cannot write {shown} ({error}): {remedy} another with --pid_file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::TestDir;

    #[test]
    fn the_state_of_a_process_follows_its_name_whatever_that_holds() {
        assert_eq!(state("17 (a) Z (b)) S 1 17"), Some("S"));
        assert_eq!(state("17 (ticketd) Z 1 17"), Some("Z"));
        assert_eq!(state(""), None);
    }

    #[test]
    fn the_file_appears_when_published_and_goes_when_dropped() {
        let directory = TestDir::new();
        let path = directory.path().join("pid");
        let file = PidFile::prepare(&path).unwrap();
        assert!(!path.exists());
        file.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_file_of_another_is_written_to_whose_name_is_that_of_the_pid_file_and_more() {
        let directory = TestDir::new();
        let path = directory.path().join("pid");
        let other = directory.path().join(format!("pid.{}", process::id()));
        fs::write(&other, "rotated").unwrap();
        let file = PidFile::prepare(&path).unwrap();
        file.publish().unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&other).unwrap(), "rotated");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_process_has_prepared_is_removed_and_nothing_else() {
        let directory = TestDir::new();
        let path = directory.path().join("pid");
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let own = format!("{}\n", process::id());
        let left = file(".pid.0123456789abcdef", &own);
        let parent = rustix::process::getppid().unwrap().to_string();
        let kept = [
            file(".pid.0123456789abcde", &own),
            file(".pid.0123456789abcdeg", &own),
            file(".pid2.0123456789abcdef", &own),
            file("pid.0123456789abcdef", &own),
            file(".pid.1123456789abcdef", "something else"),
            file(".pid.2123456789abcdef", ""),
            file(".pid.3123456789abcdef", &parent),
        ];
        let link = directory.path().join(".pid.4123456789abcdef");
        std::os::unix::fs::symlink(&kept[0], &link).unwrap();
        // As of the first process of another container, which waits.
        let other = PidFile::prepare(&path).unwrap();
        assert!(!left.exists());
        let file = PidFile::prepare(&path).unwrap();
        assert!(other.prepared.exists() && file.prepared.exists());
        assert!(kept.iter().chain([&link]).all(|path| path.exists()));
    }

    #[test]
    fn nothing_is_left_where_the_node_never_listened() {
        let directory = TestDir::new();
        drop(PidFile::prepare(&directory.path().join("pid")).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_of_a_live_process_is_refused_and_left_alone() {
        let directory = TestDir::new();
        let path = directory.path().join("pid");
        // The parent of this test lives as long as the test.
        let parent = rustix::process::getppid().unwrap().to_string();
        fs::write(&path, &parent).unwrap();
        let failure = PidFile::prepare(&path).unwrap_err();
        assert!(failure.to_string().contains("alive"), "{failure}");
        assert_eq!(fs::read_to_string(&path).unwrap(), parent);
    }

    #[test]
    fn a_file_that_another_process_has_made_meanwhile_is_refused_and_left_alone() {
        let directory = TestDir::new();
        let path = directory.path().join("pid");
        let parent = rustix::process::getppid().unwrap().to_string();
        let file = PidFile::prepare(&path).unwrap();
        fs::write(&path, &parent).unwrap();
        // The second case: the other process is quicker than the first check.
        for outcome in [file.publish(), file.put().map(|_| ())] {
            let failure = outcome.unwrap_err();
            assert!(failure.to_string().contains(&format!("{} belongs to", path.display())), "{failure}");
            assert_eq!(fs::read_to_string(&path).unwrap(), parent);
        }
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), parent);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_once_it_is_put_aside_is_named_as_the_operator_knows_it() {
        let directory = TestDir::new();
        let path = directory.path().join("pid");
        let file = PidFile::prepare(&path).unwrap();
        let endless = directory.path().join("endless");
        std::os::unix::fs::symlink(&endless, &endless).unwrap();
        std::os::unix::fs::symlink(&endless, &path).unwrap();
        let failure = file.put().map(|_| ()).unwrap_err().to_string();
        assert!(failure.contains(&format!("cannot write {} (", path.display())), "{failure}");
    }

    #[test]
    fn a_file_that_has_taken_the_place_of_ours_is_not_removed_whatever_it_holds() {
        let directory = TestDir::new();
        let (path, other) = (directory.path().join("pid"), directory.path().join("other"));
        for content in [process::id(), process::id() + 1] {
            let file = PidFile::prepare(&path).unwrap();
            file.publish().unwrap();
            fs::write(&other, content.to_string()).unwrap();
            fs::rename(&other, &path).unwrap();
            drop(file);
            assert_eq!(fs::read_to_string(&path).unwrap(), content.to_string());
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_file_of_a_dead_process_is_replaced() {
        let directory = TestDir::new();
        let path = directory.path().join("pid");
        let mut child = process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        for stale in [child.id().to_string(), "0".to_owned(), String::new()] {
            fs::write(&path, &stale).unwrap();
            let file = PidFile::prepare(&path).unwrap();
            file.publish().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_file_that_holds_something_else_is_refused_and_left_alone() {
        let directory = TestDir::new();
        let path = directory.path().join("notes");
        fs::write(&path, "do not lose this").unwrap();
        assert!(PidFile::prepare(&path).is_err());
        assert!(PidFile::prepare(directory.path()).is_err());
        assert!(PidFile::prepare(&directory.path().join("missing").join("pid")).is_err());
        assert!(PidFile::prepare(&directory.path().join("missing").join("")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "do not lose this");
    }
}
