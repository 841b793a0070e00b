//! What must hold of the cluster as a whole (Raft Figure 3), whatever happens to it.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::{
    BarrierId, Confirmation, Entry, LogIndex, Message, Payload, Peer, ProposalId, ProposalOutcome, Raft,
    Role, Term,
};

use crate::harness::node::Node;

/// Everything that was ever committed, and who ever led.
#[derive(Default)]
pub(crate) struct Oracle {
    leaders: BTreeMap<Term, Peer>,
    votes: BTreeMap<(Term, Peer), Peer>,
    /// Each with the term in which it was committed, which may be later than its own.
    committed: BTreeMap<LogIndex, (Entry, Term)>,
    /// The state after each index, as the first node to apply it computed it.
    digests: BTreeMap<LogIndex, u64>,
    /// Those that are not done, and who was asked.
    proposals: BTreeMap<ProposalId, Peer>,
    /// Those that were not appended, and so must never be committed.
    not_appended: BTreeSet<ProposalId>,
    /// Those that have not passed, at leaders that still lead.
    barriers: BTreeMap<BarrierId, Barrier>,
}

/// What was when a barrier began.
struct Barrier {
    /// Where.
    at: Peer,
    /// A leader of a later term had been elected: it must never pass.
    superseded: bool,
    /// What was committed, where it is to confirm the commit index: it must not pass at a leader that lacks
    /// any of it.
    needed: Option<LogIndex>,
}

impl Oracle {
    /// A cluster begins with this index already committed.
    pub(crate) fn new() -> Oracle {
        Oracle::default()
    }

    pub(crate) fn last_committed(&self) -> LogIndex {
        self.committed.keys().next_back().copied().unwrap_or(LogIndex(1))
    }

    pub(crate) fn elections(&self) -> usize {
        self.leaders.len()
    }

    /// Election Safety (§5.2) and Leader Completeness (§5.4).
    pub(crate) fn on_leader(&mut self, raft: &Raft) {
        let (me, term) = (raft.me(), raft.current_term());
        let leader = *self.leaders.entry(term).or_insert(me);
        assert_eq!(leader, me, "two leaders in {term:?}");
        // One that wins late, when a later term has begun already, need not hold what that term committed.
        let before = self.committed.values().rev().filter(|(_, committed_in)| *committed_in < term);
        for (entry, _) in before.take(64) {
            assert_holds(raft, entry);
        }
    }

    /// Nobody votes twice in a term, whatever crashes (§5.2).
    pub(crate) fn on_sent(&mut self, from: Peer, to: Peer, message: &Message) {
        if let Message::RequestVoteResponse(m) = message
            && m.vote_granted
        {
            let voted_for = *self.votes.entry((m.term, from)).or_insert(to);
            assert_eq!(voted_for, to, "{from:?} voted twice in {:?}", m.term);
        }
    }

    /// State Machine Safety and Leader Completeness, for what a node has newly found committed.
    pub(crate) fn on_commit<'a>(
        &mut self,
        raft: &Raft,
        from: LogIndex,
        all: impl Iterator<Item = &'a Node> + Clone,
    ) {
        let (first, last) = (from.0 + 1, raft.commit_index().0);
        for index in first..=last {
            // What this node has compacted was checked when it was committed, or came as a snapshot.
            let Some(entry) = raft.entry(LogIndex(index)) else {
                let base = raft.snapshot().map_or(LogIndex(0), |snapshot| snapshot.last_included_index);
                assert!(index <= base.0, "{:?} commits entry {index} and does not have it", raft.me());
                continue;
            };
            if let Some((known, _)) = self.committed.get(&entry.index) {
                assert_eq!(known, entry, "{:?} commits another entry than was", raft.me());
                continue;
            }
            if let Payload::Command(command) = &entry.payload {
                let proposal = proposal_of(command);
                assert!(!self.not_appended.contains(&proposal), "{proposal:?} is committed and was refused");
            }
            self.committed.insert(entry.index, (entry.clone(), raft.current_term()));
            for node in all.clone() {
                if node.raft.role() == Role::Leader && node.raft.current_term() > raft.current_term() {
                    assert_holds(&node.raft, entry);
                }
            }
        }
    }

    /// A node is asked to append something.
    pub(crate) fn on_proposed(&mut self, proposal: ProposalId, at: Peer) {
        self.proposals.insert(proposal, at);
    }

    /// A proposal is done once, where it was made. What is said to be committed is that proposal, and what is
    /// said not to be appended never is.
    pub(crate) fn on_proposal_done(&mut self, me: Peer, proposal: ProposalId, outcome: ProposalOutcome) {
        let at = self.proposals.remove(&proposal);
        assert_eq!(at, Some(me), "{proposal:?} is done: {outcome:?}");
        match outcome {
            ProposalOutcome::Committed(index) => match self.committed.get(&index).map(|(e, _)| &e.payload) {
                Some(Payload::Command(command)) => assert_eq!(proposal_of(command), proposal, "at {index:?}"),
                Some(Payload::Membership(_)) => {}
                other => panic!("{proposal:?} is committed at {index:?}, where {other:?} is"),
            },
            ProposalOutcome::NotAppended(_) => {
                self.not_appended.insert(proposal);
            }
            ProposalOutcome::Unknown => {}
        }
    }

    /// State Machine Safety (§5.4.3), on the state itself.
    pub(crate) fn on_state(&mut self, index: LogIndex, digest: u64) {
        let known = *self.digests.entry(index).or_insert(digest);
        assert_eq!(known, digest, "two states after {index:?}");
    }

    /// A leader begins a barrier.
    pub(crate) fn on_barrier(&mut self, barrier: BarrierId, leader: &Raft, confirms: Confirmation) {
        let newest = self.leaders.keys().next_back();
        let needed = match confirms {
            Confirmation::Leadership => None,
            Confirmation::CommitIndex => Some(self.last_committed()),
        };
        let superseded = newest > Some(&leader.current_term());
        self.barriers.insert(barrier, Barrier { at: leader.me(), superseded, needed });
    }

    /// Linearizability of reads (§8, dissertation §6.4): whoever lets a barrier pass led when it began, no
    /// newer leader having been elected, and knows of everything that was committed by then, by whomever,
    /// where the barrier is to confirm that.
    pub(crate) fn on_barrier_passed(&mut self, raft: &Raft, through: BarrierId) -> u64 {
        let (me, commit_index) = (raft.me(), raft.commit_index());
        let is_its_own = self.barriers.get(&through).is_some_and(|begun| begun.at == me);
        assert!(is_its_own, "a barrier that passes has begun there and has not passed before");
        for (barrier, begun) in self.barriers.range(..=through).filter(|(_, begun)| begun.at == me) {
            let Barrier { at: _, superseded, needed } = begun;
            assert!(
                !superseded,
                "{me:?} lets {barrier:?} pass, which began after a newer leader was elected"
            );
            assert!(
                needed.is_none_or(|needed| commit_index >= needed),
                "{me:?} lets {barrier:?} pass at {commit_index:?}, {needed:?} was"
            );
        }
        self.barriers.retain(|barrier, begun| begun.at != me || *barrier > through);
        1
    }

    /// A node leads no more: its barriers never pass.
    pub(crate) fn forget_barriers(&mut self, me: Peer) {
        self.barriers.retain(|_, begun| begun.at != me);
    }

    /// Log Matching (§5.3): where two logs agree on an entry's term, they agree on everything before it.
    pub(crate) fn check_log_matching(one: &Raft, other: &Raft) {
        let mut index = one.last_log_index().min(other.last_log_index());
        let mut agree = false;
        while let (Some(a), Some(b)) = (one.entry(index), other.entry(index)) {
            agree |= a.term == b.term;
            assert!(
                !agree || a == b,
                "{:?} and {:?} differ at {index:?}: {a:?}, {b:?}",
                one.me(),
                other.me()
            );
            let Some(previous) = index.previous() else { break };
            index = previous;
        }
    }
}

fn assert_holds(raft: &Raft, entry: &Entry) {
    let compacted = raft.snapshot().is_some_and(|s| s.last_included_index >= entry.index);
    let holds = compacted || raft.entry(entry.index) == Some(entry);
    let (me, term) = (raft.me(), raft.current_term());
    assert!(holds, "{me:?} leads in {term:?} without the committed entry {:?}", entry.index);
}

/// Commands begin with the number of their proposal.
fn proposal_of(command: &[u8]) -> ProposalId {
    ProposalId(u64::from_be_bytes(command[..8].try_into().expect("each is at least as long")))
}
