//! Where a member that was named as `HOST:PORT` can be asked, and how it is reached.
//!
//! It uses the system's resolver and sockets, and blocks. It must never know what is asked.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::codec::MEMBERS_MAX;
use crate::commands::patience::{Patience, TICK};

/// How long one address may take to accept a connection: several round trips around the earth.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Finds the addresses of a `HOST:PORT`, as long as there is patience.
pub(crate) type LookUp<'a> = &'a dyn Fn(&str, &Patience<'_>) -> io::Result<Vec<SocketAddr>>;

/// Asks the operating system.
pub(crate) fn look_up(host_and_port: &str, patience: &Patience<'_>) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host_and_port.parse() {
        return Ok(vec![address]);
    }
    let name = host_and_port.to_owned();
    in_time(patience, move || Ok(name.to_socket_addrs()?.collect()))
}

/// Does something that blocks, perhaps for minutes, and waits for the outcome as long as there is patience.
/// After that, its thread goes on in vain: only the end of the process interrupts the system's resolver.
fn in_time<T: Send + 'static>(
    patience: &Patience<'_>,
    block: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, outcome) = mpsc::sync_channel(1);
    // If nobody waits any more, nobody is told.
    let run = move || drop(sender.send(block()));
    thread::Builder::new().name("resolver".into()).spawn(run)?;
    loop {
        match outcome.recv_timeout(TICK) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) => {
                patience.check().map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))?;
            }
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the resolver failed")),
        }
    }
}

/// Where a member is asked: as it was named, or at each of its addresses if it has several. One name may
/// stand for all members, and for this node too, which listens already and answers nobody before it has
/// joined: so each address has to be asked, not only the first that accepts a connection. A single address
/// is left to [`connect`], which looks the name up again: whatever is said about the member then has the name
/// that the operator gave.
pub(crate) fn addresses_of(
    member: &str,
    look_up: LookUp<'_>,
    patience: &Patience<'_>,
) -> io::Result<Vec<String>> {
    let found = look_up(member, patience)?;
    if found.len() > 1 {
        return Ok(found.iter().take(MEMBERS_MAX).map(ToString::to_string).collect());
    }
    Ok(vec![member.to_owned()])
}

/// Connects to the first address that accepts.
pub(crate) fn connect(address: &str, patience: &Patience<'_>) -> io::Result<TcpStream> {
    let mut error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in look_up(address, patience)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::server::StopRequests;

    #[test]
    fn an_address_needs_no_resolver_and_a_name_is_looked_up() {
        let impatient = Patience::lasting(Duration::ZERO);
        let found = look_up("127.0.0.1:80", &impatient).unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        let patience = Patience::lasting(Duration::from_secs(60));
        assert!(look_up("localhost:80", &patience).unwrap().iter().all(|address| address.port() == 80));
        assert!(look_up("no port", &patience).is_err());
    }

    #[test]
    fn what_hangs_is_waited_for_as_long_as_there_is_patience() {
        let (_never, hangs) = mpsc::channel::<()>();
        let (read_end, mut write_end) = UnixStream::pair().unwrap();
        let stop = StopRequests::on(read_end).unwrap();
        write_end.write_all(&[1]).unwrap();
        let patience = Patience::until_stopped(&stop);
        let outcome = in_time(&patience, move || hangs.recv().map_err(io::Error::other));
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(patience.check().is_err(), "the request to stop is not forgotten");
    }
}
