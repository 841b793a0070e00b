//! A sound node, its disk and its clock, and what it alone is responsible for, whatever others do: its term
//! and commit index never go back; it votes once in a term; it promises nothing that is not durable; it
//! applies in order, once, and only what is durable; and it can start again from what is on its disk at any
//! moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raft_core::{
    Audience, BarrierId, Config, Confirmation, Durable, Entry, Input, Lease, LogIndex, Membership,
    MembershipChange, Message, Micros, Output, Payload, Peer, ProposalId, Raft, Recovered,
    RequestVoteResponse, Role, Term,
};

use super::disk::Disk;

/// In microseconds; a single step passes up to 2,540.
const ELECTION_TIMEOUT_US: u64 = 1_000;
const HEARTBEAT_INTERVAL_US: u64 = 200;

pub(super) struct Node {
    raft: Raft,
    disk: Disk,
    now: Micros,
    sent: Vec<(Peer, Message)>,
    applied: LogIndex,
    /// The last membership that was applied.
    members: Arc<Membership>,
    votes: BTreeMap<Term, Peer>,
    proposals: u64,
    /// Those that are not done.
    proposed: BTreeSet<ProposalId>,
    barriers: u64,
    /// The last barrier that passed.
    passed: u64,
}

impl Node {
    pub(super) fn new(me: Peer, durable: Recovered) -> Node {
        let disk = Disk::new(durable);
        Node {
            raft: start(me, Micros(0), &disk.durable),
            applied: disk.durable.base().0,
            members: members(&disk.durable),
            disk,
            now: Micros(0),
            sent: Vec::new(),
            votes: BTreeMap::new(),
            proposals: 0,
            proposed: BTreeSet::new(),
            barriers: 0,
            passed: 0,
        }
    }

    pub(super) fn me(&self) -> Peer {
        self.raft.me()
    }

    /// What was sent since the last call.
    pub(super) fn take_sent(&mut self) -> Vec<(Peer, Message)> {
        std::mem::take(&mut self.sent)
    }

    pub(super) fn pass(&mut self, us: u64) {
        self.now = self.now.plus(us);
        self.step(Input::Wake)
    }

    pub(super) fn wake(&mut self) {
        self.now = self.now.max(self.raft.deadline().unwrap_or(self.now));
        self.step(Input::Wake)
    }

    pub(super) fn sync(&mut self) {
        if self.raft.is_muted() {
            return;
        }
        if let Some(through) = self.disk.sync() {
            self.step(Input::WritesDurable { through });
        }
    }

    pub(super) fn propose(&mut self, bytes: u8) {
        let (proposal, command) = (self.next_proposal(), vec![0; usize::from(bytes)].into());
        self.step(Input::Propose { proposal, command })
    }

    pub(super) fn change(&mut self, change: MembershipChange) {
        let proposal = self.next_proposal();
        self.step(Input::ChangeMembership { proposal, change })
    }

    fn next_proposal(&mut self) -> ProposalId {
        self.proposals += 1;
        let proposal = ProposalId(self.proposals);
        self.proposed.insert(proposal);
        proposal
    }

    pub(super) fn begin_barrier(&mut self, audience: Audience, confirms: Confirmation) {
        self.barriers += 1;
        self.step(Input::ReadBarrier { barrier: BarrierId(self.barriers), audience, confirms })
    }

    /// Compacts everything that was applied, except the last `kept` entries.
    pub(super) fn compact(&mut self, kept: u8) {
        let through = LogIndex(self.applied.0.saturating_sub(u64::from(kept)));
        if self.raft.entry(through).is_none() {
            return;
        }
        self.step(Input::Compact { through, state: [1].into() })
    }

    /// Starts again from what is durable.
    pub(super) fn crash(&mut self) {
        self.disk = Disk::new(std::mem::take(&mut self.disk.durable));
        self.raft = start(self.raft.me(), self.now, &self.disk.durable);
        self.applied = self.disk.durable.base().0;
        self.members = members(&self.disk.durable);
        self.sent.clear();
    }

    pub(super) fn step(&mut self, input: Input) {
        let (term, commit_index) = (self.raft.current_term(), self.raft.commit_index());
        self.raft.step(self.now, input);
        assert!(self.raft.current_term() >= term, "the term goes back");
        assert!(self.raft.commit_index() >= commit_index, "the commit index goes back");
        assert!(
            self.raft.commit_index() <= self.raft.last_log_index(),
            "what is committed is not in the log"
        );
        if self.raft.role() == Role::Leader {
            self.check_leader();
        }
        let deadline = self.raft.deadline();
        assert!(deadline.is_some() || self.raft.is_muted(), "it never wakes again");
        while let Some(output) = self.raft.poll_output() {
            self.carry_out(output);
        }
        assert_eq!(self.raft.last_applied(), self.applied, "it has applied something else than it said");
        if self.raft.commit_index() == self.applied {
            assert_eq!(
                *self.raft.committed_membership(),
                self.members,
                "others are members than were applied"
            );
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Write(write) => {
                assert!(!self.raft.is_muted(), "a write after one has failed");
                self.disk.submit(write);
            }
            Output::Send { to, message } => {
                assert_ne!(to, self.raft.me(), "it talks to itself");
                self.check_promise(to, &message);
                self.sent.push((to, message));
            }
            Output::Committed(entry) => {
                assert_eq!(entry.index, self.applied.next(), "applied out of order");
                assert!(entry.index <= self.raft.commit_index(), "applied before it was committed");
                assert!(self.disk.durable.holds(&entry), "applied before it was durable");
                self.applied = entry.index;
                if let Entry { payload: Payload::Membership(members), .. } = entry {
                    self.members = members;
                }
            }
            Output::Restored(snapshot) => {
                let index = snapshot.last_included_index;
                assert!(index > self.applied, "restored {index} after {}", self.applied);
                assert!(self.disk.durable.base().0 >= index, "restored before it was durable");
                self.applied = index;
                self.members = Arc::clone(&snapshot.membership);
            }
            Output::BarrierPassed(BarrierId(barrier)) => {
                assert!(barrier > self.passed && barrier <= self.barriers, "barrier {barrier} passes again");
                self.passed = barrier;
            }
            Output::RoleChanged { role, .. } => {
                assert!(role != Role::Leader || !self.raft.is_muted(), "it leads without a disk");
            }
            Output::ProposalDone { proposal, .. } => {
                assert!(self.proposed.remove(&proposal), "{proposal:?} was not asked for, or is done twice");
            }
            Output::EntriesLost { acknowledged, last } => {
                let lacks = acknowledged > last || acknowledged == self.raft.commit_index();
                assert!(lacks && self.raft.is_muted(), "nothing is lost");
            }
            // Hostile members can break anything; what this node has promised before still holds.
            Output::SafetyLost(_) => assert!(self.raft.is_muted(), "it goes on"),
            Output::TransferAborted | Output::MembershipChanged(_) | Output::Dropped { .. } => {}
        }
    }

    fn check_promise(&mut self, to: Peer, message: &Message) {
        if let Err(broken) = self.durable().check_message(&self.raft, to, message) {
            panic!("{broken}");
        }
        if let Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted: true }) = message {
            self.note_vote(*term, to);
        }
    }

    fn check_leader(&mut self) {
        let (me, term) = (self.raft.me(), self.raft.current_term());
        if let Err(broken) = self.durable().check_leader(me, term) {
            panic!("{broken}");
        }
        self.note_vote(term, me);
    }

    fn note_vote(&mut self, term: Term, candidate: Peer) {
        let voted_for = *self.votes.entry(term).or_insert(candidate);
        assert_eq!(voted_for, candidate, "it votes twice in term {term}");
    }

    /// A hostile leader may replace what it has sent within its term, so which entries are durable means
    /// nothing; only their number counts.
    fn durable(&self) -> Durable<'_> {
        Durable { entries: &[], ..Durable::from(&self.disk.durable) }
    }
}

/// The members in the snapshot, which is what is applied at a start.
fn members(durable: &Recovered) -> Arc<Membership> {
    durable.snapshot.as_ref().map(|snapshot| Arc::clone(&snapshot.membership)).unwrap_or_default()
}

fn start(me: Peer, now: Micros, durable: &Recovered) -> Raft {
    let config = Config {
        me,
        election_timeout_us: ELECTION_TIMEOUT_US,
        heartbeat_interval_us: HEARTBEAT_INTERVAL_US,
        // One of the voters keeps no leases, as while leases are being switched on node by node.
        lease: (me.id.get() != 2).then_some(Lease { clock_error_ppm: 1_000 }),
        seed: me.id.get(),
    };
    Raft::new(config, now, durable.clone())
}
