//! Where a member that was named as `HOST:PORT` can be asked, and how it is reached.
//!
//! It uses the system's resolver and sockets, and blocks. It must never know what is asked.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::codec::MEMBERS_MAX;

/// How long one address may take to accept a connection: several round trips around the earth.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Finds the addresses of a `HOST:PORT`; may block.
pub(super) type LookUp<'a> = &'a dyn Fn(&str) -> io::Result<Vec<SocketAddr>>;

/// Asks the operating system.
pub(super) fn look_up(host_and_port: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(host_and_port.to_socket_addrs()?.collect())
}

/// Where a member is asked: as it was named, or at each of its addresses if it has several. One name may
/// stand for all members, and for this node too, which listens already and answers nobody before it has
/// joined: so each address has to be asked, not only the first that accepts a connection. A single address
/// is left to [`connect`], which looks the name up again: whatever is said about the member then has the name
/// that the operator gave.
pub(super) fn addresses_of(member: &str, look_up: LookUp<'_>) -> io::Result<Vec<String>> {
    let found = look_up(member)?;
    if found.len() > 1 {
        return Ok(found.iter().take(MEMBERS_MAX).map(ToString::to_string).collect());
    }
    Ok(vec![member.to_owned()])
}

/// Connects to the first address that accepts.
pub(super) fn connect(address: &str) -> io::Result<TcpStream> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in look_up(address)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}
