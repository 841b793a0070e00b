//! What the unit tests of several modules begin with.

use crate::log::{Entry, Payload};
use crate::types::{Incarnation, LogIndex, NodeId, Peer, Term};

/// A node in its first life.
pub(crate) fn peer(id: u64) -> Peer {
    Peer { id: NodeId::new(id).unwrap(), incarnation: Incarnation(1) }
}

/// An entry without a command.
pub(crate) fn noop(index: u64, term: u64) -> Entry {
    Entry { index: LogIndex(index), term: Term(term), payload: Payload::Noop }
}
