//! The identity of a node: the values that outlive a process and that peers show each other.
//!
//! Floor 2: pure values. The commands create them, the store keeps them and the handshake checks them; this
//! module must never know how.

use std::fmt;

use raft_core::{LogIndex, Peer};

/// A random 128-bit number, made by `start` once for each cluster. Nodes of different clusters never mix,
/// even if their addresses do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The identity that a store gives its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The node's id and incarnation.
    pub me: Peer,
    /// Whether it belongs to a cluster yet.
    pub standing: Standing,
}

/// Whether a node belongs to a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The node has asked to join, or is about to, and has not been accepted yet: it may vote for nobody.
    Joining,
    /// The node was accepted.
    Member {
        /// The cluster that accepted it.
        cluster: ClusterId,
        /// The index at which the membership with this node was committed; 1 for the node that started the
        /// cluster. Earlier memberships say nothing about this node.
        joined_at: LogIndex,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_shown_as_32_hexadecimal_digits() {
        assert_eq!(ClusterId(0xabc).to_string(), "00000000000000000000000000000abc");
        assert_eq!(ClusterId(u128::MAX).to_string(), "f".repeat(32));
    }
}
