//! What the server is told, how it ends, and why it may fail to begin.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::signals::StopRequests;
use crate::advice;
use crate::codec::DecodeError;
use crate::http::{self, Serves};
use crate::node::NodeConfig;
use crate::storage::StoreError;

/// What the server needs beside a store. Whoever binds the ports is whom their errors concern, so it gets
/// listeners and not addresses.
#[derive(Debug)]
pub struct ServerConfig {
    /// The node's part. `raft.me` is the store's identity.
    pub node: NodeConfig,
    /// `host:port` where the other nodes reach this one.
    pub peer_address: String,
    /// `host:port` where clients reach this node; what redirects name.
    pub client_address: String,
    /// Where peers and operators connect: one at least.
    pub peer_listeners: Vec<TcpListener>,
    /// Where clients connect: one at least, and the first by TCP.
    pub client_listeners: Vec<ClientListener>,
    /// The bounds and time-outs of HTTP. What is served is up to each listener.
    pub http: http::Config,
    /// Every setting in force, by the name of its flag: shown with the status, and not used otherwise.
    pub settings: Vec<(String, String)>,
    /// The most connections of clients; `None` for as many as the limit of open files permits.
    pub client_connections_max: Option<u32>,
    /// How many lines of the process's log were left out, whoever counts them; the metrics show it.
    pub log_lines_left_out: Arc<AtomicU64>,
    /// Who may stop it.
    pub stop: StopRequests,
}

/// A place where clients connect.
#[derive(Debug)]
pub struct ClientListener {
    /// The socket, which listens.
    pub socket: ClientSocket,
    /// What is to be found there.
    pub serves: Serves,
}

/// A socket that listens.
#[derive(Debug)]
pub enum ClientSocket {
    /// On a TCP port.
    Tcp(TcpListener),
    /// With a name in the file system.
    Unix(UnixListener),
}

/// How a server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It was asked to stop, and did so in order. The store is closed.
    Stopped,
    /// This node served, and then left the cluster. The store is closed.
    Removed,
    /// This node was removed from the cluster before it was started. The store is closed.
    RemovedBefore,
    /// It was asked to stop a second time, so nothing more was awaited: the process must exit now.
    Interrupted,
}

/// Why a server could not begin, or go on.
#[derive(Debug)]
pub enum ServerError {
    /// The store asked to join a cluster, and has not heard that it may.
    NotAMember,
    /// An address that no peer would accept.
    BadAddress {
        /// The address.
        address: String,
    },
    /// The store failed, when it was opened for others to see or when it was closed.
    Store(StoreError),
    /// The store holds a state that is not a counter.
    State(DecodeError),
    /// The operating system refused something that the loop cannot do without.
    Io {
        /// What was being done.
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
            ServerError::Store(error) => error.fmt(f),
            ServerError::State(error) => write!(f, "the state in the store cannot be read: {error}"),
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
            ServerError::NotAMember | ServerError::BadAddress { .. } => None,
            ServerError::Store(error) => Some(error),
            ServerError::State(error) => Some(error),
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
