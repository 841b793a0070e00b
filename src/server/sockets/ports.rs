//! Where connections arrive: TCP ports, for peers and for clients, and a Unix-domain socket.

use std::io;

use mio::net::{TcpListener, UnixListener};
use raft_core::Micros;
use rustix::io::Errno;

use super::stream::Stream;
use crate::advice::about_limit;
use crate::server::limits::ACCEPT_PAUSE_US;
use crate::server::narration::log_limit::LogLimit;

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

/// The ports at which connections of one kind arrive, each with the property that its connections share.
#[derive(Debug)]
pub(crate) struct Ports<T> {
    ports: Vec<(Port, T)>,
    /// The port that is asked first. Ports take turns, so none starves another.
    next: usize,
}

impl<T: Copy> Ports<T> {
    /// `name` says in the log what the ports are for.
    pub(crate) fn new(listeners: Vec<(Listener, T)>, name: &'static str) -> Ports<T> {
        let port = |(listener, shared)| (Port::new(listener, name), shared);
        Ports { ports: listeners.into_iter().map(port).collect(), next: 0 }
    }

    /// There may be a connection to accept at this port.
    pub(crate) fn on_event(&mut self, port_index: usize) {
        if let Some((port, _)) = self.ports.get_mut(port_index) {
            port.ready = true;
        }
    }

    /// There may be a connection to accept at any port, even though no event has said so yet.
    pub(crate) fn assume_all_ready(&mut self) {
        self.ports.iter_mut().for_each(|(port, _)| port.ready = true);
    }

    /// Whether there may be a connection to accept now.
    pub(crate) fn is_ready(&self, now: Micros) -> bool {
        self.ports.iter().any(|(port, _)| port.is_ready(now))
    }

    /// When the next pause ends.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.ports.iter().filter_map(|(port, _)| port.paused_until.filter(|_| port.ready)).min()
    }

    /// The next connection, if there is one, and the property of its port. If the machine is out of
    /// descriptors or memory, none is accepted for a while: waiting connections stay in the kernel's queue.
    pub(crate) fn accept(&mut self, now: Micros) -> Option<(Stream, T)> {
        for _ in 0..self.ports.len() {
            let port_index = self.next % self.ports.len();
            self.next = port_index + 1;
            let (port, shared) = &mut self.ports[port_index];
            if let Some(stream) = port.accept(now) {
                return Some((stream, *shared));
            }
        }
        None
    }
}

#[derive(Debug)]
struct Port {
    listener: Listener,
    name: &'static str,
    /// An event said that a connection is waiting, and no accept since has found none.
    ready: bool,
    paused_until: Option<Micros>,
    complaints: LogLimit,
}

impl Port {
    fn new(listener: Listener, name: &'static str) -> Port {
        Port { listener, name, ready: false, paused_until: None, complaints: LogLimit::default() }
    }

    fn is_ready(&self, now: Micros) -> bool {
        self.ready && self.paused_until.is_none_or(|until| until <= now)
    }

    fn accept(&mut self, now: Micros) -> Option<Stream> {
        while self.is_ready(now) {
            match self.listener.accept() {
                Ok(stream) => {
                    self.paused_until = None;
                    return Some(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) if is_the_connections_own(&error) => {}
                Err(error) => {
                    self.paused_until = Some(now.plus(ACCEPT_PAUSE_US));
                    if let Some(left_out) = self.complaints.admit(now) {
                        let remedy = about_limit(&error).map_or_else(String::new, |todo| format!(": {todo}"));
                        log::warn!(
                            "a connection of a {} could not be accepted: {error}{remedy}{left_out}",
                            self.name
                        );
                    }
                }
            }
        }
        None
    }
}

/// Whether an error of accept(2) concerns only the connection being accepted, so that the next one may be
/// tried. On Linux, errors that have come for that connection from the network are among them.
fn is_the_connections_own(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::INTR
                | Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::NONET
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> (Listener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (Listener::Tcp(listener), address)
    }

    #[test]
    fn ports_take_turns_and_each_says_what_it_is_for() {
        let (one, at_one) = listener();
        let (other, at_other) = listener();
        let mut ports = Ports::new(vec![(one, 'a'), (other, 'b')], "test");
        let now = Micros(0);
        assert!(ports.accept(now).is_none(), "no event came");
        let _clients: Vec<_> = [at_one, at_one, at_other, at_other]
            .map(|address| std::net::TcpStream::connect(address).unwrap())
            .into();
        ports.on_event(0);
        ports.on_event(1);
        ports.on_event(2);
        let accepted: Vec<char> = std::iter::from_fn(|| ports.accept(now)).map(|(_, of)| of).collect();
        assert_eq!(accepted, ['a', 'b', 'a', 'b']);
        assert!(!ports.is_ready(now), "nobody is left");
    }
}
