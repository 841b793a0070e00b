//! The one way in and the one way out of the core.
//!
//! A driver calls [`Raft::step`](crate::Raft::step) with an [`Input`], then takes [`Output`]s until there are
//! none, then sleeps until [`Raft::deadline`](crate::Raft::deadline). It carries every output out in the
//! order given; it need not know why.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::log::{Entry, Snapshot};
use crate::membership::{ChangeRefused, Membership, MembershipChange};
use crate::message::Message;
use crate::types::{BarrierId, LogIndex, NodeId, Peer, ProposalId, Term, WriteId};

/// Something that happened outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time has passed: the deadline has come, or may have.
    Wake,
    /// A message came from `from`, which the driver has verified to be that peer of this cluster.
    Message {
        /// Who sent it, in which life.
        from: Peer,
        /// What it says.
        message: Message,
    },
    /// The connection to this node broke and a new one was refused: its process is most likely gone. Only
    /// liveness rests on this (dissertation §3.9 is content with any election timeout).
    PeerUnreachable(NodeId),
    /// Append this command.
    Propose {
        /// Names it in [`Output::ProposalDone`].
        proposal: ProposalId,
        /// The bytes that are to be replicated.
        command: Arc<[u8]>,
    },
    /// Confirm that no newer leader existed at some moment after this input (ReadIndex, dissertation §6.4).
    /// Forgotten without a word where this node does not lead or ceases to, or where
    /// [`BARRIERS_MAX`](crate::BARRIERS_MAX) wait already.
    ReadBarrier {
        /// Names it in [`Output::BarrierPassed`].
        barrier: BarrierId,
        /// Whom its round asks.
        asks: Audience,
        /// What is certain once it has passed.
        confirms: Confirmation,
    },
    /// Change the membership by one step.
    ChangeMembership {
        /// Names it in [`Output::ProposalDone`].
        proposal: ProposalId,
        /// The step.
        change: MembershipChange,
    },
    /// Hand leadership to this voter, or to the one most up to date (dissertation §3.10). Ends in
    /// [`Output::RoleChanged`], or in [`Output::TransferAborted`]: at once where this node does not lead or
    /// nobody can take over, else after an election timeout.
    TransferLeadership {
        /// Who is to lead; `None` for whoever is most up to date.
        to: Option<NodeId>,
    },
    /// Every write up to and including this one is durable: it survives a power cut.
    WritesDurable {
        /// The last of them.
        through: WriteId,
    },
    /// A write failed. From now on this core makes no promise, until a new one is made from what the disk
    /// really holds.
    WriteFailed,
    /// Replace the log up to `through` by `state`.
    Compact {
        /// An index that was handed out by [`Output::Committed`].
        through: LogIndex,
        /// The state machine's state after applying it.
        state: Arc<[u8]>,
    },
}

/// Whom the round of a read barrier asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Audience {
    /// Every voter, and the quickest answers let it pass. Serves latency.
    EveryVoter,
    /// No more voters than a majority takes, those that answered first lately, and the others only where
    /// these do not answer soon. Costs less, and serves throughput.
    QuickestMajority,
}

/// What is certain once a read barrier has passed (dissertation §6.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Confirmation {
    /// No newer leader existed at some moment after it began (step 3).
    Leadership,
    /// That, and the leader's commit index leaves out nothing that was committed when it began. It waits
    /// until an entry of the leader's own term is committed: before that, a leader does not know what is
    /// (step 1). Who is about to read nothing of the state need not wait for it.
    CommitIndex,
}

/// Something to be done outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Make this durable, in the order of the ids, then say so with [`Input::WritesDurable`]. Several may be
    /// made durable together. Nothing waits for this but what rests on it.
    Write(Write),
    /// Send this; it may be lost.
    Send {
        /// To whom, in which life.
        to: Peer,
        /// What.
        message: Message,
    },
    /// Apply this entry: it is committed, and durable here. Each index comes once and in order, but for those
    /// that a [`Output::Restored`] passed over.
    Committed(Entry),
    /// Replace the state by this snapshot, which is committed and durable here.
    Restored(Arc<Snapshot>),
    /// The barrier has passed, and with it every barrier begun before it.
    BarrierPassed(BarrierId),
    /// What became of a proposal.
    ProposalDone {
        /// Which.
        proposal: ProposalId,
        /// What.
        outcome: ProposalOutcome,
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
    /// A hand-over was given up: this node leads on, if it did.
    TransferAborted,
    /// The membership in force (that of the latest entry in the log, committed or not: dissertation §4.1) is
    /// now this one.
    MembershipChanged(Arc<Membership>),
    /// A message was dropped because no sound peer sends it. For the log.
    Dropped {
        /// Who sent it.
        from: Peer,
        /// What is wrong with it.
        reason: DropReason,
    },
}

/// What must become durable: one value, one transaction. The parts apply in the order of the fields.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Write {
    /// Names it. Ids ascend by one.
    pub id: WriteId,
    /// Replaces the hard state.
    pub hard_state: Option<HardState>,
    /// Replaces the snapshot, and removes every entry up to and including its index.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Removes every entry from this index on.
    pub truncate_from: Option<LogIndex>,
    /// Appended in order; the first follows the last entry that is there (or the snapshot).
    pub entries: Vec<Entry>,
}

/// What a node may not forget (Raft Figure 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HardState {
    /// The latest term seen.
    pub current_term: Term,
    /// Whom it voted for in that term: in which life, because a vote for one life of an id is not one for
    /// the next.
    pub voted_for: Option<Peer>,
}

/// What a store held when the node started.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Recovered {
    /// The hard state.
    pub hard_state: HardState,
    /// The latest snapshot. A store that has joined a cluster and heard nothing from it yet has none.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Every entry after the snapshot, without gaps.
    pub entries: Vec<Entry>,
}

/// What a node is (Raft §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

/// What became of a proposal or a change of membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProposalOutcome {
    /// Committed; for ever in the log, at this index. [`Output::Committed`] hands it out when it is durable
    /// here as well, which may be a moment later.
    Committed(LogIndex),
    /// Was in force already; nothing was appended.
    AlreadyDone,
    /// Not appended, because this node does not lead or is handing over.
    NotLeader,
    /// Not appended, because too much waits to be committed already.
    Busy,
    /// Not appended; the membership does not allow it.
    Refused(ChangeRefused),
    /// Appended, but leadership ended before it was committed: it may yet be, or never.
    Unknown,
}

/// What no sound peer does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// Entries out of order, or of a term later than the message's.
    MalformedEntries,
    /// An acknowledgement of more than was ever sent.
    AcknowledgedTooMuch,
    /// A snapshot that lacks what it must have: an index, or a voter.
    MalformedSnapshot,
    /// A term so high that it leaves no room for another.
    TermExhausted,
}
