//! The server's configuration, and why it may fail to start.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::stop_requests::StopRequests;
use crate::advice;
use crate::codec::DecodeError;
use crate::http::{self, Serves};
use crate::node::NodeConfig;
use crate::storage::StoreError;

/// What the server needs besides a store. It gets listeners and not addresses: errors of binding concern the
/// caller, which binds the ports.
#[derive(Debug)]
pub struct ServerConfig {
    /// The node's configuration. `raft.me` is the store's identity.
    pub node: NodeConfig,
    /// `host:port` where other nodes reach this one.
    pub peer_address: String,
    /// `host:port` where clients reach this node; redirects name it.
    pub client_address: String,
    /// Where peers and operators connect; at least one.
    pub peer_listeners: Vec<TcpListener>,
    /// Where clients connect; at least one, and the first is a TCP port.
    pub client_listeners: Vec<ClientListener>,
    /// The limits and timeouts of HTTP. What is served depends on the listener.
    pub http: http::Config,
    /// Every setting in force, by the name of its flag. Only shown in the status.
    pub settings: Vec<(String, String)>,
    /// The maximum number of client connections; `None` for as many as the limit of open files permits.
    pub client_connections_max: Option<u32>,
    /// How many lines were left out of the process's log. The logger counts them; the metrics show the
    /// number.
    pub log_lines_left_out: Arc<AtomicU64>,
    /// Where requests to stop come from.
    pub stop: StopRequests,
}

/// A place where clients connect.
#[derive(Debug)]
pub struct ClientListener {
    /// The listening socket.
    pub socket: ClientSocket,
    /// What is served there.
    pub serves: Serves,
}

/// A listening socket.
#[derive(Debug)]
pub enum ClientSocket {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix-domain socket with a name in the file system.
    Unix(UnixListener),
}

/// Why a server could not start or continue.
#[derive(Debug)]
pub enum ServerError {
    /// The store was made to join a cluster, which has not accepted it yet.
    NotAMember,
    /// No peer would accept this address.
    BadAddress {
        /// The address.
        address: String,
    },
    /// The limit of open files leaves no room for clients.
    FewDescriptors {
        /// The limit.
        limit: u64,
        /// The lowest with which this node runs.
        needed: u64,
    },
    /// The store failed, either when it published its addresses or when it was closed.
    Store(StoreError),
    /// The state in the store is not that of a counter.
    State {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The operating system refused something that the loop needs.
    Io {
        /// What the server was doing.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl ServerError {
    /// For `map_err`: names what was being done.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> ServerError {
        move |source| ServerError::Io { doing, source }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::NotAMember => {
                f.write_str("this store has not been accepted by a cluster yet: run the join again")
            }
            ServerError::BadAddress { address } => {
                write!(f, "{address:?} is not an address of the form HOST:PORT that other nodes could use")
            }
            ServerError::FewDescriptors { limit, needed } => write!(
                f,
                "the limit of open files is {limit}, and a node needs {needed} or more: raise it (ulimit -n \
                 {needed}, or systemd's LimitNOFILE={needed})"
            ),
            ServerError::Store(error) => error.fmt(f),
            ServerError::State { path, error } => write!(
                f,
                "the state in the store at {} cannot be read: {error}: run it with the version of ticketd \
                 that wrote it, or {}",
                path.display(),
                advice::JOIN_ANEW
            ),
            ServerError::Io { doing, source } => {
                write!(f, "{doing} failed: {source}")?;
                advice::about_limit(source).map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
            }
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServerError::NotAMember | ServerError::BadAddress { .. } | ServerError::FewDescriptors { .. } => {
                None
            }
            ServerError::Store(error) => Some(error),
            ServerError::State { error, .. } => Some(error),
            ServerError::Io { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_meets_a_limit_says_which_to_raise() {
        let said = |errno: rustix::io::Errno| ServerError::io("sharing the poll")(errno.into()).to_string();
        let too_many = said(rustix::io::Errno::MFILE);
        assert!(too_many.starts_with("sharing the poll failed: Too many open files"), "{too_many}");
        assert!(too_many.contains(": raise the limit of open files"), "{too_many}");
        assert!(said(rustix::io::Errno::AGAIN).contains(": raise the limit of processes and threads"));
        assert!(said(rustix::io::Errno::INVAL).ends_with("(os error 22)"));
    }
}
