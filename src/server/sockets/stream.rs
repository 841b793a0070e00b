//! A connection of either kind: TCP, or a Unix-domain socket.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Source as EventSource;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

/// A connection, accepted or dialled.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Sends without delay. If this fails, answers come late and nothing worse.
    pub(crate) fn set_nodelay(&self) {
        match self {
            Stream::Tcp(stream) => {
                let _ = stream.set_nodelay(true);
            }
            // A Unix-domain socket never delays anything.
            Stream::Unix(_) => {}
        }
    }

    /// The address of the other side; `None` if it has none or is no longer known.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn source(&mut self) -> &mut dyn EventSource {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl EventSource for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().register(registry, token, interest)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        self.source().reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}
