//! The messages between nodes: one struct for each RPC of the paper and one for its response.
//!
//! Values only. The driver transports them (bytes, links, handshakes). The core requires only that the sender
//! of a message is known for certain. Messages may be lost, duplicated, delayed and reordered. Only what is
//! sent again, and when, assumes that links mostly keep the order (see `Progress`): otherwise more is sent.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::log::{Entry, Snapshot};
use crate::types::{LogIndex, Round, Term};

/// Any message. Each holds the sender's term, except [`PreVote`], which holds the term after it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Message {
    /// Asks whether the receiver would vote for the sender (dissertation §9.6).
    PreVote(PreVote),
    /// The answer to a [`PreVote`].
    PreVoteResponse(PreVoteResponse),
    /// Asks for the receiver's vote (Raft §5.2).
    RequestVote(RequestVote),
    /// The answer to a [`RequestVote`].
    RequestVoteResponse(RequestVoteResponse),
    /// Entries of the leader's log (Raft §5.3).
    AppendEntries(AppendEntries),
    /// The answer to an [`AppendEntries`].
    AppendEntriesResponse(AppendEntriesResponse),
    /// Asserts leadership and asks whether the receiver still follows (Raft §5.2, and the round of
    /// dissertation §6.4).
    Heartbeat(Heartbeat),
    /// The answer to a [`Heartbeat`].
    HeartbeatResponse(HeartbeatResponse),
    /// The state, in place of log entries that have been compacted (Raft §7).
    InstallSnapshot(InstallSnapshot),
    /// The answer to an [`InstallSnapshot`].
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// Tells the receiver to campaign at once, because the leader hands over (dissertation §3.10).
    TimeoutNow(TimeoutNow),
}

impl Message {
    /// Whether it answers a message of the node to which it is sent.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        match self {
            Message::PreVoteResponse(_)
            | Message::RequestVoteResponse(_)
            | Message::AppendEntriesResponse(_)
            | Message::HeartbeatResponse(_)
            | Message::InstallSnapshotResponse(_) => true,
            Message::PreVote(_)
            | Message::RequestVote(_)
            | Message::AppendEntries(_)
            | Message::Heartbeat(_)
            | Message::InstallSnapshot(_)
            | Message::TimeoutNow(_) => false,
        }
    }

    /// Whether only a leader sends it, for as long as it leads.
    pub(crate) const fn is_from_leader(&self) -> bool {
        match self {
            Message::AppendEntries(_) | Message::Heartbeat(_) | Message::InstallSnapshot(_) => true,
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVote(_)
            | Message::RequestVoteResponse(_)
            | Message::AppendEntriesResponse(_)
            | Message::HeartbeatResponse(_)
            | Message::InstallSnapshotResponse(_)
            | Message::TimeoutNow(_) => false,
        }
    }
}

/// Asks whether a vote would be granted; no node changes its term (dissertation §9.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PreVote {
    /// The term that the sender would campaign in: its own plus one.
    pub next_term: Term,
    /// Index of the sender's last entry.
    pub last_log_index: LogIndex,
    /// Term of the sender's last entry.
    pub last_log_term: Term,
    /// Why it would campaign.
    pub reason: CampaignReason,
}

/// The answer to a [`PreVote`]. It promises nothing, so nothing is written before it is sent.
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
    /// Index of the sender's last entry, which is durable on the sender's disk.
    pub last_log_index: LogIndex,
    /// Term of the sender's last entry.
    pub last_log_term: Term,
    /// Why it campaigns: decides whether a voter that hears a leader may grant its vote (dissertation §3.10,
    /// §4.2.3).
    pub reason: CampaignReason,
}

/// Why a node campaigns.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CampaignReason {
    /// It lost its leader. Voters that still hear a leader refuse.
    LeaderLost,
    /// The leader told it to. Voters do not protect a leader that wants to be replaced.
    LeadershipTransfer,
}

/// The answer to a [`RequestVote`]. A vote is durable on the voter's disk before it is granted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestVoteResponse {
    /// The voter's term.
    pub term: Term,
    /// Whether the vote was granted, in that term.
    pub vote_granted: bool,
}

/// Entries to append (Raft §5.3, Figure 2). Empty only to probe where the logs agree.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// Index of the entry before `entries`.
    pub prev_log_index: LogIndex,
    /// Term of that entry.
    pub prev_log_term: Term,
    /// The entries that follow it, in order, without gaps.
    pub entries: Vec<Entry>,
    /// The leader's `commitIndex`.
    pub leader_commit: LogIndex,
}

/// The answer to an append.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AppendEntriesResponse {
    /// The follower's term.
    pub term: Term,
    /// Whether the logs agree.
    pub outcome: AppendOutcome,
}

/// The outcome of an append.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AppendOutcome {
    /// The follower's log agrees with the leader's up to this index, durably.
    Matched {
        /// Highest index known to agree.
        match_index: LogIndex,
    },
    /// The follower's log does not have the preceding entry. The two hints let the leader go back a whole
    /// term at a time.
    Rejected {
        /// The `prev_log_index` that was rejected, by which a late answer is recognised.
        prev_log_index: LogIndex,
        /// The highest index of the follower that may agree.
        hint_index: LogIndex,
        /// The follower's term at `hint_index`.
        hint_term: Term,
    },
}

/// Asserts leadership. It carries no entries, so the answer does not wait for a disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Heartbeat {
    /// The leader's term.
    pub term: Term,
    /// The leader's `commitIndex`, or the receiver's `matchIndex` if that is lower.
    pub leader_commit: LogIndex,
    /// The round that this heartbeat belongs to.
    pub round: Round,
    /// The leader's election timeout: how long it leads without hearing a majority. A receiver whose own is
    /// longer protects it no longer than that.
    pub election_timeout_us: u64,
    /// Whether the leader has entries and has applied nothing for some election timeouts. A receiver protects
    /// it no longer.
    pub is_stuck: bool,
}

/// The answer to a [`Heartbeat`]: up to now, the sender has followed no other leader in this term and has
/// entered no later one. Read barriers count these answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HeartbeatResponse {
    /// The follower's term.
    pub term: Term,
    /// The round that it answers.
    pub round: Round,
    /// Whether an answer to an append or a snapshot of this leader waits for the sender's disk.
    pub awaits_disk: bool,
    /// For how many microseconds, counted by its own clock from when it received the heartbeat, the sender
    /// supports no other node (dissertation §6.4.1); `None` if it promises nothing: it keeps no
    /// leases, its leader is stuck, or the heartbeat is from an earlier term. No longer than the
    /// election timeout in that heartbeat.
    pub lease_us: Option<u64>,
}

/// A whole snapshot. Snapshots are tiny, so each is sent in one message (Raft §7, Figure 13).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
}

/// The answer to an [`InstallSnapshot`], sent once the snapshot, or what made it unnecessary, is durable.
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
