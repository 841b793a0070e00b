//! Turns listeners into ports that the loop watches.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use mio::{Interest, Registry};

use super::ports::{Listener, Ports};
use crate::http::Serves;
use crate::server::config::{ClientListener, ClientSocket, ServerConfig, ServerError};
use crate::server::token::Source;
use crate::storage::Listening;

/// The first addresses where this node listens, and which node it is.
pub(crate) fn addresses(config: &ServerConfig) -> Result<Listening, ServerError> {
    Ok(Listening {
        peer_address: local_address(config.peer_listeners.first())?,
        client_address: local_address(config.client_listeners.iter().find_map(tcp))?,
        incarnation: config.node.raft.me.incarnation,
    })
}

/// Starts to watch the ports for peers.
pub(crate) fn open_for_peers(
    registry: &Registry,
    listeners: Vec<TcpListener>,
) -> Result<Ports<()>, ServerError> {
    let open = |(port_index, listener)| {
        let listener = open_tcp_port(registry, listener, Source::PeerPort(port_index))?;
        Ok((listener, ()))
    };
    let listeners = listeners.into_iter().enumerate().map(open).collect::<Result<_, ServerError>>()?;
    Ok(Ports::new(listeners, "peer"))
}

/// Starts to watch the ports and the socket for clients.
pub(crate) fn open_for_clients(
    registry: &Registry,
    listeners: Vec<ClientListener>,
) -> Result<Ports<Serves>, ServerError> {
    let open = |(port_index, listener)| {
        let ClientListener { socket, serves } = listener;
        let source = Source::ClientPort(port_index);
        let listener = match socket {
            ClientSocket::Tcp(listener) => open_tcp_port(registry, listener, source)?,
            ClientSocket::Unix(listener) => open_unix_port(registry, listener, source)?,
        };
        Ok((listener, serves))
    };
    let listeners = listeners.into_iter().enumerate().map(open).collect::<Result<_, ServerError>>()?;
    Ok(Ports::new(listeners, "client"))
}

fn open_tcp_port(
    registry: &Registry,
    listener: TcpListener,
    source: Source,
) -> Result<Listener, ServerError> {
    listener.set_nonblocking(true).map_err(ServerError::io("opening a port"))?;
    let mut listener = mio::net::TcpListener::from_std(listener);
    let outcome = registry.register(&mut listener, source.token(), Interest::READABLE);
    outcome.map_err(ServerError::io("watching a port"))?;
    Ok(Listener::Tcp(listener))
}

fn open_unix_port(
    registry: &Registry,
    listener: UnixListener,
    source: Source,
) -> Result<Listener, ServerError> {
    listener.set_nonblocking(true).map_err(ServerError::io("opening a Unix-domain socket"))?;
    let mut listener = mio::net::UnixListener::from_std(listener);
    let outcome = registry.register(&mut listener, source.token(), Interest::READABLE);
    outcome.map_err(ServerError::io("watching a Unix-domain socket"))?;
    Ok(Listener::Unix(listener))
}

fn tcp(listener: &ClientListener) -> Option<&TcpListener> {
    match &listener.socket {
        ClientSocket::Tcp(listener) => Some(listener),
        ClientSocket::Unix(_) => None,
    }
}

fn local_address(listener: Option<&TcpListener>) -> Result<String, ServerError> {
    let listener = listener.ok_or(io::ErrorKind::AddrNotAvailable.into());
    let address = listener.and_then(TcpListener::local_addr);
    Ok(address.map_err(ServerError::io("asking for the address of a port"))?.to_string())
}

/// Where this node listens apart from the first ports, each as a line of the log.
pub(crate) fn further_addresses(config: &ServerConfig) -> Result<Vec<String>, ServerError> {
    let mut lines = Vec::new();
    for listener in config.peer_listeners.iter().skip(1) {
        lines.push(format!("peers also at {}", local_address(Some(listener))?));
    }
    for ClientListener { socket, serves } in config.client_listeners.iter().skip(1) {
        let who = match serves {
            Serves::Everything | Serves::IdsOnly => "clients also",
            Serves::PagesOnly => "metrics",
        };
        match socket {
            ClientSocket::Tcp(listener) => {
                lines.push(format!("{who} at {}", local_address(Some(listener))?));
            }
            ClientSocket::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                let path = path.unwrap_or("a Unix-domain socket".as_ref());
                lines.push(format!("{who} at {}", path.display()));
            }
        }
    }
    Ok(lines)
}
