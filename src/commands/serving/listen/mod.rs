//! The ports and sockets that a node listens on: bound early, so that a port in use is found before anything
//! has changed, and opened only when the node is about to serve.
//!
//! This module opens sockets. It must never know what is sent over them.

mod addresses;
mod error;
mod unix_socket;

use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use self::addresses::{Address, ListenAddresses, covers};
use self::error::{FlagNames, ListenError};
pub(crate) use self::unix_socket::SocketPath;
use self::unix_socket::UnixSocket;
use crate::http::Serves;
use crate::server::{ClientListener, ClientSocket};
use crate::settings::Settings;

/// How many connections may wait to be accepted: the most that Linux grants by default since 5.4.
const BACKLOG: i32 = 4096;

/// How often another free port is tried when one was free on one address and taken on the next.
const FREE_PORT_ATTEMPTS: u32 = 8;

/// Sockets that own their ports and do not listen yet: connections are refused.
#[derive(Debug)]
pub(crate) struct Bound {
    raft: Vec<BoundPort>,
    http: Vec<BoundPort>,
    metrics: Vec<BoundPort>,
    unix: Option<UnixSocket>,
}

/// Sockets that listen.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) peers: Vec<TcpListener>,
    pub(crate) clients: Vec<ClientListener>,
    /// To be kept until the node ends.
    pub(crate) unix_path: Option<SocketPath>,
}

#[derive(Debug)]
struct BoundPort {
    socket: Socket,
    address: SocketAddr,
    dual_stack: DualStack,
    flags: FlagNames,
}

/// Binds everything that the settings ask for, on every address of every host. Port 0 selects a free port,
/// which is then put into the settings.
///
/// # Errors
/// [`ListenError`], with the flag that the operator would have to change.
pub(crate) fn bind(settings: &mut Settings) -> Result<Bound, ListenError> {
    let host = "--host";
    let addresses = ListenAddresses::resolve(&settings.hosts, host)?;
    let raft = bind_port(&addresses, settings.raft_port, FlagNames { host, port: "--raft_port" })?;
    let http = bind_port(&addresses, settings.http_port, FlagNames { host, port: "--http_port" })?;
    let metrics = match settings.metrics_port {
        Some(port) => {
            let host = if settings.metrics_host.is_some() { "--metrics_host" } else { host };
            let addresses = ListenAddresses::resolve(settings.metrics_hosts(), host)?;
            bind_port(&addresses, port, FlagNames { host, port: "--metrics_port" })?
        }
        None => Vec::new(),
    };
    let bound = Bound { raft, http, metrics, unix: None };
    bound.check_distinct()?;
    settings.raft_port = port_of(&bound.raft).unwrap_or(settings.raft_port);
    settings.http_port = port_of(&bound.http).unwrap_or(settings.http_port);
    settings.metrics_port = port_of(&bound.metrics);
    let unix = match &mut settings.http_unix {
        Some(path) => {
            // A restart may happen in another working directory, and must create the same socket.
            let absolute = std::path::absolute(&*path).ok();
            *path =
                absolute.and_then(|path| path.into_os_string().into_string().ok()).unwrap_or(path.clone());
            Some(UnixSocket::bind(path.as_ref())?)
        }
        None => None,
    };
    Ok(Bound { unix, ..bound })
}

impl Bound {
    /// Lets the other members connect already: they may do so as soon as the cluster has taken this node in,
    /// and get an answer once it serves.
    ///
    /// # Errors
    /// As [`Bound::listen`].
    pub(crate) fn admit_members(&self) -> Result<(), ListenError> {
        self.raft.iter().try_for_each(BoundPort::open)
    }

    /// Opens everything: first for the other members, then for clients.
    ///
    /// # Errors
    /// [`ListenError::Socket`], [`ListenError::InUse`] if another process bound the port at the same time and
    /// was quicker.
    pub(crate) fn listen(self) -> Result<Listeners, ListenError> {
        let serves = if self.metrics.is_empty() { Serves::Everything } else { Serves::IdsOnly };
        let peers = self.raft.into_iter().map(BoundPort::listen).collect::<Result<_, _>>()?;
        let client = |serves| {
            move |port: BoundPort| Ok(ClientListener { socket: ClientSocket::Tcp(port.listen()?), serves })
        };
        let ids = self.http.into_iter().map(client(serves));
        let pages = self.metrics.into_iter().map(client(Serves::PagesOnly));
        let mut clients = ids.chain(pages).collect::<Result<Vec<_>, ListenError>>()?;
        let mut unix_path = None;
        if let Some(socket) = self.unix {
            let (listener, path) = socket.listen()?;
            clients.push(ClientListener { socket: ClientSocket::Unix(listener), serves });
            unix_path = Some(path);
        }
        Ok(Listeners { peers, clients, unix_path })
    }

    /// Two sockets that do not listen yet may share a port if both allow address reuse, so this is checked
    /// here.
    fn check_distinct(&self) -> Result<(), ListenError> {
        let all: Vec<&BoundPort> = self.raft.iter().chain(&self.http).chain(&self.metrics).collect();
        for (at, port) in all.iter().enumerate() {
            if all[..at].iter().any(|other| other.clashes_with(port)) {
                return Err(ListenError::InUse { address: port.address, flag: port.flags.port });
            }
        }
        Ok(())
    }
}

impl BoundPort {
    fn bind(address: SocketAddr, dual_stack: DualStack, flags: FlagNames) -> Result<BoundPort, ListenError> {
        let bind = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            // A restart need not wait until the kernel has forgotten the connections of the last run.
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(dual_stack == DualStack::No)?;
            }
            socket.bind(&address.into())?;
            let bound = socket.local_addr()?.as_socket();
            Ok(BoundPort { socket, address: bound.unwrap_or(address), dual_stack, flags })
        };
        bind().map_err(|source| ListenError::at(address, flags, source))
    }

    fn listen(self) -> Result<TcpListener, ListenError> {
        self.open()?;
        Ok(self.socket.into())
    }

    /// Whether at most one of the two can listen.
    fn clashes_with(&self, other: &BoundPort) -> bool {
        self.address.port() == other.address.port() && (self.covers(other) || other.covers(self))
    }

    /// Whether connections to the other's address would be accepted here, if the ports were the same.
    fn covers(&self, other: &BoundPort) -> bool {
        self.serves(other.address.ip())
    }

    /// Whether connections to this address of the machine are accepted here.
    fn serves(&self, theirs: IpAddr) -> bool {
        let ours = self.address.ip();
        let is_dual_stack = ours.is_ipv6() && self.dual_stack == DualStack::Yes;
        covers(ours, theirs) || (ours.is_unspecified() && is_dual_stack)
    }

    fn open(&self) -> Result<(), ListenError> {
        self.socket.listen(BACKLOG).map_err(|source| ListenError::at(self.address, self.flags, source))
    }
}

/// Whether a socket on `::` accepts IPv4 as well (RFC 3493 §5.3), whatever the machine's default is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum DualStack {
    Yes,
    /// IPv4 has sockets of its own.
    No,
}

/// Binds one port on all addresses.
fn bind_port(
    addresses: &ListenAddresses,
    port: u16,
    flags: FlagNames,
) -> Result<Vec<BoundPort>, ListenError> {
    let mut attempts = if port == 0 && addresses.distinct.len() > 1 { FREE_PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_port_once(addresses, port, flags) {
            Err(ListenError::InUse { .. }) if attempts > 0 => {}
            outcome => return outcome,
        }
    }
}

fn bind_port_once(
    addresses: &ListenAddresses,
    mut port: u16,
    flags: FlagNames,
) -> Result<Vec<BoundPort>, ListenError> {
    let ListenAddresses { distinct, hosts } = addresses;
    let has_ipv4 = distinct.iter().any(|address| address.ip.is_ipv4());
    let dual_stack = if has_ipv4 { DualStack::No } else { DualStack::Yes };
    let mut bound: Vec<BoundPort> = Vec::new();
    let mut missing = Vec::new();
    for Address { ip, dispensable } in distinct {
        match BoundPort::bind(SocketAddr::new(*ip, port), dual_stack, flags) {
            Ok(socket) => {
                port = socket.address.port();
                bound.push(socket);
            }
            Err(error @ (ListenError::NotOurs { .. } | ListenError::LinkLocal { .. })) if *dispensable => {
                missing.push((*ip, error));
            }
            Err(error) => return Err(error),
        }
    }
    // Of a host's addresses, one must be there: others may be told to reach this node by that host.
    let is_served = |host: &&Vec<IpAddr>| host.iter().any(|ip| bound.iter().any(|port| port.serves(*ip)));
    let unserved = hosts.iter().find(|host| !is_served(host));
    let why = unserved.and_then(|host| missing.into_iter().find(|(ip, _)| host.contains(ip)));
    why.map_or(Ok(bound), |(_, error)| Err(error))
}

fn port_of(bound: &[BoundPort]) -> Option<u16> {
    bound.first().map(|port| port.address.port())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{Ipv6Addr, TcpStream};

    use super::*;

    fn settings(hosts: &[&str]) -> Settings {
        let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
        Settings { hosts, raft_port: 0, http_port: 0, ..Settings::default() }
    }

    fn bind_on(hosts: &[&str]) -> Result<Bound, ListenError> {
        bind(&mut settings(hosts))
    }

    #[test]
    fn free_ports_are_found_and_nobody_can_connect_before_listen() {
        let mut settings = settings(&["127.0.0.1"]);
        let bound = bind(&mut settings).unwrap();
        assert_ne!(settings.raft_port, settings.http_port);
        let address = bound.http[0].address;
        assert_eq!(address.port(), settings.http_port);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let listeners = bound.listen().unwrap();
        TcpStream::connect(address).unwrap();
        TcpStream::connect(listeners.peers[0].local_addr().unwrap()).unwrap();
    }

    #[test]
    fn members_are_admitted_before_clients_and_keep_their_connections() {
        let bound = bind_on(&["127.0.0.1"]).unwrap();
        bound.admit_members().unwrap();
        let early = TcpStream::connect(bound.raft[0].address).unwrap();
        assert!(TcpStream::connect(bound.http[0].address).is_err());
        let listeners = bound.listen().unwrap();
        assert_eq!(listeners.peers[0].accept().unwrap().1, early.local_addr().unwrap());
    }

    #[test]
    fn a_port_that_is_listened_on_is_named_with_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let loopback = settings(&["127.0.0.1"]);
        for (mut settings, flag) in [
            (Settings { raft_port: port, ..loopback.clone() }, "--raft_port"),
            (Settings { http_port: port, ..loopback.clone() }, "--http_port"),
            (Settings { metrics_port: Some(port), ..loopback.clone() }, "--metrics_port"),
        ] {
            let said = bind(&mut settings).unwrap_err().to_string();
            assert!(said.contains("is in use") && said.ends_with(flag), "{said}");
        }
    }

    #[test]
    fn one_port_cannot_serve_members_and_clients() {
        let mut free = settings(&["127.0.0.1"]);
        drop(bind(&mut free).unwrap());
        let mut same = Settings { http_port: free.raft_port, ..free };
        let error = bind(&mut same).unwrap_err();
        assert!(matches!(error, ListenError::InUse { flag: "--http_port", .. }), "{error}");
    }

    #[test]
    fn a_host_of_another_machine_and_one_that_does_not_resolve_are_told_apart() {
        // Reserved by RFC 5737 and RFC 6761: no machine has the address, and no resolver knows the name.
        let error = bind_on(&["192.0.2.1"]).unwrap_err();
        assert!(matches!(error, ListenError::NotOurs { .. }), "{error}");
        let error = bind_on(&["nowhere.invalid"]).unwrap_err();
        assert!(matches!(error, ListenError::Unresolved { .. }), "{error}");
    }

    #[test]
    fn a_link_local_address_is_an_error_with_a_remedy_and_one_of_several_of_a_name_is_done_without() {
        if !has_ipv6() {
            return;
        }
        let said = bind_on(&["fe80::1"]).unwrap_err().to_string();
        assert!(said.starts_with("fe80::1 is link-local") && said.ends_with("with --host"), "{said}");
        let flags = FlagNames { host: "--host", port: "--raft_port" };
        let bound = bind_port(&named(&[&["127.0.0.1", "fe80::1"]]), 0, flags).unwrap();
        assert_eq!(bound.iter().map(|port| port.address.ip().to_string()).collect::<Vec<_>>(), ["127.0.0.1"]);
    }

    /// What several names lead to.
    fn named(hosts: &[&[&str]]) -> ListenAddresses {
        ListenAddresses::of(
            hosts.iter().map(|host| host.iter().map(|ip| ip.parse().unwrap()).collect()).collect(),
        )
    }

    #[test]
    fn a_name_all_of_whose_addresses_are_of_other_machines_is_refused_whatever_else_is_named() {
        const ELSEWHERE: &[&str] = &["192.0.2.1", "198.51.100.1"];
        let flags = FlagNames { host: "--host", port: "--raft_port" };
        for hosts in [&[ELSEWHERE][..], &[ELSEWHERE, &["127.0.0.1"]], &[&["127.0.0.1"], ELSEWHERE]] {
            let error = bind_port(&named(hosts), 0, flags).unwrap_err();
            assert!(matches!(error, ListenError::NotOurs { .. }), "{error}");
        }
        // Of this one, an address is here.
        let here = &["192.0.2.1", "127.0.0.2"];
        assert_eq!(bind_port(&named(&[here, &["127.0.0.1"]]), 0, flags).unwrap().len(), 2);
        // All of the addresses of this one are covered by another host.
        assert_eq!(bind_port(&named(&[ELSEWHERE, &["0.0.0.0"]]), 0, flags).unwrap().len(), 1);
    }

    #[test]
    fn a_host_for_pages_alone_that_is_of_no_use_is_named_with_its_own_flag() {
        for host in ["192.0.2.1", "nowhere.invalid"] {
            let metrics_host = Some(host.parse().unwrap());
            let mut of_pages = Settings { metrics_port: Some(0), metrics_host, ..settings(&["127.0.0.1"]) };
            let said = bind(&mut of_pages).unwrap_err().to_string();
            assert!(said.contains(host) && said.ends_with("with --metrics_host"), "{said}");
        }
    }

    /// Whether this machine has IPv6; without it, the tests do not use it.
    fn has_ipv6() -> bool {
        TcpListener::bind("[::1]:0").is_ok()
    }

    #[test]
    fn names_and_ipv6_are_bound_like_addresses() {
        bind_on(&["localhost"]).unwrap();
        if has_ipv6() {
            assert!(bind_on(&["::1"]).unwrap().raft[0].address.is_ipv6());
        }
    }

    #[test]
    fn several_hosts_have_the_same_ports_each_once() {
        let mut settings = settings(&["127.0.0.1", "127.0.0.2", "127.0.0.1"]);
        let bound = bind(&mut settings).unwrap();
        let addresses = |bound: &[BoundPort]| bound.iter().map(|port| port.address).collect::<Vec<_>>();
        let expected = |port| ["127.0.0.1", "127.0.0.2"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        assert_eq!(addresses(&bound.raft), expected(settings.raft_port));
        assert_eq!(addresses(&bound.http), expected(settings.http_port));
    }

    #[test]
    fn every_address_of_ipv6_takes_ipv4_too_unless_that_has_a_socket_of_its_own() {
        if !has_ipv6() {
            return;
        }
        let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED).to_string();
        for hosts in [&[everywhere.as_str()][..], &[&everywhere, "0.0.0.0"], &["127.0.0.1", &everywhere]] {
            let mut settings = settings(hosts);
            let bound = bind(&mut settings).unwrap();
            let _listeners = bound.listen().unwrap();
            for host in ["127.0.0.1", "::1"] {
                TcpStream::connect((host, settings.http_port)).unwrap();
            }
        }
    }

    #[test]
    fn what_is_covered_by_every_address_needs_no_socket_of_its_own() {
        let mut cases = vec![(vec!["127.0.0.1", "0.0.0.0", "127.0.0.2"], vec!["0.0.0.0"])];
        if has_ipv6() {
            cases.push((vec!["::", "::1"], vec!["::"]));
            cases.push((vec!["::1", "0.0.0.0", "127.0.0.1", "::"], vec!["0.0.0.0", "::"]));
            cases.push((vec!["::", "127.0.0.1"], vec!["::", "127.0.0.1"]));
        }
        for (hosts, expected) in cases {
            let bound = bind_on(&hosts).unwrap();
            let listened_on: Vec<String> =
                bound.http.iter().map(|port| port.address.ip().to_string()).collect();
            assert_eq!(listened_on, expected);
            bound.listen().unwrap();
        }
    }

    #[test]
    fn a_port_that_another_one_covers_is_in_use() {
        let everywhere: &[&str] = if has_ipv6() { &["0.0.0.0", "::"] } else { &["0.0.0.0"] };
        for host in everywhere {
            let mut free = settings(&[host]);
            drop(bind(&mut free).unwrap());
            let metrics_host = Some("127.0.0.1".parse().unwrap());
            let mut same = Settings { metrics_port: Some(free.http_port), metrics_host, ..free };
            let error = bind(&mut same).unwrap_err();
            assert!(matches!(error, ListenError::InUse { flag: "--metrics_port", .. }), "{host}: {error}");
        }
    }

    #[test]
    fn pages_have_a_listener_of_their_own_where_they_are_given_one() {
        let serves = |settings: &mut Settings| {
            let listeners = bind(settings).unwrap().listen().unwrap();
            listeners.clients.iter().map(|listener| listener.serves).collect::<Vec<_>>()
        };
        let mut settings = settings(&["127.0.0.1"]);
        assert_eq!(serves(&mut settings), [Serves::Everything]);
        settings.metrics_port = Some(0);
        settings.metrics_host = Some("127.0.0.2".parse().unwrap());
        assert_eq!(serves(&mut settings), [Serves::IdsOnly, Serves::PagesOnly]);
        assert!(settings.metrics_port > Some(0));
    }
}
