//! Checks that no promise is made before it is durable: what a message promises is on its sender's disk when
//! the message leaves.

use raft_core::{Durable, Message, Peer, Raft, Term};

use crate::disk::Disk;
use crate::violated;

/// Checks a message that a node with this disk sends to `to`.
pub(crate) fn check_message(raft: &Raft, to: Peer, message: &Message, disk: &Disk) {
    if let Err(broken) = Durable::from(&disk.written).check_message(raft, to, message) {
        violated!("{broken}");
    }
}

/// Checks a node that leads in `term`: its own vote of that term must be on its disk.
pub(crate) fn check_leader(me: Peer, term: Term, disk: &Disk) {
    if let Err(broken) = Durable::from(&disk.written).check_leader(me, term) {
        violated!("{broken}");
    }
}
