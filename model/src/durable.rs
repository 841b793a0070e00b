//! Checks that no promise is made before it is durable: what a message promises is on its sender's disk when
//! the message leaves.

use raft_core::{Durable, Message, Peer};

use crate::node::Node;
use crate::violation::Violation;

/// Checks a message that `node` sends to `to`.
pub(crate) fn check(node: &Node, to: Peer, message: &Message) -> Result<(), Violation> {
    Durable::from(node.disk.durable()).check_message(&node.raft, to, message).map_err(Violation)
}

/// Checks a node that leads: its own vote of that term must be on its disk.
pub(crate) fn check_leader(node: &Node) -> Result<(), Violation> {
    let durable = Durable::from(node.disk.durable());
    durable.check_leader(node.raft.me(), node.raft.current_term()).map_err(Violation)
}
