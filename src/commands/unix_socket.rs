//! A Unix-domain socket in the file system: made where nobody else has one, and removed when the node ends.
//!
//! It must never remove a file that is not a socket, nor a socket on which somebody listens.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::listen::{BACKLOG, ListenError};

/// A socket with a name in the file system, which goes with this value. Nobody can connect before
/// [`UnixSocket::listen`].
#[derive(Debug)]
pub(super) struct UnixSocket {
    socket: Socket,
    name: Name,
}

/// A name in the file system, and what it stands for. It is removed with this value if it still stands for
/// that.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    /// Device and inode.
    file: Option<(u64, u64)>,
}

impl UnixSocket {
    /// Makes the socket. What a process has left that was killed is removed first.
    ///
    /// # Errors
    /// [`ListenError::Unix`].
    pub(super) fn bind(path: &Path) -> Result<UnixSocket, ListenError> {
        let failed = |source| ListenError::Unix { path: path.to_owned(), source };
        remove_stale(path).map_err(failed)?;
        let bind = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            Ok(UnixSocket { socket, name: Name { path: path.to_owned(), file: file_at(path) } })
        };
        bind().map_err(failed)
    }

    /// Lets clients connect. The name goes with the second part.
    ///
    /// # Errors
    /// [`ListenError::Unix`].
    pub(super) fn listen(self) -> Result<(UnixListener, Name), ListenError> {
        let UnixSocket { socket, name } = self;
        match socket.listen(BACKLOG) {
            Ok(()) => Ok((socket.into(), name)),
            Err(source) => Err(ListenError::Unix { path: name.path.clone(), source }),
        }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.file.is_some() && file_at(&self.path) == self.file {
            // What is left behind is taken for stale by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Makes way for a new socket, unless somebody listens there or the name stands for something else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there and is no socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("ticketd-unix-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_socket_can_be_connected_to_and_its_name_goes_with_it() {
        let directory = Directory::new("life");
        let path = directory.0.join("s");
        let bound = UnixSocket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_err());
        let (_listener, name) = bound.listen().unwrap();
        UnixStream::connect(&path).unwrap();
        let error = UnixSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("somebody listens there"), "{error}");
        drop(name);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let directory = Directory::new("stale");
        let path = directory.0.join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        UnixSocket::bind(&path).unwrap().listen().unwrap();
    }

    #[test]
    fn another_file_is_never_removed() {
        let directory = Directory::new("foreign");
        let path = directory.0.join("s");
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
    fn a_path_that_is_too_long_for_a_socket_is_an_error() {
        let path = std::env::temp_dir().join("x".repeat(200));
        assert!(matches!(UnixSocket::bind(&path), Err(ListenError::Unix { .. })));
    }
}
