//! The only inputs and outputs of a node, as its driver sees them.

use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    ChangeRefused, DropReason, Evidence, LogIndex, Membership, MembershipChange, NodeId, Peer, Role,
    Suffrage, Term, Write, WriteId,
};

use super::peer_message::PeerMessage;

/// Names a client's request for IDs. The driver chooses it and may use one number for several requests: they
/// are answered in the order of their arrival, except one that arrives when there is no room
/// ([`Node::has_room`](super::Node::has_room)), which is refused at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Names an operator's request. The driver chooses it and never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId(pub u64);

/// Something that happened outside the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time has passed, or the driver has given the node all the input of a turn. Rounds begin here, so that
    /// one round serves every request of the turn.
    Wake,
    /// A message from a peer of this cluster, whose identity the driver has verified.
    Message {
        /// The sender.
        from: Peer,
        /// The message.
        message: PeerMessage,
    },
    /// The connection to this peer broke, and a new one was refused.
    PeerUnreachable(Peer),
    /// The connection on which messages went to this peer broke: those that were not answered may be lost.
    ConnectionBroken(Peer),
    /// A client wants `count` consecutive IDs.
    TakeIds {
        /// Names it in [`Output::Answer`].
        request: RequestId,
        /// How many.
        count: NonZeroU64,
    },
    /// An operator wants to change the membership.
    ChangeMembership {
        /// Names it in [`Output::OperationDone`].
        operation: OperationId,
        /// The change.
        change: MembershipChange,
    },
    /// An operator, or a node that is about to stop, wants another node to lead.
    TransferLeadership {
        /// Names it in [`Output::OperationDone`].
        operation: OperationId,
        /// The next leader; `None` for the most up-to-date voter.
        to: Option<NodeId>,
    },
    /// Every write up to and including this one is durable.
    WritesDurable {
        /// The last durable write.
        through: WriteId,
    },
    /// A write failed. The node takes no further part until it is made again from its store.
    WriteFailed,
    /// Nothing is to be forwarded any more: this node is no member now, and nobody takes what it forwards.
    StopForwarding,
}

/// Something for the driver to do, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Make this durable, then report it with [`Input::WritesDurable`].
    Write(Write),
    /// Send this message; it may be lost.
    Send {
        /// The recipient.
        to: Peer,
        /// The message.
        message: PeerMessage,
    },
    /// Answer a client.
    Answer {
        /// The request.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Answer an operator.
    OperationDone {
        /// The request.
        operation: OperationId,
        /// The outcome.
        outcome: OperationOutcome,
    },
    /// This node's role, term or leader has changed.
    RoleChanged {
        /// The role now.
        role: Role,
        /// The term now.
        term: Term,
        /// The leader, if it is known.
        leader: Option<NodeId>,
    },
    /// The members have changed to these: keep a link to each of the others.
    MembershipChanged(Arc<Membership>),
    /// A membership without this node has been committed. If the node joined after that (its store knows
    /// when), the removal is an older one, followed by the join, and does not concern it.
    Removed {
        /// The log index of that membership, or a later one.
        at: LogIndex,
    },
    /// A membership without this other node has been committed: refuse the node from now on.
    PeerRemoved(Peer),
    /// This node has acknowledged an entry that its log does not have: its disk lost what it had reported
    /// durable, or its store was replaced by an earlier copy. The node takes no further part.
    EntriesLost {
        /// The index of that entry, or of an earlier one that was acknowledged and is missing as well.
        acknowledged: LogIndex,
        /// The last entry that there is.
        last: LogIndex,
    },
    /// Safety is already lost: IDs may repeat. The node takes no further part.
    SafetyLost(Evidence),
    /// A message was dropped because no correct peer sends it. For the log.
    Dropped {
        /// The sender.
        from: Peer,
        /// What is wrong with the message.
        reason: DropReason,
    },
}

/// The answer to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The IDs from `first` on, exactly as many as requested.
    Ids {
        /// The first ID.
        first: u64,
        /// How many.
        count: NonZeroU64,
    },
    /// This node does not lead.
    NotLeader {
        /// The leader, if it is known and in the membership that was reported last, which has its address.
        leader: Option<NodeId>,
    },
    /// There was no answer in time.
    TimedOut,
    /// Too many requests are waiting already.
    Overloaded,
    /// There are not enough IDs left below 2^64-1.
    Exhausted,
}

/// The outcome of an operator's request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationOutcome {
    /// It is done. A membership change is committed at this index, or, if it was in force already, at this
    /// index or before. If this node was to lead, it already does.
    Done {
        /// The index, as described above.
        index: LogIndex,
    },
    /// A transfer is over: another node leads now. Where one was named, that may have lost the election.
    Transferred {
        /// Who leads.
        leader: NodeId,
    },
    /// Not done, because this node does not lead: ask the leader.
    NotLeader {
        /// The leader, if it is known.
        leader: Option<NodeId>,
    },
    /// Not done: this node hands over first, because it is to be removed, or to another node than the one
    /// that was named. Ask the next leader.
    HandingOver,
    /// Not done now, for a temporary reason such as another change under way. Ask again.
    Busy,
    /// Not done, for a reason that will not go away by itself.
    Refused(ChangeRefused),
    /// Not done: the member that is to lead is a learner, which has not caught up yet.
    NotAVoter,
    /// Not done: the cluster has the maximum number of members.
    TooManyMembers,
    /// No node took over within an election timeout, or this node leads again, or it does not lead and has
    /// not learned in time which node does.
    TransferFailed,
    /// No node was asked to take over: this node is the only voter.
    NoOtherVoter,
    /// Leadership ended before the change was committed: it may still be committed, or never. Ask again.
    Unknown,
}

/// What a node knows about itself and its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Its role.
    pub role: Role,
    /// Its current term.
    pub term: Term,
    /// The leader, if it is known.
    pub leader: Option<NodeId>,
    /// The highest index known to be committed.
    pub commit_index: LogIndex,
    /// The highest index applied.
    pub applied_index: LogIndex,
    /// The index of the last entry in its log.
    pub last_log_index: LogIndex,
    /// The smallest integer that is not reserved, according to the applied log.
    pub next_unreserved: u64,
    /// The same according to this node's whole log. The log may contain entries that are committed although
    /// the node does not know it yet: after a restart it does not know this of any entry until it hears from
    /// a leader.
    pub next_unreserved_in_log: u64,
    /// What the leader can still hand out; `None` if this node does not lead.
    pub window: Option<WindowStatus>,
    /// Whether this node leads and may answer without a round of heartbeats.
    pub holds_lease: bool,
    /// Whether a write failed, or what was written is lost, so that this node takes no part until it is
    /// restarted.
    pub is_muted: bool,
    /// The members, by ascending id.
    pub members: Vec<MemberStatus>,
}

/// The IDs that a leader has reserved and not handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowStatus {
    /// The next ID to be handed out.
    pub next_id: u64,
    /// How many are left.
    pub left: u64,
}

/// A member, as this node sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberStatus {
    /// Its id and incarnation.
    pub peer: Peer,
    /// Whether it votes.
    pub suffrage: Suffrage,
    /// `host:port` for peers.
    pub peer_address: String,
    /// `host:port` for clients.
    pub client_address: String,
    /// Up to where its log is known to agree with the leader's; only the leader knows.
    pub match_index: Option<LogIndex>,
}
