//! Floor 2: Raft and the counter, combined.
//!
//! Pure: requests and messages in; answers, messages and writes out. It has no clock, no sockets, no threads,
//! and no randomness but raft-core's seed. It must never know how requests or messages travel.
//!
//! In each turn, a driver gives any number of inputs with [`Node::step`], then one [`Input::Wake`], then
//! takes outputs with [`Node::poll_output`] until there are none, and sleeps no longer than until
//! [`Node::deadline`].

mod barriers;
mod counter;
mod counts;
mod demand;
mod forwarding;
mod group_commit;
mod io;
mod leadership;
mod operations;
mod peer_message;
mod pending_operations;
mod requests;
mod reservation;
mod round_trips;
mod serving;
mod succession;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod thrifty_policy;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    BarrierId, DropReason, Entry, LogIndex, Membership, Message, Micros, NodeId, Payload, Peer, ProposalId,
    Raft, Recovered, Role, Snapshot, Term,
};

use crate::codec::DecodeError;
use counter::{Counter, Reserve};
use forwarding::Forwarding;
use leadership::Leadership;
use pending_operations::PendingOperations;
use requests::Requests;
use thrifty_policy::ThriftyPolicy;

pub use counts::NodeCounts;
pub use io::*;
pub use peer_message::*;
pub use thrifty_policy::{THRIFTY_REQUESTS_MIN, THRIFTY_ROUNDS};

/// After how many applied entries a snapshot replaces the log. The snapshot takes some hundred bytes; the
/// entries up to then take some 300 KiB in memory and in the store.
pub const COMPACTION_INTERVAL: u64 = 4_096;

/// How a node behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// Raft's configuration.
    pub raft: raft_core::Config,
    /// How many IDs may be reserved ahead, beyond what waiting requests want; with 0, every batch of requests
    /// is committed before it is answered.
    pub window: u64,
    /// How long a request may wait for its answer, in microseconds.
    pub request_timeout_us: u64,
    /// Whether this node asks the leader on its clients' behalf instead of redirecting them.
    pub forward: bool,
}

/// One node: its state, and the requests that wait.
#[derive(Clone, Debug)]
pub struct Node {
    config: NodeConfig,
    now: Micros,
    raft: Raft,
    counter: Counter,
    /// The leader, as last reported by Raft.
    leader: Option<NodeId>,
    /// The last known leader, however long ago, and its term.
    last_leader: Option<(Term, NodeId)>,
    /// Present while this node leads.
    leadership: Option<Leadership>,
    requests: Requests,
    /// Until when requests wait for the next leader to become known, if none is.
    leader_wait_deadline: Micros,
    forwarding: Forwarding,
    /// This node is set to forward, and the other members would take nothing from it.
    forwarding_is_over: bool,
    operations: PendingOperations,
    last_proposal: ProposalId,
    last_barrier: BarrierId,
    /// The membership as of the last applied entry.
    applied_membership: Arc<Membership>,
    /// The last bequest that a leader left to this node.
    bequest: Option<Bequest>,
    counts: NodeCounts,
    thrifty: ThriftyPolicy,
    compaction_interval: u64,
    outputs: VecDeque<Output>,
}

/// The state of a cluster that has not handed out any IDs; the first will be `first_id`.
#[must_use]
pub fn initial_state(first_id: NonZeroU64) -> Arc<[u8]> {
    Counter::starting_at(first_id).encode()
}

impl Node {
    /// A node that continues from the contents of its store.
    ///
    /// # Errors
    /// [`DecodeError`] if the state or a command is not one of ours.
    pub fn new(config: NodeConfig, now: Micros, recovered: Recovered) -> Result<Node, DecodeError> {
        let counter = counter_at_snapshot(&recovered)?;
        recovered.entries.iter().try_for_each(check_entry)?;
        let raft = Raft::new(config.raft, now, recovered);
        let applied_membership = Arc::clone(raft.committed_membership());
        Ok(Node {
            config,
            now,
            raft,
            counter,
            leader: None,
            last_leader: None,
            leadership: None,
            requests: Requests::default(),
            leader_wait_deadline: now.plus(config.raft.election_timeout_us),
            forwarding: Forwarding::new(SequenceNumber(config.raft.seed), now),
            forwarding_is_over: false,
            operations: PendingOperations::default(),
            last_proposal: ProposalId(0),
            last_barrier: BarrierId(0),
            applied_membership,
            bequest: None,
            counts: NodeCounts::default(),
            thrifty: ThriftyPolicy::new(THRIFTY_REQUESTS_MIN),
            compaction_interval: COMPACTION_INTERVAL,
            outputs: VecDeque::new(),
        })
    }

    /// Makes the node replace its log by a snapshot after this many applied entries instead of
    /// [`COMPACTION_INTERVAL`].
    #[must_use]
    pub fn compacting_every(self, entries: NonZeroU64) -> Node {
        Node { compaction_interval: entries.get(), ..self }
    }

    /// Makes rounds thrifty from this many requests in [`THRIFTY_ROUNDS`] rounds on, instead of
    /// [`THRIFTY_REQUESTS_MIN`].
    #[must_use]
    pub fn thrifty_from(self, requests: u64) -> Node {
        Node { thrifty: ThriftyPolicy::new(requests), ..self }
    }

    /// Takes in an input.
    pub fn step(&mut self, now: Micros, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Wake => self.on_wake(),
            Input::Message { from, message } => self.on_message(from, message),
            Input::PeerUnreachable(peer) => self.step_raft(raft_core::Input::PeerUnreachable(peer)),
            Input::ConnectionBroken(peer) => self.forwarding.on_connection_broken(peer),
            Input::TakeIds { request, count } => self.on_take_ids(request, count),
            Input::ChangeMembership { operation, change } => self.on_change_membership(operation, change),
            Input::TransferLeadership { operation, to } => self.on_transfer_leadership(operation, to),
            Input::WritesDurable { through } => self.step_raft(raft_core::Input::WritesDurable { through }),
            Input::WriteFailed => self.step_raft(raft_core::Input::WriteFailed),
            Input::StopForwarding => self.stop_forwarding(),
        }
    }

    /// The next output; `None` if there are no more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to step with [`Input::Wake`] at the latest, if nothing happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        let oldest = self.requests.front().map(|(_, waiting)| {
            if let Some(leadership) = &self.leadership {
                let next = leadership.deadline(self.now, &self.requests);
                next.map_or(waiting.deadline, |at| waiting.deadline.min(at))
            } else if self.forwards_to().is_some() {
                waiting.deadline.min(self.forwarding.deadline(&self.requests))
            } else {
                waiting.deadline.min(self.leader_wait_deadline)
            }
        });
        let transfers = self.operations.transfers_deadline().filter(|_| self.leadership.is_none());
        let leadership = self.leadership.as_ref().filter(|_| self.raft.accepts_proposals());
        let gathering = leadership.and_then(Leadership::gathering_deadline);
        [self.raft.deadline(), oldest, transfers, gathering].into_iter().flatten().min()
    }

    /// Whether one more request may wait. If there is no room, [`Input::TakeIds`] is refused at once, ahead
    /// of older requests that still wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.requests.has_room()
    }

    /// What this node knows about itself and its cluster.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let members = self.raft.membership().peers().map(|(peer, member)| MemberStatus {
            peer,
            suffrage: member.suffrage,
            peer_address: member.peer_address.clone(),
            client_address: member.client_address.clone(),
            match_index: self.raft.match_index(peer.id),
        });
        NodeStatus {
            role: self.raft.role(),
            term: self.raft.current_term(),
            leader: self.raft.leader(),
            commit_index: self.raft.commit_index(),
            applied_index: self.raft.last_applied(),
            last_log_index: self.raft.last_log_index(),
            next_unreserved: self.counter.next(),
            next_unreserved_in_log: self.counter_at_end_of_log().next(),
            window: self.leadership.as_ref().map(|leadership| leadership.status(self.counter)),
            holds_lease: self.raft.holds_lease(),
            is_muted: self.raft.is_muted(),
            members: members.collect(),
        }
    }

    /// What this node has done so far.
    #[must_use]
    pub fn counts(&self) -> &NodeCounts {
        &self.counts
    }

    /// The Raft state machine, for inspection.
    #[must_use]
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The membership in force: the latest in the log, committed or not.
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        self.raft.membership()
    }

    /// How long this node tolerates silence.
    #[must_use]
    pub fn election_timeout_us(&self) -> u64 {
        self.config.raft.election_timeout_us
    }

    /// The highest index known to be committed.
    #[must_use]
    pub fn commit_index(&self) -> LogIndex {
        self.raft.commit_index()
    }

    /// Whether `peer`, which knows the log up to `its_commit_index`, is certainly no longer a member: a
    /// committed membership at least as new as everything it knows does not contain it.
    #[must_use]
    pub fn knows_removed(&self, peer: Peer, its_commit_index: LogIndex) -> bool {
        self.raft.commit_index() >= its_commit_index && !self.raft.committed_membership().contains(peer)
    }

    /// Barriers and reservations begin here, once per turn, so that one serves all requests of the turn.
    fn on_wake(&mut self) {
        self.step_raft(raft_core::Input::Wake);
        self.expire_transfers();
        self.reserve();
        self.begin_barrier();
        self.begin_barrier_for_answers();
        self.forward();
    }

    fn on_message(&mut self, from: Peer, message: PeerMessage) {
        match message {
            PeerMessage::Raft(message) => self.on_raft_message(from, message),
            PeerMessage::Forward(message) => self.on_forward(from, message),
            PeerMessage::Bequest(bequest) => self.on_bequest(from, bequest),
        }
    }

    /// Commands and states are checked before the core sees them: what the core commits must be applicable.
    fn on_raft_message(&mut self, from: Peer, message: Message) {
        let flaw = match &message {
            Message::AppendEntries(m) => {
                m.entries.iter().any(|e| check_entry(e).is_err()).then_some(DropReason::MalformedEntries)
            }
            Message::InstallSnapshot(m) => {
                Counter::decode(&m.snapshot.state).is_err().then_some(DropReason::MalformedSnapshot)
            }
            Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::RequestVote(_)
            | Message::RequestVoteResponse(_)
            | Message::AppendEntriesResponse(_)
            | Message::Heartbeat(_)
            | Message::HeartbeatResponse(_)
            | Message::InstallSnapshotResponse(_)
            | Message::TimeoutNow(_) => None,
        };
        match flaw {
            Some(reason) => self.outputs.push_back(Output::Dropped { from, reason }),
            None => self.step_raft(raft_core::Input::Message { from, message }),
        }
    }

    /// Any change in Raft may be what a request waits for.
    fn step_raft(&mut self, input: raft_core::Input) {
        self.raft.step(self.now, input);
        self.drain_raft();
        self.compact_where_due();
        self.serve();
    }

    fn drain_raft(&mut self) {
        while let Some(output) = self.raft.poll_output() {
            self.on_raft_output(output);
        }
    }

    fn compact_where_due(&mut self) {
        // A received snapshot that is not durable here yet is already in the log, ahead of what has been
        // applied.
        if self.raft.last_applied().0.saturating_sub(self.base_index().0) >= self.compaction_interval {
            let (through, state) = (self.raft.last_applied(), self.counter.encode());
            self.raft.step(self.now, raft_core::Input::Compact { through, state });
            self.drain_raft();
        }
    }

    fn on_raft_output(&mut self, output: raft_core::Output) {
        match output {
            raft_core::Output::Write(write) => self.outputs.push_back(Output::Write(write)),
            raft_core::Output::Send { to, message } => self.on_raft_send(to, message),
            raft_core::Output::Committed(entry) => self.on_committed(&entry),
            raft_core::Output::Restored(snapshot) => self.on_restored(&snapshot),
            raft_core::Output::BarrierPassed(barrier) => self.on_barrier_passed(barrier),
            raft_core::Output::ProposalDone { proposal, outcome } => self.on_proposal_done(proposal, outcome),
            raft_core::Output::RoleChanged { role, term, leader } => self.on_role_changed(role, term, leader),
            raft_core::Output::TransferAborted => self.fail_transfers(),
            raft_core::Output::MembershipChanged(members) => {
                self.outputs.push_back(Output::MembershipChanged(members));
            }
            raft_core::Output::EntriesLost { acknowledged, last } => {
                self.stop_forwarding();
                self.outputs.push_back(Output::EntriesLost { acknowledged, last });
            }
            raft_core::Output::SafetyLost(evidence) => {
                self.stop_forwarding();
                self.outputs.push_back(Output::SafetyLost(evidence));
            }
            raft_core::Output::Dropped { from, reason } => {
                self.outputs.push_back(Output::Dropped { from, reason });
            }
        }
    }

    /// A bequest must arrive before its heir takes over, so it is sent first.
    fn on_raft_send(&mut self, to: Peer, message: Message) {
        if let Message::TimeoutNow(_) = message {
            self.bequeath(to);
        }
        self.send(to, message);
    }

    fn send(&mut self, to: Peer, message: impl Into<PeerMessage>) {
        self.outputs.push_back(Output::Send { to, message: message.into() });
    }

    fn on_barrier_passed(&mut self, barrier: BarrierId) {
        if let Some(leadership) = &mut self.leadership {
            leadership.on_barrier_passed(self.now, barrier);
        }
        self.give_confirmed_answers(barrier);
    }

    fn on_committed(&mut self, entry: &Entry) {
        match &entry.payload {
            Payload::Noop => {}
            Payload::Command(command) => {
                let reserve =
                    Reserve::decode(command).expect("commands are checked before they enter the log");
                let range = self.counter.apply(reserve);
                // Only the leader that proposed it may hand out the range, and only in the term of the
                // proposal. For any other node the range is skipped.
                if let Some(leadership) = self.leadership.as_mut().filter(|l| l.term() == entry.term) {
                    leadership.on_reserved(range);
                }
            }
            Payload::Membership(membership) => self.on_membership_applied(membership, entry.index),
        }
    }

    fn on_restored(&mut self, snapshot: &Snapshot) {
        self.counter =
            Counter::decode(&snapshot.state).expect("states are checked before the core sees them");
        self.on_membership_applied(&snapshot.membership, snapshot.last_included_index);
    }

    fn on_membership_applied(&mut self, membership: &Arc<Membership>, at: LogIndex) {
        let before = std::mem::replace(&mut self.applied_membership, Arc::clone(membership));
        let me = self.config.raft.me;
        for (peer, _) in before.peers().filter(|(peer, _)| !membership.contains(*peer)) {
            let output = if peer == me { Output::Removed { at } } else { Output::PeerRemoved(peer) };
            self.outputs.push_back(output);
        }
    }

    fn on_role_changed(&mut self, role: Role, term: Term, leader: Option<NodeId>) {
        self.outputs.push_back(Output::RoleChanged { role, term, leader });
        let led_by = leader.map(|leader| (term, leader));
        if led_by.is_some() && led_by != self.last_leader {
            self.last_leader = led_by;
            self.counts.leader_changes += 1;
        }
        if role == Role::Leader {
            // What another leader may yet answer is shared out by the places of requests in the queue, and
            // from now on other nodes' requests stand between them.
            self.forwarding.stop(self.now);
            self.fail_transfers();
            let window = self.inherit(term).unwrap_or_default();
            self.leadership = Some(Leadership::new(term, self.config.window, window, self.now));
            self.leader = leader;
            return;
        }
        if std::mem::replace(&mut self.leader, leader).is_some() && leader.is_none() {
            self.leader_wait_deadline = self.now.plus(self.config.raft.election_timeout_us);
        }
        if self.leadership.take().is_some() {
            self.turn_askers_away();
            self.disown_answers();
        }
        self.complete_transfers(term, leader);
    }

    /// The state that would result if the whole log were applied.
    fn counter_at_end_of_log(&self) -> Counter {
        let applied = self.raft.last_applied();
        let (base, counter) = match self.raft.snapshot() {
            // It is not durable yet.
            Some(ahead) if ahead.last_included_index > applied => {
                (ahead.last_included_index, Counter::decode(&ahead.state))
            }
            Some(_) | None => (applied, Ok(self.counter)),
        };
        let indexes = std::iter::successors(Some(base.next()), |index| Some(index.next()));
        let entries = indexes.map_while(|index| self.raft.entry(index));
        let at_end = counter.and_then(|counter| apply_all(counter, entries));
        at_end.expect("states and commands are checked before the core sees them")
    }

    fn next_proposal(&mut self) -> ProposalId {
        self.last_proposal = self.last_proposal.next();
        self.last_proposal
    }

    fn base_index(&self) -> LogIndex {
        self.raft.snapshot().map_or(LogIndex(0), |s| s.last_included_index)
    }
}

/// The smallest integer that no entry of a log reserves, committed or not.
///
/// # Errors
/// [`DecodeError`] if the state or a command is not one of ours.
pub fn next_unreserved(recovered: &Recovered) -> Result<u64, DecodeError> {
    Ok(apply_all(counter_at_snapshot(recovered)?, recovered.entries.iter())?.next())
}

fn counter_at_snapshot(recovered: &Recovered) -> Result<Counter, DecodeError> {
    match &recovered.snapshot {
        Some(snapshot) => Counter::decode(&snapshot.state),
        // Nothing is applied before a leader's snapshot arrives, which replaces this state.
        None => Ok(Counter::starting_at(NonZeroU64::MIN)),
    }
}

fn apply_all<'a>(
    mut counter: Counter,
    entries: impl Iterator<Item = &'a Entry>,
) -> Result<Counter, DecodeError> {
    for entry in entries {
        if let Payload::Command(command) = &entry.payload {
            counter.apply(Reserve::decode(command)?);
        }
    }
    Ok(counter)
}

/// Checks that an entry's command is one of ours.
fn check_entry(entry: &Entry) -> Result<(), DecodeError> {
    match &entry.payload {
        Payload::Command(command) => Reserve::decode(command).map(|_| ()),
        Payload::Noop | Payload::Membership(_) => Ok(()),
    }
}
