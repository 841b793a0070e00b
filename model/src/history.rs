//! The properties of a cluster as a whole (Raft Figure 3), and what must be remembered to check them.
//!
//! The history is part of a state: two states are the same only if the promises made before are the same too.

use std::collections::BTreeMap;

use raft_core::{
    BarrierId, Confirmation, Entry, LogIndex, Membership, Message, Payload, Peer, Raft, Role, Snapshot, Term,
};

use crate::node::Node;
use crate::violation::{Violation, ensure};

/// Everything that has been promised so far.
#[derive(Clone, Hash)]
pub(crate) struct History {
    leaders: BTreeMap<Term, Peer>,
    /// Votes of terms that their voters have not durably left. That a disk does not go back is checked by the
    /// disk itself.
    votes: BTreeMap<(Term, Peer), Peer>,
    /// Where the log begins: what every node of the first configuration started with.
    base: LogIndex,
    /// The first configuration.
    membership: Membership,
    /// Everything that was ever committed, with the term of the leader that committed it.
    committed: Vec<(Entry, Term)>,
    /// Barriers that have not passed, at leaders that still lead.
    barriers: BTreeMap<BarrierId, Barrier>,
}

/// The situation when a barrier began.
#[derive(Clone, Hash)]
struct Barrier {
    /// The leader.
    at: Peer,
    /// A leader of a later term had been elected, so the barrier must never pass.
    superseded: bool,
    /// What was committed, if the barrier is to confirm the commit index: it must not pass at a leader that
    /// lacks any of it.
    needed: Option<LogIndex>,
}

impl History {
    pub(crate) fn new(base: LogIndex, membership: Membership) -> History {
        History {
            leaders: BTreeMap::new(),
            votes: BTreeMap::new(),
            base,
            membership,
            committed: Vec::new(),
            barriers: BTreeMap::new(),
        }
    }

    /// The same history with the nodes renamed.
    pub(crate) fn renamed(&self, name: impl Fn(Peer) -> Peer) -> History {
        let History { leaders, votes, base, membership, committed, barriers } = self.clone();
        History {
            leaders: leaders.into_iter().map(|(term, leader)| (term, name(leader))).collect(),
            votes: votes.into_iter().map(|((term, of), to)| ((term, name(of)), name(to))).collect(),
            base,
            membership,
            committed,
            barriers: barriers
                .into_iter()
                .map(|(id, begun)| (id, Barrier { at: name(begun.at), ..begun }))
                .collect(),
        }
    }

    /// The last index that any node committed.
    pub(crate) fn last_committed(&self) -> LogIndex {
        self.committed.last().map_or(self.base, |(entry, _)| entry.index)
    }

    /// The state after `index`: every command up to it, one after the other.
    pub(crate) fn state_at(&self, index: LogIndex) -> Vec<u8> {
        let commands = self.committed.iter().take_while(|(entry, _)| entry.index <= index);
        let bytes = commands.filter_map(|(entry, _)| match &entry.payload {
            Payload::Command(command) => Some(command.iter().copied()),
            Payload::Noop | Payload::Membership(_) => None,
        });
        bytes.flatten().collect()
    }

    /// No node votes twice in a term, whatever crashes (§5.2).
    fn on_vote(&mut self, term: Term, voter: Peer, candidate: Peer) -> Result<(), Violation> {
        let voted_for = *self.votes.entry((term, voter)).or_insert(candidate);
        ensure(voted_for == candidate, || {
            format!("node {voter} votes for node {candidate} in term {term}, and had for node {voted_for}")
        })
    }

    /// Records a vote that is granted.
    pub(crate) fn on_sent(&mut self, me: Peer, to: Peer, message: &Message) -> Result<(), Violation> {
        match message {
            Message::RequestVoteResponse(m) if m.vote_granted => self.on_vote(m.term, me, to),
            Message::RequestVoteResponse(_)
            | Message::RequestVote(_)
            | Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::AppendEntries(_)
            | Message::AppendEntriesResponse(_)
            | Message::Heartbeat(_)
            | Message::HeartbeatResponse(_)
            | Message::InstallSnapshot(_)
            | Message::InstallSnapshotResponse(_)
            | Message::TimeoutNow(_) => Ok(()),
        }
    }

    pub(crate) fn forget_votes(&mut self, of: Peer, durable_term: Term) {
        self.votes.retain(|(term, voter), _| *voter != of || *term >= durable_term);
    }

    /// Election Safety (§5.2). A leader has voted for itself: its own vote counts from here on.
    pub(crate) fn on_leader(&mut self, raft: &Raft) -> Result<(), Violation> {
        let (me, term) = (raft.me(), raft.current_term());
        let leader = *self.leaders.entry(term).or_insert(me);
        ensure(leader == me, || format!("nodes {leader} and {me} both lead in term {term}"))?;
        self.on_vote(term, me, me)
    }

    /// Leader Completeness (§5.4): a leader of a later term than one in which an entry was committed has that
    /// entry.
    pub(crate) fn check_leader_completeness(&self, raft: &Raft) -> Result<(), Violation> {
        if raft.role() != Role::Leader {
            return Ok(());
        }
        let (me, term) = (raft.me(), raft.current_term());
        for (entry, _) in self.committed.iter().filter(|(_, committed_in)| *committed_in < term) {
            ensure(holds(raft, entry), || {
                format!("node {me} leads in term {term} without the committed entry {}", entry.index)
            })?;
        }
        Ok(())
    }

    /// State Machine Safety (§5.4.3), for everything that a node considers committed. What no node has
    /// committed before must be durable on a majority: of `before`, the membership before this step, or of
    /// the one after it, which governs at once (dissertation §4.1), but only if it follows a committed
    /// membership.
    pub(crate) fn on_commit<'a>(
        &mut self,
        raft: &Raft,
        before: &Membership,
        nodes: impl Iterator<Item = &'a Node> + Clone,
    ) -> Result<(), Violation> {
        let (me, commit_index) = (raft.me(), raft.commit_index());
        let known = self.last_committed();
        for (entry, _) in self.committed.iter().filter(|(entry, _)| entry.index <= commit_index) {
            ensure(holds(raft, entry), || format!("node {me} commits another entry {}", entry.index))?;
        }
        let majority = |membership: &Membership, entry: &Entry| {
            let has =
                |peer: Peer| nodes.clone().any(|n| n.raft.me() == peer && n.disk.durable().holds(entry));
            let durable = membership.voters().filter(|id| membership.peer(*id).is_some_and(has)).count();
            durable >= membership.quorum()
        };
        let mut settled = self.membership_at(known) == before;
        for index in known.0 + 1..=commit_index.0 {
            let entry = raft.entry(LogIndex(index)).cloned();
            let Some(entry) = entry else {
                return Err(Violation(format!("node {me} has a snapshot of {index}, committed is {known}")));
            };
            let durable = majority(before, &entry) || (settled && majority(raft.membership(), &entry));
            ensure(durable, || format!("node {me} commits entry {index}, not durable on a majority"))?;
            settled |= matches!(&entry.payload, Payload::Membership(membership) if **membership == *before);
            self.committed.push((entry, raft.current_term()));
        }
        Ok(())
    }

    /// The last membership committed up to `index`.
    fn membership_at(&self, index: LogIndex) -> &Membership {
        let committed = self.committed.iter().rev().filter(|(entry, _)| entry.index <= index);
        let mut memberships = committed.filter_map(|(entry, _)| match &entry.payload {
            Payload::Membership(membership) => Some(&**membership),
            Payload::Noop | Payload::Command(_) => None,
        });
        memberships.next().unwrap_or(&self.membership)
    }

    /// What a node hands out must be committed, and durable on that node.
    pub(crate) fn check_applied(&self, node: &Node, entry: &Entry) -> Result<(), Violation> {
        let me = node.raft.me();
        let known = self.committed.iter().any(|(committed, _)| committed == entry);
        ensure(known, || format!("node {me} applies entry {}, which was not committed", entry.index))?;
        let durable = node.disk.durable().holds(entry);
        ensure(durable, || format!("node {me} applies entry {} before it is durable", entry.index))
    }

    /// A snapshot must be the state and the membership that the log up to it gives.
    pub(crate) fn check_restored(&self, node: &Node, snapshot: &Snapshot) -> Result<(), Violation> {
        let me = node.raft.me();
        let index = snapshot.last_included_index;
        let durable = node.disk.durable().base().0 >= index;
        ensure(durable, || format!("node {me} applies a snapshot of {index} before it is durable"))?;
        let state = self.state_at(index);
        ensure(*snapshot.state == *state, || format!("node {me} restores another state at {index}"))?;
        let membership = self.membership_at(index);
        ensure(*snapshot.membership == *membership, || {
            format!("node {me} restores another membership at {index}")
        })
    }

    /// A proposal reported as committed must be committed. It is a command, or without one a change of
    /// membership.
    pub(crate) fn check_done(
        &self,
        me: Peer,
        index: LogIndex,
        command: Option<&[u8]>,
    ) -> Result<(), Violation> {
        let entry = self.committed.iter().find(|(entry, _)| entry.index == index);
        let done = entry.is_some_and(|(entry, _)| match &entry.payload {
            Payload::Command(committed) => Some(&**committed) == command,
            Payload::Membership(_) => command.is_none(),
            Payload::Noop => false,
        });
        ensure(done, || format!("node {me} says that {command:?} is committed at {index}"))
    }

    /// A leader begins a barrier.
    pub(crate) fn on_barrier(&mut self, barrier: BarrierId, leader: &Raft, confirms: Confirmation) {
        let newest = self.leaders.last_key_value().map(|(term, _)| *term);
        let needed = match confirms {
            Confirmation::Leadership => None,
            Confirmation::CommitIndex => Some(self.last_committed()),
        };
        let superseded = newest > Some(leader.current_term());
        self.barriers.insert(barrier, Barrier { at: leader.me(), superseded, needed });
    }

    /// Linearizability of reads (§8, dissertation §6.4): a node that lets a barrier pass led when the barrier
    /// began, and no leader of a later term had been elected; if the barrier is to confirm it, the node also
    /// knows of everything that any node had committed by then.
    pub(crate) fn on_barrier_passed(&mut self, raft: &Raft, through: BarrierId) -> Result<(), Violation> {
        let (me, commit_index) = (raft.me(), raft.commit_index());
        ensure(self.barriers.get(&through).is_some_and(|barrier| barrier.at == me), || {
            format!("node {me} lets a barrier pass that it does not have")
        })?;
        for Barrier { at: _, superseded, needed } in self.barriers_of(me, through) {
            ensure(!superseded, || {
                format!("node {me} lets a barrier pass, a newer leader was elected before it")
            })?;
            if let Some(needed) = needed {
                ensure(*needed <= commit_index, || {
                    format!(
                        "node {me} lets a barrier pass at {commit_index}, {needed} was committed before it"
                    )
                })?;
            }
        }
        self.barriers.retain(|barrier, begun| begun.at != me || *barrier > through);
        Ok(())
    }

    fn barriers_of(&self, me: Peer, through: BarrierId) -> impl Iterator<Item = &Barrier> {
        let until = self.barriers.range(..=through).map(|(_, begun)| begun);
        until.filter(move |begun| begun.at == me)
    }

    /// A node no longer leads: its barriers never pass.
    pub(crate) fn forget_barriers(&mut self, me: Peer) {
        self.barriers.retain(|_, begun| begun.at != me);
    }
}

/// Log Matching (§5.3): if two logs agree on an entry's term, they agree on everything before it.
pub(crate) fn check_log_matching(one: &Raft, other: &Raft) -> Result<(), Violation> {
    let mut index = one.last_log_index().min(other.last_log_index());
    let mut agree = false;
    while let (Some(a), Some(b)) = (one.entry(index), other.entry(index)) {
        agree |= a.term == b.term;
        let (one, other) = (one.me(), other.me());
        ensure(!agree || a == b, || format!("the logs of nodes {one} and {other} differ at {index}"))?;
        let Some(previous) = index.previous() else { break };
        index = previous;
    }
    Ok(())
}

/// The membership in force is the latest in the log (dissertation §4.1), even after a part of the log was
/// truncated.
pub(crate) fn check_membership(raft: &Raft) -> Result<(), Violation> {
    let base = raft.snapshot().map_or(0, |s| s.last_included_index.0);
    let entries = (base + 1..=raft.last_log_index().0).rev().filter_map(|index| raft.entry(LogIndex(index)));
    let latest = entries.filter_map(|entry| match &entry.payload {
        Payload::Membership(membership) => Some(membership),
        Payload::Noop | Payload::Command(_) => None,
    });
    let latest = latest.chain(raft.snapshot().map(|s| &s.membership)).next();
    let agrees = latest.is_none_or(|latest| latest == raft.membership());
    ensure(agrees, || format!("node {} goes by a membership that is not the latest in its log", raft.me()))
}

/// Whether a node's log has exactly this entry, or a snapshot that includes it.
fn holds(raft: &Raft, entry: &Entry) -> bool {
    let compacted = raft.snapshot().is_some_and(|s| s.last_included_index >= entry.index);
    compacted || raft.entry(entry.index) == Some(entry)
}
