//! Who a node is: the cluster, its name in it, and whether the cluster has taken it in.
//!
//! Floor 2: plain values, shared by the peer protocol, the store and the commands. It must never know how they
//! are stored or sent; nothing here is random, whoever makes an identity draws the numbers.

use std::fmt;

use raft_core::{LogIndex, Peer};

/// A random 128-bit number made once, by `start`: names a cluster, so that nodes of two clusters never take
/// each other for peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Who a node is, for the whole life of its store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its id and its incarnation.
    pub me: Peer,
    /// Whether it belongs to a cluster already.
    pub standing: Standing,
}

/// How a node stands to its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It asked to join and was not yet accepted, as far as it knows.
    Joining,
    /// It was accepted.
    Member {
        /// By this cluster.
        cluster: ClusterId,
        /// The index at which the membership with this node was committed; 1 for the node that `start` made.
        joined_at: LogIndex,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_written_with_all_32_digits() {
        assert_eq!(ClusterId(0xab).to_string(), "000000000000000000000000000000ab");
    }
}
