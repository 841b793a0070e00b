//! The one way in and the one way out of a node, as seen by whatever drives it.

use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    ChangeRefused, DropReason, LogIndex, Membership, MembershipChange, Message, NodeId, Peer, Role, Suffrage,
    Term, Write, WriteId,
};

/// Names a client's request for IDs; chosen by the driver, which may use one number for several requests:
/// they are answered in the order in which they came, but for one that came while there was no room
/// ([`Node::has_room`](super::Node::has_room)), which is refused at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Names an operator's request; chosen by the driver, which never uses one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId(pub u64);

/// Something that happened outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time has passed, or all that one turn of the driver had for the node has been given: rounds begin
    /// here, so that one round serves every request of the turn.
    Wake,
    /// A message from a peer of this cluster, whose identity the driver has verified.
    Message {
        /// Who sent it, in which life.
        from: Peer,
        /// What it says.
        message: Message,
    },
    /// A word about forwarded requests from a peer of this cluster, whose identity the driver has verified.
    Forward {
        /// Who sent it, in which life.
        from: Peer,
        /// What it says.
        message: Forward,
    },
    /// What a leader leaves, from a peer of this cluster, whose identity the driver has verified.
    Bequest {
        /// Who leaves it, in which life.
        from: Peer,
        /// What.
        bequest: Bequest,
    },
    /// The connection to this node broke and a new one was refused.
    PeerUnreachable(NodeId),
    /// A client wants `count` consecutive IDs.
    TakeIds {
        /// Names it in [`Output::Answer`].
        request: RequestId,
        /// How many.
        count: NonZeroU64,
    },
    /// An operator wants the membership changed.
    ChangeMembership {
        /// Names it in [`Output::OperationDone`].
        operation: OperationId,
        /// How.
        change: MembershipChange,
    },
    /// An operator, or a node that is about to stop, wants another to lead.
    TransferLeadership {
        /// Names it in [`Output::OperationDone`].
        operation: OperationId,
        /// Who; `None` for whoever is most up to date.
        to: Option<NodeId>,
    },
    /// Every write up to and including this one is durable.
    WritesDurable {
        /// The last of them.
        through: WriteId,
    },
    /// A write failed. The node takes no further part until it is made anew from its store.
    WriteFailed,
    /// The other members refuse this node, because it is no member any more: nobody takes what it forwards.
    Departed,
}

/// Something to be done outside, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Make this durable, then say so with [`Input::WritesDurable`].
    Write(Write),
    /// Send this; it may be lost.
    Send {
        /// To whom, in which life.
        to: Peer,
        /// What.
        message: Message,
    },
    /// Send this; it may be lost.
    Forward {
        /// To whom, in which life.
        to: Peer,
        /// What.
        message: Forward,
    },
    /// Send this; it may be lost.
    Bequest {
        /// To whom, in which life.
        to: Peer,
        /// What.
        bequest: Bequest,
    },
    /// Answer a client.
    Answer {
        /// Which request.
        request: RequestId,
        /// What to say.
        answer: Answer,
    },
    /// Answer an operator.
    OperationDone {
        /// Which request.
        operation: OperationId,
        /// What became of it.
        outcome: OperationOutcome,
    },
    /// This node's role, term or leader is now another.
    RoleChanged {
        /// What it is now.
        role: Role,
        /// In which term.
        term: Term,
        /// Who leads, where that is known.
        leader: Option<NodeId>,
    },
    /// These are now the members: keep a link to each of the others.
    MembershipChanged(Arc<Membership>),
    /// A membership without this node has been committed. Where the node joined after that, which its store
    /// knows, this is a removal that an earlier join was followed by, and says nothing about it.
    Removed {
        /// Where in the log that is, at the latest.
        at: LogIndex,
    },
    /// A membership without this other node has been committed: refuse it from now on.
    PeerRemoved(Peer),
    /// A message was dropped because no sound peer sends it. For the log.
    Dropped {
        /// Who sent it.
        from: Peer,
        /// What is wrong with it.
        reason: DropReason,
    },
}

/// The answer to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The IDs from `first` on, as many as were asked for.
    Ids {
        /// The first of them.
        first: u64,
        /// How many.
        count: NonZeroU64,
    },
    /// This node does not lead.
    NotLeader {
        /// Who does, where that is known.
        leader: Option<NodeId>,
    },
    /// No answer could be had in time.
    TimedOut,
    /// Too many requests wait already.
    Overloaded,
    /// There are not as many IDs left below 2^64-1.
    Exhausted,
}

/// Names one message that asks a leader for IDs. A node begins at a random number when it starts, so an
/// answer to what it asked in a former life is never taken for one to what it asks now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What nodes say to each other about requests that a node which does not lead has taken. It may be lost; a
/// range that is lost is a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Forward {
    /// To the leader: consecutive IDs for all the requests that wait here.
    TakeIds {
        /// Names it in the answer.
        ticket: Ticket,
        /// How many.
        count: NonZeroU64,
    },
    /// The answer to that.
    Taken {
        /// The one that was asked with.
        ticket: Ticket,
        /// What became of it.
        outcome: ForwardOutcome,
    },
}

/// IDs that a leader leaves to the node that it tells to take over, and will not hand out itself. They belong
/// to that node where it leads the very next term with a log that ends where its leader's did: then nobody
/// has led, or reserved anything, in between. Otherwise they are a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bequest {
    /// The term in which the leader leads.
    pub term: Term,
    /// The last entry in its log.
    pub last_log_index: LogIndex,
    /// The first of the IDs.
    pub first: u64,
    /// How many.
    pub count: NonZeroU64,
}

/// What became of forwarded requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardOutcome {
    /// The IDs from `first` on, as many as were asked for.
    Ids {
        /// The first of them.
        first: u64,
    },
    /// Nothing was taken: the node that was asked does not lead. Ask the one that does.
    NotLeader,
    /// Nothing was taken: no answer could be had in time.
    TimedOut,
    /// Nothing was taken: too many requests wait there already.
    Overloaded,
    /// Nothing was taken: there are not as many IDs left below 2^64-1.
    Exhausted,
}

/// What became of an operator's request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationOutcome {
    /// It is done. A membership change is committed at this index; where it was in force already, this is an
    /// index at which it was. A transfer has taken place.
    Done {
        /// See above.
        index: LogIndex,
    },
    /// Not done, because this node does not lead: ask the leader.
    NotLeader {
        /// Who leads, where that is known.
        leader: Option<NodeId>,
    },
    /// Not done: this node was to be removed while it led, so it hands over first. Ask the next leader.
    HandingOver,
    /// Not done now, for a reason that passes: another change is under way. Ask again.
    Busy,
    /// Not done, for a reason that does not pass.
    Refused(ChangeRefused),
    /// Not done: the cluster has as many members as it can have.
    TooManyMembers,
    /// Nobody could take over within an election timeout.
    TransferFailed,
    /// Nobody was asked to take over: this node is the only voter.
    NoOtherVoter,
    /// Leadership ended before it was committed: it may yet be, or never. Ask again.
    Unknown,
}

/// What a node knows of itself and its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Its role.
    pub role: Role,
    /// Its current term.
    pub term: Term,
    /// Who leads, where that is known.
    pub leader: Option<NodeId>,
    /// The highest index known to be committed.
    pub commit_index: LogIndex,
    /// The highest index applied.
    pub applied_index: LogIndex,
    /// The index of the last entry in its log.
    pub last_log_index: LogIndex,
    /// The smallest integer that no window has reserved, as far as the log was applied.
    pub next_unreserved: u64,
    /// The same at the end of this node's log, which may hold entries that are committed although the node
    /// does not know it yet: after a restart it knows that of none, before it hears a leader.
    pub next_unreserved_in_log: u64,
    /// What the leader still has to hand out; `None` where this node does not lead.
    pub window: Option<WindowStatus>,
    /// Whether this node leads and may answer without a round of its own.
    pub holds_lease: bool,
    /// Whether a write failed, so that this node takes no part until restarted.
    pub write_failed: bool,
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
    /// Who it is.
    pub peer: Peer,
    /// Whether it votes.
    pub suffrage: Suffrage,
    /// `host:port` for peers.
    pub peer_address: String,
    /// `host:port` for clients.
    pub client_address: String,
    /// Up to where its log is known to agree; only the leader knows.
    pub match_index: Option<LogIndex>,
}
