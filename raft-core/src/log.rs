//! The log (Raft §5.3) and the snapshot that stands for its beginning (§7).

use alloc::sync::Arc;

use crate::membership::Membership;
use crate::types::{LogIndex, Term};

/// One entry of the log. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it stands.
    pub index: LogIndex,
    /// The term in which a leader appended it.
    pub term: Term,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Nothing: a new leader's first entry, by which it learns what is committed (Raft §8).
    Noop,
    /// A command for the state machine.
    Command(Arc<[u8]>),
    /// From here on, these are the members (dissertation §4.1).
    Membership(Arc<Membership>),
}

/// The state of the cluster after one entry, in place of the log up to it (Raft §7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The last entry that it stands for.
    pub last_included_index: LogIndex,
    /// That entry's term.
    pub last_included_term: Term,
    /// The membership after that entry.
    pub membership: Arc<Membership>,
    /// The state machine's state after that entry.
    pub state: Arc<[u8]>,
}
