//! What can happen to a cluster in one step.

use std::fmt;

use raft_core::{Confirmation, Peer};

use crate::bounds::Change;
use crate::network::Envelope;

/// One thing that happens. Nodes are named by their position in the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A message arrives, named by its position in the network.
    Deliver(usize),
    /// A message arrives, and will arrive again.
    Duplicate(usize),
    /// A message is lost.
    Lose(usize),
    /// A node's deadline is reached.
    Timeout(usize),
    /// A follower hears nothing for an election timeout, although its own deadline is still to come.
    Silence(usize),
    /// A node learns that this other process is gone.
    Refused(usize, Peer),
    /// A disk makes its oldest write durable.
    Sync(usize),
    /// A disk fails.
    FailWrite(usize),
    /// A process dies and starts again from what is durable.
    Crash(usize),
    /// A leader is given a command.
    Propose(usize),
    /// A leader is asked to confirm that it leads and, depending on the kind, what is committed.
    Barrier(usize, Confirmation),
    /// A leader is asked to change the membership: the number of the change, and the change.
    Change(usize, u8, Change),
    /// A leader is asked to hand over.
    Transfer(usize),
    /// A node compacts what it has applied.
    Compact(usize),
}

/// An action, described for a person.
pub(crate) struct Told<'a> {
    pub(crate) action: &'a Action,
    /// The message concerned, if any.
    pub(crate) envelope: Option<&'a Envelope>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |at: &usize| at + 1;
        match self.action {
            Action::Deliver(_) => write!(f, "delivered: {}", Message(self.envelope)),
            Action::Duplicate(_) => write!(f, "delivered, and once more later: {}", Message(self.envelope)),
            Action::Lose(_) => write!(f, "lost: {}", Message(self.envelope)),
            Action::Timeout(at) => write!(f, "node {} reaches its deadline", number(at)),
            Action::Silence(at) => write!(f, "node {} hears nothing for an election timeout", number(at)),
            Action::Refused(at, peer) => write!(f, "node {} finds node {} gone", number(at), peer.id),
            Action::Sync(at) => write!(f, "node {} has its oldest write durable", number(at)),
            Action::FailWrite(at) => write!(f, "node {} fails to write", number(at)),
            Action::Crash(at) => write!(f, "node {} crashes and restarts", number(at)),
            Action::Propose(at) => write!(f, "node {} is given a command", number(at)),
            Action::Barrier(at, Confirmation::Leadership) => {
                write!(f, "node {} begins a barrier to confirm its leadership", number(at))
            }
            Action::Barrier(at, Confirmation::CommitIndex) => {
                write!(f, "node {} begins a barrier to confirm its commit index", number(at))
            }
            Action::Change(at, _, change) => write!(f, "node {} is asked to {change:?}", number(at)),
            Action::Transfer(at) => write!(f, "node {} is asked to hand over", number(at)),
            Action::Compact(at) => write!(f, "node {} compacts its log", number(at)),
        }
    }
}

struct Message<'a>(Option<&'a Envelope>);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Envelope { from, to, message }) => write!(f, "{from} to {to}: {message:?}"),
            None => write!(f, "nothing"),
        }
    }
}
