//! What nodes send to each other.
//!
//! Whoever carries these messages need not know one kind from another. This module must never know how they
//! are encoded.

use std::num::NonZeroU64;

use raft_core::{LogIndex, Message, Term};

/// A message from one node to another. Any message may be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerMessage {
    /// Raft's own.
    Raft(Message),
    /// About requests that arrived at a node which does not lead.
    Forward(Forward),
    /// From a leader to the node that it tells to take over.
    Bequest(Bequest),
}

impl PeerMessage {
    /// Whether it answers a message of the node to which it is sent.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        match self {
            PeerMessage::Raft(message) => message.is_response(),
            PeerMessage::Forward(Forward::TakeIdsResponse { .. }) => true,
            PeerMessage::Forward(Forward::TakeIds { .. }) | PeerMessage::Bequest(_) => false,
        }
    }
}

impl From<Message> for PeerMessage {
    fn from(message: Message) -> Self {
        PeerMessage::Raft(message)
    }
}

impl From<Forward> for PeerMessage {
    fn from(message: Forward) -> Self {
        PeerMessage::Forward(message)
    }
}

impl From<Bequest> for PeerMessage {
    fn from(bequest: Bequest) -> Self {
        PeerMessage::Bequest(bequest)
    }
}

/// Numbers the messages by which a node asks a leader for IDs. A node begins at a random number when it
/// starts, so an answer to a message sent before a restart is never taken for an answer to a later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// Whether more than this many messages came between the earlier one and this one, counting this one.
    /// False if the other is not earlier: messages may overtake each other.
    pub(super) const fn follows_by_more_than(self, earlier: SequenceNumber, count: u64) -> bool {
        let age = self.0.wrapping_sub(earlier.0);
        age > count && age <= u64::MAX / 2
    }
}

/// What nodes send to each other about requests that arrived at a node which does not lead. A message may be
/// lost; a range that is lost is a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forward {
    /// To the leader: asks for consecutive IDs for all the requests that wait here.
    TakeIds {
        /// Repeated in the response.
        sequence: SequenceNumber,
        /// How many.
        count: NonZeroU64,
        /// The answers to this many of the messages just before this one are still awaited; those to earlier
        /// ones are not.
        still_awaited: u8,
    },
    /// Answers `TakeIds`.
    TakeIdsResponse {
        /// The number of the `TakeIds`.
        sequence: SequenceNumber,
        /// The outcome.
        outcome: ForwardOutcome,
    },
}

/// The outcome of forwarded requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardOutcome {
    /// The IDs from `first` on, exactly as many as requested.
    Ids {
        /// The first ID.
        first: u64,
        /// How many. Whoever receives it relies on this and not on the sequence number alone: that is as good
        /// as the random number with which its process began.
        count: NonZeroU64,
    },
    /// Nothing was taken: the node that was asked does not lead. Ask the leader.
    NotLeader,
    /// Nothing was taken: there was no answer in time.
    TimedOut,
    /// Nothing was taken: too many requests are waiting there already.
    Overloaded,
    /// Nothing was taken: there are not enough IDs left below 2^64-1.
    Exhausted,
}

/// IDs that a leader leaves to the node that it tells to take over, and will not hand out itself. They belong
/// to that node if it leads the very next term with a log that ends where the old leader's log ended: then no
/// other node has led or reserved anything in between. Otherwise they are a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bequest {
    /// The term of the leader that leaves them.
    pub term: Term,
    /// The last entry in that leader's log.
    pub last_log_index: LogIndex,
    /// The first ID.
    pub first: u64,
    /// How many.
    pub count: NonZeroU64,
}
