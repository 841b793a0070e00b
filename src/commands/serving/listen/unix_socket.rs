//! A Unix-domain socket in the file system: created if no other process has one there, and removed when the
//! node ends.
//!
//! This module must never remove a file that is not a socket, nor a socket on which a process listens or is
//! about to listen. A socket on which nothing listens yet answers like one that a killed process has left
//! behind, and a join may leave it so for hours. A lock file beside it tells the two apart: its lock ends
//! with the process, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::BACKLOG;
use super::error::ListenError;
use crate::commands::serving::file_id::FileId;

/// A socket with a path in the file system, which is removed when this is dropped. Nothing can connect before
/// [`UnixSocket::listen`].
#[derive(Debug)]
pub(super) struct UnixSocket {
    socket: Socket,
    path: SocketPath,
}

/// The path of a socket and the file that it leads to. The path is removed when this is dropped, if it still
/// leads to that file.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    file: Option<FileId>,
    /// Last, so that no other process takes the path before it is removed.
    _lock: SocketPathLock,
}

/// The right to a path: a file beside it that is locked while this lives and is then removed.
#[derive(Debug)]
struct SocketPathLock {
    path: PathBuf,
    file: File,
}

/// How often to retry a lock file that its last owner removes at the same time.
const LOCK_ATTEMPTS: u32 = 8;

impl UnixSocket {
    /// Creates the socket. A socket left behind by a process that was killed is removed first.
    ///
    /// # Errors
    /// [`ListenError::Unix`].
    pub(super) fn bind(path: &Path) -> Result<UnixSocket, ListenError> {
        let failed = |source| ListenError::Unix { path: path.to_owned(), source };
        let lock = SocketPathLock::acquire(path).map_err(failed)?;
        remove_stale(path).map_err(failed)?;
        let bind = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            Ok(UnixSocket {
                socket,
                path: SocketPath { path: path.to_owned(), file: FileId::at_nofollow(path), _lock: lock },
            })
        };
        bind().map_err(failed)
    }

    /// Lets clients connect. The path is removed when the second value is dropped.
    ///
    /// # Errors
    /// [`ListenError::Unix`]; also if the path has been removed in the meantime or leads to another file,
    /// so that nothing could connect.
    pub(super) fn listen(self) -> Result<(UnixListener, SocketPath), ListenError> {
        let UnixSocket { socket, path } = self;
        let listen = || match FileId::at_nofollow(&path.path) {
            Some(there) if path.file == Some(there) => socket.listen(BACKLOG),
            Some(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody else has taken its place")),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "somebody has removed it")),
        };
        match listen() {
            Ok(()) => Ok((socket.into(), path)),
            Err(source) => Err(ListenError::Unix { path: path.path.clone(), source }),
        }
    }
}

impl SocketPathLock {
    fn acquire(socket_path: &Path) -> io::Result<SocketPathLock> {
        let mut path = socket_path.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..LOCK_ATTEMPTS {
            let file = open_lock(&path)?;
            match file.try_lock() {
                Ok(()) => (),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, "another node has it"));
                }
                // If locks do not work here, a conflict is noticed when this socket is to listen.
                Err(TryLockError::Error(error)) => {
                    log::debug!("{} cannot be locked: {error}", path.display());
                    return Ok(SocketPathLock { path, file });
                }
            }
            let opened = file.metadata()?;
            // Its last owner may have removed the file after it was opened here: a lock on it excludes
            // nobody.
            if FileId::at_nofollow(&path) == Some(FileId::of(&opened)) {
                return Ok(SocketPathLock { path, file });
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "other nodes keep taking and releasing its lock"))
    }
}

impl Drop for SocketPathLock {
    fn drop(&mut self) {
        let ours = self.file.metadata().ok().as_ref().map(FileId::of);
        if ours.is_some_and(|ours| FileId::at_nofollow(&self.path) == Some(ours)) {
            // If it stays behind, it is not locked.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens the lock file, creating it if there is none. It will be removed in the end, so it must not belong to
/// anything else: it has to be empty.
fn open_lock(path: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).expect("open(2) takes its flags as an int");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(no_follow);
    let file = match options.clone().write(true).create(true).truncate(false).open(path) {
        // Left behind by a node of another user: a read-only descriptor suffices for the lock.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => options.open(path)?,
        opened => opened?,
    };
    let found = file.metadata()?;
    if found.is_file() && found.len() == 0 {
        Ok(file)
    } else {
        let what = format!("{} exists and is not its lock", path.display());
        Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if self.file.is_some_and(|file| FileId::at_nofollow(&self.path) == Some(file)) {
            // If it stays behind, the next start treats it as stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes way for a new socket, unless a process listens there or the path leads to something else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there and is no socket"));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // It would wait for a process that listens and accepts nothing, if as many already wait as may.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::storage::TestDir;

    #[test]
    fn a_socket_can_be_connected_to_and_its_path_goes_with_it() {
        let directory = TestDir::new();
        let path = directory.path().join("s");
        let bound = UnixSocket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        let (_listener, socket_path) = bound.listen().unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket_path);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_where_somebody_listens_and_accepts_nothing_is_in_use() {
        let directory = TestDir::new();
        let path = directory.path().join("s");
        let listening = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listening.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listening.listen(0).unwrap();
        for _ in 0..3 {
            let refused = UnixSocket::bind(&path).unwrap_err().to_string();
            assert!(refused.contains("somebody listens there"), "{refused}");
        }
        assert!(path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let directory = TestDir::new();
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        UnixSocket::bind(&path).unwrap().listen().unwrap();
    }

    #[test]
    fn a_socket_of_another_program_that_listens_is_left_to_it() {
        let directory = TestDir::new();
        let path = directory.path().join("s");
        let _other = UnixListener::bind(&path).unwrap();
        let error = UnixSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("somebody listens there"), "{error}");
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn another_file_is_never_removed() {
        let directory = TestDir::new();
        let path = directory.path().join("s");
        fs::write(&path, "precious").unwrap();
        let error = UnixSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("is no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let bound = UnixSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_on_which_nobody_listens_yet_is_not_taken_from_its_node() {
        let directory = TestDir::new();
        let path = directory.path().join("s");
        let bound = UnixSocket::bind(&path).unwrap();
        let error = UnixSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("another node has it"), "{error}");
        let (_listener, socket_path) = bound.listen().unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket_path);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        drop(UnixSocket::bind(&path).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_whose_path_is_gone_or_taken_does_not_listen_in_silence() {
        let directory = TestDir::new();
        let path = directory.path().join("s");
        let bound = UnixSocket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let error = bound.listen().unwrap_err();
        assert!(error.to_string().contains("removed"), "{error}");
        let bound = UnixSocket::bind(&path).unwrap();
        // As a program does that does not know the lock.
        fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        let error = bound.listen().unwrap_err();
        assert!(error.to_string().contains("taken its place"), "{error}");
        UnixStream::connect(&path).unwrap();
        drop(other);
    }

    #[test]
    fn a_lock_that_a_killed_process_left_hinders_nobody_and_another_file_is_left_alone() {
        let directory = TestDir::new();
        let (path, lock) = (directory.path().join("s"), directory.path().join("s.lock"));
        drop(UnixListener::bind(&path).unwrap());
        fs::write(&lock, "").unwrap();
        drop(UnixSocket::bind(&path).unwrap());
        assert!(!lock.exists());
        fs::write(&lock, "precious").unwrap();
        let error = UnixSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("s.lock exists"), "{error}");
        assert_eq!(fs::read_to_string(&lock).unwrap(), "precious");
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_an_error() {
        let path = std::env::temp_dir().join("x".repeat(200));
        assert!(matches!(UnixSocket::bind(&path), Err(ListenError::Unix { .. })));
    }
}
