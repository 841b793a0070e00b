//! What nodes say to each other: one struct for each RPC of the paper and each answer to it.
//!
//! Values only. How they travel (bytes, links, handshakes) is the driver's; the core needs no more than that
//! a message says truly who sent it. They may be lost, duplicated, delayed and reordered.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::log::{Entry, Snapshot};
use crate::types::{LogIndex, Round, Term};

/// Any message. Each names the sender's term, but for [`PreVote`], which names the one after it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// Would you vote for me? (dissertation §9.6)
    PreVote(PreVote),
    /// The answer to a [`PreVote`].
    PreVoteResponse(PreVoteResponse),
    /// Vote for me (Raft §5.2).
    RequestVote(RequestVote),
    /// The answer to a [`RequestVote`].
    RequestVoteResponse(RequestVoteResponse),
    /// Entries of the leader's log (Raft §5.3).
    AppendEntries(AppendEntries),
    /// The answer to an [`AppendEntries`].
    AppendEntriesResponse(AppendEntriesResponse),
    /// I lead; do you still follow? (Raft §5.2, and the round of dissertation §6.4)
    Heartbeat(Heartbeat),
    /// The answer to a [`Heartbeat`].
    HeartbeatResponse(HeartbeatResponse),
    /// The state in place of a log that is no longer there (Raft §7).
    InstallSnapshot(InstallSnapshot),
    /// The answer to an [`InstallSnapshot`].
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// Campaign now: I hand over to you (dissertation §3.10).
    TimeoutNow(TimeoutNow),
}

/// Asks whether a vote would be granted, without anyone changing term (dissertation §9.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PreVote {
    /// The term that the sender would campaign in: its own plus one.
    pub next_term: Term,
    /// Index of the sender's last entry.
    pub last_log_index: LogIndex,
    /// Term of the sender's last entry.
    pub last_log_term: Term,
}

/// Promises nothing, so nothing is written before it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PreVoteResponse {
    /// The term of the answering node.
    pub term: Term,
    /// The `next_term` that was asked about.
    pub next_term: Term,
    /// Whether a vote would be granted.
    pub vote_granted: bool,
}

/// Asks for a vote (Raft §5.2, Figure 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestVote {
    /// The term that the sender campaigns in.
    pub term: Term,
    /// Index of the sender's last entry, durable with it.
    pub last_log_index: LogIndex,
    /// Term of the sender's last entry.
    pub last_log_term: Term,
    /// Why it campaigns: whether a voter that hears a leader may listen (dissertation §3.10, §4.2.3).
    pub reason: CampaignReason,
}

/// Why a node campaigns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CampaignReason {
    /// It lost its leader. Voters that still hear one refuse.
    LeaderLost,
    /// The leader told it to. Voters do not protect the leader against its own wish.
    LeadershipTransfer,
}

/// A vote that is granted is durable with its voter before this is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestVoteResponse {
    /// The voter's term.
    pub term: Term,
    /// Whether the vote was granted, in that term.
    pub vote_granted: bool,
}

/// Entries to append (Raft §5.3, Figure 2). Never empty but to probe where the logs agree.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// Index of the entry before `entries`.
    pub prev_log_index: LogIndex,
    /// Term of that entry.
    pub prev_log_term: Term,
    /// What follows it, in order, without gaps.
    pub entries: Vec<Entry>,
    /// The leader's `commitIndex`.
    pub leader_commit: LogIndex,
}

/// The answer to an append.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntriesResponse {
    /// The follower's term.
    pub term: Term,
    /// What became of it.
    pub outcome: AppendOutcome,
}

/// What became of an append.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AppendOutcome {
    /// The log agrees with the leader's up to here, durably.
    Matched {
        /// Highest index known to agree.
        match_index: LogIndex,
    },
    /// The entry before was not there. The two hints let the leader go back a whole term at a time.
    Rejected {
        /// The `prev_log_index` that was refused: a late answer is recognised by it.
        prev_log_index: LogIndex,
        /// The highest index of the follower that may agree.
        hint_index: LogIndex,
        /// The follower's term at `hint_index`.
        hint_term: Term,
    },
}

/// Asserts leadership. It carries no entries, so it is answered without a disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Heartbeat {
    /// The leader's term.
    pub term: Term,
    /// The leader's `commitIndex`, but never beyond what it knows the receiver to have matched.
    pub leader_commit: LogIndex,
    /// Which round this belongs to.
    pub round: Round,
}

/// "In this term I have followed nobody else up to now": what a read barrier counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HeartbeatResponse {
    /// The follower's term.
    pub term: Term,
    /// The round that is answered.
    pub round: Round,
    /// For how many microseconds, from when it received the heartbeat and by its own clock, the sender
    /// supports nobody else (dissertation §6.4.1); `None` where it keeps no leases.
    pub lease_us: Option<u64>,
}

/// A whole snapshot; ours are tiny, so they travel in one piece (Raft §7, Figure 13).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// The state.
    pub snapshot: Arc<Snapshot>,
}

/// Sent once the snapshot, or what made it unnecessary, is durable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InstallSnapshotResponse {
    /// The follower's term.
    pub term: Term,
    /// Highest index known to agree with the leader.
    pub match_index: LogIndex,
}

/// Tells a follower that is up to date to campaign at once (dissertation §3.10).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimeoutNow {
    /// The leader's term.
    pub term: Term,
}
