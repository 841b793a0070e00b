//! The two ports of a node: bound early, so that a port in use is found before anything has changed, and opened
//! to the world only when the node is about to serve.
//!
//! Uses the system's resolver and sockets. It must never know what is said on them.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

use crate::address::Host;

/// How many connections may wait to be accepted: the most that Linux grants by default since 5.4.
const BACKLOG: i32 = 4096;

/// Two sockets that own their ports and do not listen yet: whoever connects is refused.
#[derive(Debug)]
pub(super) struct Bound {
    raft: BoundPort,
    http: BoundPort,
}

#[derive(Debug)]
struct BoundPort {
    socket: Socket,
    address: SocketAddr,
    flag: &'static str,
}

/// Binds both ports on the first address of `host` where that is possible; port 0 finds a free one.
///
/// # Errors
/// [`ListenError`], with the flag that the operator would have to change.
pub(super) fn bind(host: &Host, raft_port: u16, http_port: u16) -> Result<Bound, ListenError> {
    let mut error = None;
    for address in resolve(host)? {
        match bind_both(address, raft_port, http_port) {
            Ok(bound) => return Ok(bound),
            Err(failed) => error = Some(failed),
        }
    }
    Err(error.unwrap_or_else(|| ListenError::Unresolved {
        host: host.to_string(),
        source: io::Error::from(io::ErrorKind::NotFound),
    }))
}

impl Bound {
    /// The port that is really bound for the other members.
    #[must_use]
    pub(super) fn raft_port(&self) -> u16 {
        self.raft.address.port()
    }

    /// The port that is really bound for clients.
    #[must_use]
    pub(super) fn http_port(&self) -> u16 {
        self.http.address.port()
    }

    /// Lets the other members connect already: they may as soon as the cluster has taken this node in, and find
    /// an answer when it serves.
    ///
    /// # Errors
    /// As [`Bound::listen`].
    pub(super) fn admit_members(&self) -> Result<(), ListenError> {
        self.raft.open()
    }

    /// Opens both: for the other members first, for clients second.
    ///
    /// # Errors
    /// [`ListenError::Socket`], [`ListenError::InUse`] where another process was bound to the port at the same
    /// time and was quicker.
    pub(super) fn listen(self) -> Result<(TcpListener, TcpListener), ListenError> {
        Ok((self.raft.listen()?, self.http.listen()?))
    }
}

impl BoundPort {
    fn bind(address: SocketAddr, flag: &'static str) -> Result<BoundPort, ListenError> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            // A restart need not wait for the connections of the last run to be forgotten by the kernel.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            let bound = socket.local_addr()?.as_socket();
            Ok(BoundPort { socket, address: bound.unwrap_or(address), flag })
        };
        bind().map_err(|source| ListenError::at(address, flag, source))
    }

    fn listen(self) -> Result<TcpListener, ListenError> {
        self.open()?;
        Ok(self.socket.into())
    }

    fn open(&self) -> Result<(), ListenError> {
        self.socket.listen(BACKLOG).map_err(|source| ListenError::at(self.address, self.flag, source))
    }
}

fn bind_both(address: IpAddr, raft_port: u16, http_port: u16) -> Result<Bound, ListenError> {
    let raft = BoundPort::bind(SocketAddr::new(address, raft_port), "--raft_port")?;
    let http = BoundPort::bind(SocketAddr::new(address, http_port), "--http_port")?;
    // Sockets that do not listen yet may share a port, where both allow addresses to be used again.
    if raft.address == http.address {
        return Err(ListenError::InUse { address: http.address, flag: http.flag });
    }
    Ok(Bound { raft, http })
}

fn resolve(host: &Host) -> Result<Vec<IpAddr>, ListenError> {
    match host {
        Host::Address(address) => Ok(vec![*address]),
        Host::Name(name) => match (name.as_str(), 0).to_socket_addrs() {
            Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
            Err(source) => Err(ListenError::Unresolved { host: name.clone(), source }),
        },
    }
}

/// Why a node can not listen where it was told to.
#[derive(Debug)]
pub(super) enum ListenError {
    /// The host has no address.
    Unresolved {
        /// As given.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Something else has the port.
    InUse {
        /// Where.
        address: SocketAddr,
        /// Which flag chooses it.
        flag: &'static str,
    },
    /// The port is one that only the system may use.
    Denied {
        /// Where.
        address: SocketAddr,
        /// Which flag chooses it.
        flag: &'static str,
    },
    /// The host is another machine's.
    NotOurs {
        /// Its address.
        address: IpAddr,
    },
    /// The system refuses for another reason.
    Socket {
        /// Where.
        address: SocketAddr,
        /// What it says.
        source: io::Error,
    },
}

impl ListenError {
    fn at(address: SocketAddr, flag: &'static str, source: io::Error) -> ListenError {
        let kind = source.kind();
        if kind == io::ErrorKind::AddrInUse {
            ListenError::InUse { address, flag }
        } else if kind == io::ErrorKind::PermissionDenied {
            ListenError::Denied { address, flag }
        } else if kind == io::ErrorKind::AddrNotAvailable {
            ListenError::NotOurs { address: address.ip() }
        } else {
            ListenError::Socket { address, source }
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::Unresolved { host, source } => write!(
                f,
                "the host '{host}' does not resolve ({source}): give an address or a name of this machine with --host"
            ),
            ListenError::InUse { address, flag } => {
                write!(f, "{address} is in use: stop what listens there, or choose another port with {flag}")
            }
            ListenError::Denied { address, flag } => write!(
                f,
                "the system does not permit listening on {address}: choose a port above 1023 with {flag}"
            ),
            ListenError::NotOurs { address } => write!(
                f,
                "{address} is not an address of this machine: give one that is with --host, and what others use \
                 to reach it with --advertise"
            ),
            ListenError::Socket { address, source } => {
                write!(f, "can not listen on {address} ({source}): choose another address with --host")
            }
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ListenError::Unresolved { source, .. } | ListenError::Socket { source, .. } => Some(source),
            ListenError::InUse { .. } | ListenError::Denied { .. } | ListenError::NotOurs { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn free_ports_are_found_and_nobody_can_connect_before_listen() {
        let bound = bind(&Host::LOOPBACK, 0, 0).unwrap();
        assert_ne!(bound.raft_port(), bound.http_port());
        let address = bound.http.address;
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let (raft, http) = bound.listen().unwrap();
        assert_eq!(http.local_addr().unwrap(), address);
        TcpStream::connect(address).unwrap();
        TcpStream::connect(raft.local_addr().unwrap()).unwrap();
    }

    #[test]
    fn members_are_admitted_before_clients_and_keep_their_connections() {
        let bound = bind(&Host::LOOPBACK, 0, 0).unwrap();
        bound.admit_members().unwrap();
        let early = TcpStream::connect(bound.raft.address).unwrap();
        assert!(TcpStream::connect(bound.http.address).is_err());
        let (raft, _http) = bound.listen().unwrap();
        assert_eq!(raft.accept().unwrap().1, early.local_addr().unwrap());
    }

    #[test]
    fn a_port_that_is_listened_on_is_named_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        for (raft_port, http_port, flag) in [(port, 0, "--raft_port"), (0, port, "--http_port")] {
            let error = bind(&Host::LOOPBACK, raft_port, http_port).unwrap_err();
            let said = error.to_string();
            assert!(said.contains("is in use") && said.ends_with(flag), "{said}");
        }
    }

    #[test]
    fn one_port_can_not_serve_members_and_clients() {
        let free = bind(&Host::LOOPBACK, 0, 0).unwrap().raft_port();
        let error = bind(&Host::LOOPBACK, free, free).unwrap_err();
        assert!(matches!(error, ListenError::InUse { flag: "--http_port", .. }), "{error}");
    }

    #[test]
    fn a_host_of_another_machine_and_one_that_does_not_resolve_are_told_apart() {
        // RFC 5737 and RFC 6761 set these aside: no machine has the one, no resolver the other.
        let error = bind(&"192.0.2.1".parse().unwrap(), 0, 0).unwrap_err();
        assert!(matches!(error, ListenError::NotOurs { .. }), "{error}");
        let error = bind(&"nowhere.invalid".parse().unwrap(), 0, 0).unwrap_err();
        assert!(matches!(error, ListenError::Unresolved { .. }), "{error}");
    }

    #[test]
    fn names_and_ipv6_are_bound_like_addresses() {
        bind(&"localhost".parse().unwrap(), 0, 0).unwrap();
        match bind(&"::1".parse().unwrap(), 0, 0) {
            Ok(bound) => assert!(bound.raft.address.is_ipv6()),
            // A machine without IPv6 has no such address.
            Err(error) => assert!(!matches!(error, ListenError::InUse { .. }), "{error}"),
        }
    }
}
