//! The words of Raft, each a type of its own, so that a term can never be passed where an index is wanted.
//!
//! Uses nothing. Most fields are public, because drivers, codecs and stores take the numbers out and put them
//! back: the types keep kinds apart, and do not say which values make sense. But a [`NodeId`] is never 0.

use core::fmt;
use core::num::NonZeroU64;

/// A moment on the driver's monotonic clock, in microseconds since any fixed moment. The core compares such
/// moments and never asks what time it is. What is in the log depends on none of them; with a lease, the
/// order of barriers across a change of leader does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Micros(pub u64);

impl Micros {
    /// The moment `us` microseconds later; the end of time where that would overflow.
    #[must_use]
    pub const fn plus(self, us: u64) -> Micros {
        Micros(self.0.saturating_add(us))
    }

    /// How many microseconds have passed since `earlier`; 0 where `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Micros) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The operator's name for a node: 1 to 2^64-1. Unique among the members of a cluster at one time, but not
/// for ever: see [`Peer`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(NonZeroU64);

impl NodeId {
    /// `None` for 0, which names no node.
    #[must_use]
    pub const fn new(id: u64) -> Option<NodeId> {
        match NonZeroU64::new(id) {
            Some(id) => Some(NodeId(id)),
            None => None,
        }
    }

    /// The number that the operator gave.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A random 128-bit number made anew by each `start` or `join`: one life of one store. A node whose disk was
/// wiped comes back with another incarnation, so it cannot vote a second time under its old name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A node in one of its lives: what votes are cast for and acknowledgements counted from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer {
    /// The operator's name for it.
    pub id: NodeId,
    /// Which life of that name.
    pub incarnation: Incarnation,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this. Panics at 2^64-1, which no cluster lives to see.
            #[must_use]
            pub fn next(self) -> $name {
                $name(self.0.checked_add(1).expect("a 64-bit counter of steps does not run out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A term (Raft §5.1). 0 is the term before the first election, as in Figure 2.
    Term
}
number! {
    /// A position in the log (Raft §5.3). The first entry has index 1; 0 is the place before it, as in Figure
    /// 2.
    LogIndex
}
number! {
    /// Names one [`Write`](crate::Write). A write is acknowledged by this and not by a log index, because an
    /// index can be written, truncated and written again.
    WriteId
}
number! {
    /// Names a round of heartbeats within one term (dissertation §6.4).
    Round
}
number! {
    /// Names a proposal or a change of membership; chosen by the driver, which never uses one twice.
    ProposalId
}
number! {
    /// Names a read barrier; chosen by the driver, larger each time.
    BarrierId
}

impl LogIndex {
    /// The index before this one, or `None` at the place before the first entry.
    #[must_use]
    pub const fn previous(self) -> Option<LogIndex> {
        match self.0.checked_sub(1) {
            Some(index) => Some(LogIndex(index)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_peer_reads_as_the_operators_number_and_an_incarnation_as_32_hexadecimal_digits() {
        let peer = Peer { id: NodeId::new(7).unwrap(), incarnation: Incarnation(0xabc) };
        assert_eq!(peer.to_string(), "7");
        assert_eq!(peer.incarnation.to_string(), "00000000000000000000000000000abc");
    }
}
