//! Which nodes a command can ask about the cluster that a store belongs to: the node that runs on the store
//! or, if it is stopped, the other members that it knows.
//!
//! This module uses the store and the node's status. It must never change either.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft_core::{Incarnation, Membership, NodeId, Peer};

use super::client::{AskError, AskProblem, ask, status};
use super::cluster_view;
use crate::advice::path_flag;
use crate::commands::Failure;
use crate::commands::patience::Patience;
use crate::identity::{ClusterId, Identity, Standing};
use crate::peer::AdminRequest;
use crate::storage::{self, Listening, Running, Store};

/// How long a running node may take to report its status: it needs no other node for that.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// A store that belongs to a cluster, and the cluster's members that can be asked.
#[derive(Debug)]
pub(crate) enum Contacts {
    /// A node runs on the store.
    Running(RunningNode),
    /// No node runs on the store.
    Stopped {
        /// The cluster.
        cluster: ClusterId,
        /// The node.
        me: Peer,
        /// The peer addresses of the other members, as far as the store knows them; empty if there are no
        /// others.
        others: Vec<String>,
    },
}

/// A node that runs on a store.
#[derive(Clone, Debug)]
pub(crate) struct RunningNode {
    /// The store.
    pub(crate) path: PathBuf,
    /// Its process id.
    pub(crate) pid: u32,
    /// Where its port for peers is reached from this machine: one of these.
    addresses: Vec<String>,
    incarnation: Incarnation,
}

impl Contacts {
    /// Looks at the store at `path`. If no node runs on it, the store is checked as at start-up, and closed
    /// again.
    ///
    /// # Errors
    /// [`Failure`] if there is no store, or if it is not sound or not that of a member.
    pub(crate) fn of(path: &Path) -> Result<Contacts, Failure> {
        if let Some(running) = storage::running(path)? {
            return Ok(Contacts::Running(reached_at(path, running)?));
        }
        storage::verify_in_child(path)?;
        let store = Store::open(path)?;
        let Identity { me, standing } = *store.identity();
        match standing {
            Standing::Joining => Err(Failure::runtime(format!(
                "the join of the store at {} did not finish: run the 'ticketd join' command again, or \
                 destroy the store with 'ticketd drop {}'",
                path.display(),
                path_flag(path)
            ))),
            Standing::Member { cluster, joined_at: _ } => {
                let membership = store.latest_membership();
                if membership.members.is_empty() {
                    return Err(Failure::runtime(not_heard_yet(path, me.id)));
                }
                Ok(Contacts::Stopped { cluster, me, others: others(&membership, me.id) })
            }
        }
    }

    /// The addresses to ask.
    pub(crate) fn addresses(&self) -> &[String] {
        match self {
            Contacts::Running(node) => &node.addresses,
            Contacts::Stopped { cluster: _, me: _, others } => others,
        }
    }

    /// The cluster and the node that this store belongs to.
    ///
    /// # Errors
    /// [`Failure`] if a running node does not tell, or another one answers in its place.
    pub(crate) fn identity(&self) -> Result<(ClusterId, Peer), Failure> {
        match self {
            Contacts::Running(node) => node.identity(),
            Contacts::Stopped { cluster, me, others: _ } => Ok((*cluster, *me)),
        }
    }
}

/// For a node that the cluster has taken in and that was stopped before it received any of the log.
fn not_heard_yet(path: &Path, id: NodeId) -> String {
    format!(
        "node {id} has not heard from its cluster yet, so its store at {} names nobody to ask: ask at a \
         member; 'ticketd leave --id {id}' there removes this node, and 'ticketd drop {}' here then destroys \
         its store",
        path.display(),
        path_flag(path)
    )
}

/// A node that listens, as reached from this machine.
///
/// # Errors
/// [`Failure`] if it does not listen (yet).
fn reached_at(path: &Path, running: Running) -> Result<RunningNode, Failure> {
    let Running { pid, listening } = running;
    match listening {
        Some(Listening { peer_address, client_address: _, incarnation }) => {
            let (path, addresses) = (path.to_owned(), on_this_machine(peer_address));
            Ok(RunningNode { path, pid, addresses, incarnation })
        }
        None => Err(Failure::runtime(format!(
            "process {pid} holds the store at {} and does not listen: if it is a node that starts, wait \
             until it does; if it is a command, until that ends",
            path.display()
        ))),
    }
}

/// Where this machine reaches what listens at `address`: nobody can be told to look at "every address".
fn on_this_machine(address: String) -> Vec<String> {
    let v4 = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string();
    let v6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port)).to_string();
    match address.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(every)) if every.ip().is_unspecified() => vec![v4(every.port())],
        // That is every IPv4 address too, and in many a container the loopback has no other.
        Ok(SocketAddr::V6(every)) if every.ip().is_unspecified() => vec![v6(every.port()), v4(every.port())],
        Ok(_) | Err(_) => vec![address],
    }
}

impl RunningNode {
    /// Its status, as JSON.
    ///
    /// # Errors
    /// [`Failure`] if it does not answer, or if another node answers in its place.
    pub(crate) fn status(&self) -> Result<String, Failure> {
        let patience = Patience::lasting(STATUS_PATIENCE);
        match ask(&self.addresses, &AdminRequest::Status, status, &patience) {
            Ok(json) => match cluster_view::parse_identity(&json) {
                Some((_, other)) if other.incarnation != self.incarnation => Err(self.answered_by(other)),
                // Of another version, it may not be understood; whoever relies on it checks.
                Some(_) | None => Ok(json),
            },
            // Only the node was asked, not its cluster.
            Err(AskError { problem: AskProblem::GaveUp { trouble }, .. }) => Err(Failure::runtime(format!(
                "the node did not answer in time ({trouble}): see its log; if it runs in a container, give \
                 the command there"
            ))),
            Err(error) => Err(Failure::runtime(error.problem.to_string())),
        }
    }

    /// The address is right where the node runs, and leads to another one from here.
    fn answered_by(&self, other: Peer) -> Failure {
        let (path, address) = (self.path.display(), self.shown_address());
        Failure::runtime(format!(
            "at {address}, node {other} answers, whose store is not the one at {path}: the node of that \
             store runs in another network, such as that of a container: give the command there; nothing has \
             changed"
        ))
    }

    fn identity(&self) -> Result<(ClusterId, Peer), Failure> {
        cluster_view::parse_identity(&self.status()?).ok_or_else(|| self.not_understood())
    }

    /// The error for a status that this version does not understand.
    pub(crate) fn not_understood(&self) -> Failure {
        Failure::runtime(format!(
            "the status of the node at {} is not understood: use the version of ticketd that it runs",
            self.shown_address()
        ))
    }

    fn shown_address(&self) -> String {
        self.addresses.join(" or ")
    }
}

/// The peer addresses of all members except `me`.
fn others(membership: &Membership, me: NodeId) -> Vec<String> {
    let others = membership.members.iter().filter(|(id, _)| **id != me);
    others.map(|(_, member)| member.peer_address.clone()).collect()
}

/// The node that runs on the store at `path`.
///
/// # Errors
/// [`Failure`] if no node runs there, if it does not listen yet, or if there is no store.
pub(crate) fn running_node(path: &Path) -> Result<RunningNode, Failure> {
    match storage::running(path)? {
        Some(running) => reached_at(path, running),
        None => {
            storage::expect_store(path)?;
            Err(Failure::runtime(format!(
                "no node runs on the store at {}: start it with 'ticketd {}'",
                path.display(),
                path_flag(path)
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Member, Suffrage};

    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_reached_here() {
        for (address, here) in [
            ("0.0.0.0:9000", &["127.0.0.1:9000"][..]),
            ("[::]:9000", &["[::1]:9000", "127.0.0.1:9000"]),
            ("10.0.0.7:9000", &["10.0.0.7:9000"]),
            ("localhost:9000", &["localhost:9000"]),
        ] {
            assert_eq!(on_this_machine(address.to_owned()), here);
        }
    }

    #[test]
    fn the_others_are_all_members_but_the_node_itself() {
        let mut membership = Membership::default();
        for id in 1..=3 {
            let member = Member {
                incarnation: Incarnation(1),
                suffrage: Suffrage::Voter,
                peer_address: format!("h{id}:9000"),
                client_address: format!("h{id}:8000"),
            };
            membership.members.insert(NodeId::new(id).unwrap(), member);
        }
        assert_eq!(others(&membership, NodeId::new(2).unwrap()), ["h1:9000", "h3:9000"]);
        assert!(others(&Membership::default(), NodeId::new(1).unwrap()).is_empty());
    }
}
