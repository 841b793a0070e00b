//! The one way in and the one way out of the core.
//!
//! A driver calls [`Raft::step`](crate::Raft::step) with an [`Input`], takes [`Output`]s until there are
//! none, then sleeps until [`Raft::deadline`](crate::Raft::deadline). It carries out every output in the
//! order given, and need not know why.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::log::{Entry, Snapshot};
use crate::membership::{ChangeRefused, Membership, MembershipChange, NotYet};
use crate::message::Message;
use crate::types::{BarrierId, LogIndex, NodeId, Peer, ProposalId, Term, WriteId};

/// Something that happened outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time has passed: the deadline has been reached, or may have been.
    Wake,
    /// A message arrived from `from`. The driver has verified that the sender is that peer of this cluster.
    Message {
        /// The sender, with its incarnation.
        from: Peer,
        /// The message.
        message: Message,
    },
    /// The connection to this peer broke and a new one was refused: its process is most likely gone. Only
    /// liveness depends on this (dissertation §3.9 is content with any election timeout).
    PeerUnreachable(Peer),
    /// Append this command.
    Propose {
        /// Identifies it in [`Output::ProposalDone`].
        proposal: ProposalId,
        /// The bytes to replicate.
        command: Arc<[u8]>,
    },
    /// Confirm that no newer leader existed at some moment after this input (ReadIndex, dissertation §6.4).
    /// Dropped silently if this node does not lead or stops leading. Dropped as well if
    /// [`BARRIERS_MAX`](crate::BARRIERS_MAX) barriers are already waiting; a later one that passes then
    /// passes for it too, if it confirms as much.
    ReadBarrier {
        /// Identifies it in [`Output::BarrierPassed`].
        barrier: BarrierId,
        /// Which voters its round asks.
        audience: Audience,
        /// What is certain once it has passed.
        confirms: Confirmation,
    },
    /// Change the membership by one step.
    ChangeMembership {
        /// Identifies it in [`Output::ProposalDone`].
        proposal: ProposalId,
        /// The step.
        change: MembershipChange,
    },
    /// Transfer leadership to this voter, or to the one that is most up to date (dissertation §3.10). Ends
    /// with [`Output::RoleChanged`] or [`Output::TransferAborted`]. The latter comes at once if this node
    /// does not lead or no voter can take over, otherwise with the first heartbeat after an election timeout.
    ///
    /// While a transfer is under way ([`Raft::transfer_target`](crate::Raft::transfer_target)), this begins
    /// no second one: if it names a voter that can take over, or none, it gives the first another election
    /// timeout, and that target; if it names any other node, it has no effect. A leader accepts no proposals
    /// meanwhile, so a driver that keeps asking stops the cluster.
    TransferLeadership {
        /// The voter that is to lead; `None` for the one that is most up to date, or for the present target.
        to: Option<NodeId>,
    },
    /// Every write up to and including this one is durable: it survives a power cut. Panics if this core has
    /// not handed out such a write: ids begin at 1 again with each [`Raft::new`](crate::Raft::new).
    WritesDurable {
        /// The last of these writes.
        through: WriteId,
    },
    /// A write failed. This core makes no more promises; a new one must be made from what the disk really
    /// holds.
    WriteFailed,
    /// Replace the log up to `through` with `state`. Panics if that is beyond what was handed out.
    Compact {
        /// An index that was handed out by [`Output::Committed`].
        through: LogIndex,
        /// The state of the state machine after applying the entry at that index.
        state: Arc<[u8]>,
    },
}

/// Which voters the round of a read barrier asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Audience {
    /// Every voter; the quickest answers let the barrier pass. Best for latency.
    EveryVoter,
    /// No more voters than a majority takes: those that were quickest to answer lately. The others are asked
    /// only if these do not answer soon. Costs less; best for throughput.
    QuickestMajority,
}

/// What is certain once a read barrier has passed (dissertation §6.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Confirmation {
    /// No newer leader existed at some moment after the barrier began (step 3).
    Leadership,
    /// The same, and the leader's commit index covers everything that was committed when the barrier began.
    /// The barrier waits until an entry of the leader's own term is committed: before that, a leader does not
    /// know what is committed (step 1). A caller that does not read the state need not wait for this.
    CommitIndex,
}

/// Something that the driver has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Make this durable, in the order of the ids, then report it with [`Input::WritesDurable`]. Several
    /// writes may be made durable together. Whatever a message promises about the log, the term or the vote
    /// comes as an output once this write, and every one before it, is durable; the rest does not wait.
    Write(Write),
    /// Send this message; it may be lost.
    Send {
        /// The receiver, with its incarnation.
        to: Peer,
        /// The message.
        message: Message,
    },
    /// Apply this entry: it is committed, and durable on this node. Each index comes once and in order,
    /// except for those that an [`Output::Restored`] skipped.
    Committed(Entry),
    /// Replace the state with this snapshot, which is committed, and durable on this node.
    Restored(Arc<Snapshot>),
    /// The barrier has passed, and with it every barrier that began before it.
    BarrierPassed(BarrierId),
    /// A proposal has ended.
    ProposalDone {
        /// Which one.
        proposal: ProposalId,
        /// How it ended.
        outcome: ProposalOutcome,
    },
    /// This node's role, term or leader has changed.
    RoleChanged {
        /// Its role.
        role: Role,
        /// Its term.
        term: Term,
        /// The leader of that term, if known.
        leader: Option<NodeId>,
    },
    /// A transfer of leadership was given up. If this node led, it still leads.
    TransferAborted,
    /// This is now the membership in force (that of the latest entry in the log, committed or not:
    /// dissertation §4.1).
    MembershipChanged(Arc<Membership>),
    /// This node has acknowledged the entry at `acknowledged` in this term, and its log, which ends at
    /// `last`, does not have it: its disk lost what it had reported durable, or its store was replaced by an
    /// earlier copy. It takes no further part, as after [`Input::WriteFailed`].
    EntriesLost {
        /// What the leader says was acknowledged.
        acknowledged: LogIndex,
        /// The last entry that there is.
        last: LogIndex,
    },
    /// Safety is already lost. The node takes no further part, as after [`Input::WriteFailed`]: to go on
    /// would only spread it.
    SafetyLost(Evidence),
    /// A message was dropped because no sound peer sends it. For the log.
    Dropped {
        /// The sender.
        from: Peer,
        /// What is wrong with the message.
        reason: DropReason,
    },
}

/// What must become durable, as one transaction. The parts apply in the order of the fields.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Write {
    /// Identifies the write. Ids ascend by one.
    pub id: WriteId,
    /// Replaces the hard state.
    pub hard_state: Option<HardState>,
    /// Replaces the snapshot, and removes every entry up to and including the snapshot's index.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Removes every entry from this index on.
    pub truncate_from: Option<LogIndex>,
    /// Appended in order; the first follows the last entry of the log, or the snapshot.
    pub entries: Vec<Entry>,
}

/// What a node must not forget (Raft Figure 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HardState {
    /// The latest term seen.
    pub current_term: Term,
    /// The node that it voted for in that term, with its incarnation: a vote for one life of an id is not a
    /// vote for the next.
    pub voted_for: Option<Peer>,
}

/// What a store held when the node started.
///
/// A cluster begins with one store that nobody has written to yet: its snapshot has index 1 and term 1 and a
/// membership in which its node is the only voter, and its hard state has term 1. Every other node begins
/// with nothing, and is added by [`MembershipChange::Add`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Recovered {
    /// The hard state.
    pub hard_state: HardState,
    /// The latest snapshot. `None` in the store of a node that has joined a cluster and not heard from it
    /// yet.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Every entry after the snapshot, without gaps.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// Index and term of the position that the first entry follows: those of the snapshot, or 0 if there is
    /// none.
    #[must_use]
    pub fn base(&self) -> (LogIndex, Term) {
        let snapshot = self.snapshot.as_ref();
        snapshot.map_or((LogIndex(0), Term(0)), |s| (s.last_included_index, s.last_included_term))
    }

    /// Index and term of the last entry; [`base`](Recovered::base) if there is none.
    #[must_use]
    pub fn last(&self) -> (LogIndex, Term) {
        self.entries.last().map_or(self.base(), |e| (e.index, e.term))
    }

    /// The entry at `index`; `None` if the log does not reach it, or if a snapshot stands for it.
    #[must_use]
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base().0.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Whether the log has exactly this entry, or a snapshot that includes its index.
    #[must_use]
    pub fn holds(&self, entry: &Entry) -> bool {
        entry.index <= self.base().0 || self.entry(entry.index) == Some(entry)
    }
}

/// The role of a node (Raft §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks the other voters whether it could win an election.
    PreCandidate,
    /// Campaigns for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// How a proposal or a change of membership ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProposalOutcome {
    /// Committed: it is in the log for good, at this index. [`Output::Committed`] hands it out once it is
    /// durable on this node as well, which may be a moment later.
    Committed(LogIndex),
    /// Not appended.
    NotAppended(NotAppended),
    /// Appended, but this node stopped leading before it was committed: it may yet be committed, or never.
    Unknown,
}

/// Why a proposal was not appended to the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAppended {
    /// The change was already in force.
    AlreadyDone,
    /// This node does not lead, or is handing leadership over.
    NotLeader,
    /// Too many entries already wait to be committed; or some wait, and nothing has been applied for some
    /// election timeouts.
    Busy,
    /// A change of membership is not possible at the moment: try again.
    NotYet(NotYet),
    /// The membership does not allow it.
    Refused(ChangeRefused),
}

/// What no cluster shows that is safe (Raft Figure 3): two processes run with the store of one member or with
/// copies of it, or a disk has lost what it had reported durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Two members lead in one term (Election Safety).
    TwoLeaders {
        /// The term.
        term: Term,
        /// The leader that this node knows, perhaps itself.
        leader: Peer,
        /// The other.
        other: Peer,
    },
    /// A leader has another entry where one was committed (Leader Completeness).
    Conflict {
        /// The leader.
        leader: Peer,
        /// Where.
        index: LogIndex,
        /// The term of the entry that was committed.
        committed: Term,
        /// The term of the leader's entry.
        theirs: Term,
    },
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::TwoLeaders { term, leader, other } => {
                write!(f, "node {leader} and node {other} both lead in term {term}")
            }
            Evidence::Conflict { leader, index, committed, theirs } => write!(
                f,
                "node {leader} leads with an entry {index} of term {theirs}, and one of term {committed} was \
                 committed there"
            ),
        }
    }
}

/// Why a message was dropped: no sound peer sends such a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// Entries out of order, or of a term later than the message's; a driver may drop those of an unknown
    /// kind, too.
    MalformedEntries,
    /// An acknowledgement of more than was ever sent.
    AcknowledgedTooMuch,
    /// A snapshot that lacks what it must have: an index, a term, or a voter. A driver may drop one of an
    /// unknown kind, too.
    MalformedSnapshot,
    /// A term so high that it leaves no room for another.
    TermExhausted,
    /// From somebody who is no member and claims to lead in a term that has a leader.
    SecondLeader,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::MalformedEntries => "entries out of order, of a later term, or of an unknown kind",
            DropReason::AcknowledgedTooMuch => "an acknowledgement of more than was sent",
            DropReason::MalformedSnapshot => "a snapshot that lacks something, or is of an unknown kind",
            DropReason::TermExhausted => "a term that leaves no room for another",
            DropReason::SecondLeader => "it is no member, and claims to lead in a term that has a leader",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::testing::noop;

    fn snapshot(index: u64, term: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            last_included_index: LogIndex(index),
            last_included_term: Term(term),
            membership: Arc::default(),
            state: Arc::from([]),
        })
    }

    #[test]
    fn each_reason_to_drop_a_message_is_said_in_its_own_words() {
        use DropReason::{
            AcknowledgedTooMuch, MalformedEntries, MalformedSnapshot, SecondLeader, TermExhausted,
        };
        let all = [MalformedEntries, AcknowledgedTooMuch, MalformedSnapshot, TermExhausted, SecondLeader];
        let words: BTreeSet<_> = all.iter().map(|reason| reason.to_string()).collect();
        assert!(words.len() == all.len() && words.iter().all(|words| words.contains(' ')), "{words:?}");
    }

    #[test]
    fn an_empty_store_ends_where_it_begins_before_the_first_entry() {
        let empty = Recovered::default();
        assert_eq!((empty.base(), empty.last()), ((LogIndex(0), Term(0)), (LogIndex(0), Term(0))));
        assert!(empty.entry(LogIndex(0)).is_none() && empty.entry(LogIndex(1)).is_none());
        assert!(!empty.holds(&noop(1, 1)));
    }

    #[test]
    fn a_snapshot_without_entries_is_base_and_last_and_holds_what_it_includes() {
        let compacted = Recovered { snapshot: Some(snapshot(7, 3)), ..Recovered::default() };
        assert_eq!((compacted.base(), compacted.last()), ((LogIndex(7), Term(3)), (LogIndex(7), Term(3))));
        assert!((0..10).all(|index| compacted.entry(LogIndex(index)).is_none()));
        assert!(compacted.holds(&noop(7, 2)) && !compacted.holds(&noop(8, 3)));
    }

    #[test]
    fn entries_are_found_by_index_whether_or_not_a_snapshot_precedes_them() {
        for (base, snapshot) in [(0, None), (7, Some(snapshot(7, 3)))] {
            let entries = vec![noop(base + 1, 3), noop(base + 2, 4)];
            let log = Recovered { snapshot, entries, ..Recovered::default() };
            assert_eq!(log.last(), (LogIndex(base + 2), Term(4)));
            assert!(log.entry(LogIndex(base)).is_none() && log.entry(LogIndex(base + 3)).is_none());
            assert_eq!(log.entry(LogIndex(base + 1)), Some(&noop(base + 1, 3)));
            assert_eq!(log.entry(LogIndex(base + 2)), Some(&noop(base + 2, 4)));
            assert!(log.holds(&noop(base + 2, 4)) && !log.holds(&noop(base + 2, 3)));
        }
    }
}
