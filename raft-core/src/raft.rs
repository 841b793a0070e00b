//! The node: its state (Raft Figure 2) and the single path through a step.
//!
//! `step` passes the input to the module that handles it, which changes the state and queues messages. Then
//! `end_step` turns the changes into one write, releases the messages whose writes are durable, and hands out
//! the entries that may be applied. Every other module is an `impl Raft` of one RPC or one task.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::Config;
use crate::io::{DropReason, HardState, Input, Output, Recovered, Role};
use crate::log::{Entry, Log, Snapshot};
use crate::membership::Membership;
use crate::message::Message;
use crate::persistence::Persistence;
use crate::rng::SplitMix64;
use crate::roles::{Follower, RoleState};
use crate::types::{LogIndex, Micros, NodeId, Peer, Term, WriteId};

/// One node of a Raft cluster.
///
/// Give it an input with [`step`](Raft::step); take outputs with [`poll_output`](Raft::poll_output) until
/// there are none, and carry them out in order; call again at [`deadline`](Raft::deadline) at the latest.
#[derive(Clone, Debug)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) rng: SplitMix64,
    /// The latest time that the driver has given.
    pub(crate) now: Micros,
    /// `currentTerm` and `votedFor`, as they are in memory.
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    pub(crate) persistence: Persistence,
    pub(crate) commit_index: LogIndex,
    /// The last index that was handed out; never beyond what is durable on this node.
    pub(crate) last_applied: LogIndex,
    pub(crate) role: RoleState,
    /// Until when this node supports no node but the last leader that it heard, whatever happens to either.
    pub(crate) promised_until: Micros,
    /// Set when this node was not running for a while: until this moment it draws no conclusion from silence.
    /// Cleared when it hears a leader again or, if it leads, a majority.
    pub(crate) excused_until: Option<Micros>,
    pub(crate) outputs: VecDeque<Output>,
    reported: Reported,
}

/// What was last reported to the driver, so that each change is reported once.
#[derive(Clone, Debug)]
struct Reported {
    role: (Role, Term, Option<NodeId>),
    membership: Arc<Membership>,
}

/// A moment, and what a node does then.
type Timer = (Micros, fn(&mut Raft));

impl Raft {
    /// A node that continues from what its store held. It starts as a follower, with its state machine at the
    /// recovered snapshot. That, and the membership that it starts with, is not reported as an output.
    ///
    /// Panics if `recovered` is not what a sound store returns: if the log has a gap, terms that decrease, or
    /// a term later than the current one. Panics if the heartbeat interval in `config` is zero, or the
    /// election timeout is not longer than it.
    #[must_use]
    pub fn new(config: Config, now: Micros, recovered: Recovered) -> Raft {
        let Config { heartbeat_interval_us, election_timeout_us, .. } = config;
        // Otherwise a deadline would lie in the past for ever, and the driver would spin.
        assert!(heartbeat_interval_us > 0, "a heartbeat interval of {heartbeat_interval_us} us");
        assert!(
            election_timeout_us > heartbeat_interval_us,
            "an election timeout of {election_timeout_us} us, heartbeats every {heartbeat_interval_us} us"
        );
        let Recovered { hard_state, snapshot, entries } = recovered;
        let log = Log::new(snapshot, entries);
        let (current, last) = (hard_state.current_term, log.last_term());
        assert!(last <= current, "the log ends in term {last}, the current term is {current}");
        let (base, _) = log.base();
        // What this node promised before a restart is no longer known, only for how long at most.
        let promised_us = config.lease.map_or(0, |_| election_timeout_us);
        let mut raft = Raft {
            rng: SplitMix64::new(config.seed),
            config,
            now,
            hard_state,
            persistence: Persistence::new(log.last_index()),
            commit_index: base,
            last_applied: base,
            role: RoleState::Follower(Follower::leaderless(now, now)),
            promised_until: now.plus(promised_us),
            excused_until: None,
            outputs: VecDeque::new(),
            reported: Reported {
                role: (Role::Follower, hard_state.current_term, None),
                membership: Arc::clone(log.membership()),
            },
            log,
        };
        raft.role = RoleState::Follower(Follower::leaderless(now, raft.first_election_deadline()));
        raft
    }

    /// Processes one input. Time never goes back: an earlier `now` counts as the latest one. With a lease,
    /// `now` must be read after a message has been received, and after every request that a barrier stands
    /// for.
    pub fn step(&mut self, now: Micros, input: Input) {
        self.now = self.now.max(now);
        if let RoleState::Muted(_) = self.role {
            self.step_muted(input);
        } else {
            self.step_sound(input);
        }
        self.end_step();
    }

    /// The next output to carry out; `None` if there is none. Outputs are of the moments in which they came
    /// to be: a barrier may have passed in a step at whose end this node no longer leads.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to step with [`Input::Wake`] at the latest, if no other input comes first; `None` if nothing is
    /// to be done in time, as for a node whose disk has failed. It may still lie in the past afterwards, if
    /// more than one thing was due.
    #[must_use]
    pub fn deadline(&self) -> Option<Micros> {
        self.timers().into_iter().flatten().map(|(at, _)| at).min()
    }

    /// This node's identity.
    #[must_use]
    pub fn me(&self) -> Peer {
        self.config.me
    }

    /// This node's role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.reported()
    }

    /// The leader of the current term, if known. It need not be a member any more: a leader that is being
    /// removed leads until that is committed.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.leader_peer().map(|peer| peer.id)
    }

    /// [`Raft::leader`] with its incarnation.
    #[must_use]
    pub fn leader_peer(&self) -> Option<Peer> {
        if let RoleState::Leader(_) = &self.role { Some(self.config.me) } else { self.role.followed() }
    }

    /// `currentTerm`.
    #[must_use]
    pub fn current_term(&self) -> Term {
        self.hard_state.current_term
    }

    /// `currentTerm` and `votedFor`, as they are in memory.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// `commitIndex`.
    #[must_use]
    pub fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    /// `lastApplied`: the last index that was handed out.
    #[must_use]
    pub fn last_applied(&self) -> LogIndex {
        self.last_applied
    }

    /// The index of the last entry, durable or not.
    #[must_use]
    pub fn last_log_index(&self) -> LogIndex {
        self.log.last_index()
    }

    /// The snapshot that stands for the beginning of the log.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.log.snapshot()
    }

    /// The entry at `index`, if the log still has it.
    #[must_use]
    pub fn entry(&self, index: LogIndex) -> Option<&Entry> {
        self.log.entry(index)
    }

    /// The term of the entry at `index`, or of the snapshot that ends there; `None` if the log does not reach
    /// that index or has compacted it.
    #[must_use]
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        self.log.term_at(index)
    }

    /// The membership in force: the latest in the log, committed or not (dissertation §4.1).
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        self.log.membership()
    }

    /// The latest membership that is known to be committed.
    #[must_use]
    pub fn committed_membership(&self) -> &Arc<Membership> {
        self.log.membership_at(self.commit_index)
    }

    /// `matchIndex` of a member, which for this node itself is what is durable here; `None` if this node does
    /// not lead, or the id is no member's.
    #[must_use]
    pub fn match_index(&self, id: NodeId) -> Option<LogIndex> {
        let leader = self.role.as_leader()?;
        if id == self.config.me.id {
            return Some(self.persistence.durable_index());
        }
        leader.progress.get(&id).map(|progress| progress.match_index)
    }

    /// Whether a write failed, or what was written is lost, so that this node no longer takes part.
    #[must_use]
    pub fn is_muted(&self) -> bool {
        matches!(self.role, RoleState::Muted(_))
    }

    /// When the oldest of the writes was handed out that the driver has not reported durable yet; `None`
    /// where there are none, or one has failed.
    #[must_use]
    pub fn oldest_write_issued_at(&self) -> Option<Micros> {
        self.persistence.oldest_issued_at()
    }

    fn step_sound(&mut self, input: Input) {
        match input {
            Input::Wake => self.on_wake(),
            Input::Message { from, message } => self.on_message(from, message),
            Input::PeerUnreachable(peer) => self.on_peer_unreachable(peer),
            Input::Propose { proposal, command } => self.on_propose(proposal, command),
            Input::ReadBarrier { barrier, audience, confirms } => {
                self.on_read_barrier(barrier, audience, confirms)
            }
            Input::ChangeMembership { proposal, change } => self.on_change_membership(proposal, &change),
            Input::TransferLeadership { to } => self.on_transfer_leadership(to),
            Input::WritesDurable { through } => self.on_writes_durable(through),
            Input::WriteFailed => self.on_write_failed(),
            Input::Compact { through, state } => self.on_compact(through, state),
        }
    }

    /// What this node's role does by itself, and when. If several are due, the first one is done.
    fn timers(&self) -> [Option<Timer>; 2] {
        let timer = |at, act: fn(&mut Raft)| Some((at, act));
        match &self.role {
            RoleState::Follower(f) => [
                timer(f.election_deadline, Raft::on_election_timeout),
                f.doubt.ask_at.and_then(|at| timer(at, Raft::ask_for_another_leader)),
            ],
            RoleState::PreCandidate(c) => [timer(c.retry_deadline, Raft::on_pre_vote_timeout), None],
            RoleState::Candidate(c) => [
                timer(c.retry_deadline, Raft::on_candidate_timeout),
                timer(c.ask_again_at, Raft::ask_for_votes_again),
            ],
            RoleState::Leader(leader) => [
                timer(leader.heartbeat_deadline, Raft::on_heartbeat_timeout),
                leader
                    .hedge_deadline(self.hedge_us())
                    .and_then(|at| timer(at, Raft::fall_back_to_every_voter)),
            ],
            RoleState::Muted(muted) => {
                [muted.leader.and_then(|_| timer(muted.forget_deadline, Raft::forget_silent_leader)), None]
            }
        }
    }

    pub(crate) fn on_wake(&mut self) {
        let due = self.timers().into_iter().flatten().find(|(at, _)| *at <= self.now);
        if let (Some((_, act)), Some(deadline)) = (due, self.deadline()) {
            self.excuse_silence_if_late(deadline);
            act(self);
        }
    }

    fn on_message(&mut self, from: Peer, message: Message) {
        if from == self.config.me || !self.admit(from, &message) {
            return;
        }
        match message {
            Message::PreVote(m) => self.on_pre_vote(from, m),
            Message::PreVoteResponse(m) => self.on_pre_vote_response(from, m),
            Message::RequestVote(m) => self.on_request_vote(from, m),
            Message::RequestVoteResponse(m) => self.on_request_vote_response(from, m),
            Message::AppendEntries(m) => self.on_append_entries(from, m),
            Message::AppendEntriesResponse(m) => self.on_append_entries_response(from, m),
            Message::Heartbeat(m) => self.on_heartbeat(from, m),
            Message::HeartbeatResponse(m) => self.on_heartbeat_response(from, m),
            Message::InstallSnapshot(m) => self.on_install_snapshot(from, m),
            Message::InstallSnapshotResponse(m) => self.on_install_snapshot_response(from, m),
            Message::TimeoutNow(m) => self.on_timeout_now(from, m),
        }
    }

    fn on_writes_durable(&mut self, through: WriteId) {
        self.persistence.on_durable(through);
        self.campaign_if_told();
        self.count_own_vote();
        self.advance_commit_index();
    }

    fn on_compact(&mut self, through: LogIndex, state: Arc<[u8]>) {
        let applied = self.last_applied;
        assert!(through <= applied, "compaction through {through}, applied is {applied}");
        if through > self.log.base().0 {
            let snapshot = self.log.compact(through, state);
            self.persistence.note_compaction(snapshot);
        }
    }

    fn end_step(&mut self) {
        if !self.is_muted() {
            if let Some(write) = self.persistence.end_step(self.now, self.hard_state, &self.log) {
                self.outputs.push_back(Output::Write(write));
            }
            while let Some((to, message)) = self.persistence.poll_released() {
                self.outputs.push_back(Output::Send { to, message });
            }
            self.apply();
        }
        self.report();
    }

    /// Hands out what is committed and durable on this node: what it acts on, it still knows after a power
    /// cut.
    fn apply(&mut self) {
        let until = self.commit_index.min(self.persistence.durable_index());
        let (base, _) = self.log.base();
        if self.last_applied < base {
            if until < base {
                return;
            }
            let snapshot = self.log.snapshot().expect("a log that begins after 0 has a snapshot");
            self.outputs.push_back(Output::Restored(Arc::clone(snapshot)));
            self.last_applied = base;
        }
        while self.last_applied < until {
            let index = self.last_applied.next();
            let entry = self.log.entry(index).expect("what is committed and not compacted is in the log");
            self.outputs.push_back(Output::Committed(entry.clone()));
            self.last_applied = index;
        }
    }

    /// The membership first: it has the address of the leader that is then named.
    fn report(&mut self) {
        let membership = self.log.membership();
        if *membership != self.reported.membership {
            self.reported.membership = Arc::clone(membership);
            self.outputs.push_back(Output::MembershipChanged(Arc::clone(membership)));
        }
        let role = (self.role(), self.hard_state.current_term, self.leader());
        if role != self.reported.role {
            self.reported.role = role;
            let (role, term, leader) = role;
            self.outputs.push_back(Output::RoleChanged { role, term, leader });
        }
    }

    pub(crate) fn send(&mut self, to: Peer, message: Message) {
        self.outputs.push_back(Output::Send { to, message });
    }

    pub(crate) fn drop_message(&mut self, from: Peer, reason: DropReason) {
        self.outputs.push_back(Output::Dropped { from, reason });
    }

    /// Changes `currentTerm` or `votedFor`, here and on the disk.
    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
        self.persistence.note_hard_state();
    }

    pub(crate) fn commit_to(&mut self, index: LogIndex) {
        let last = self.log.last_index();
        assert!(index <= last, "commit index {index} beyond the last entry {last}");
        self.commit_index = self.commit_index.max(index);
    }

    /// The other voters, in ascending order.
    pub(crate) fn other_voters(&self) -> Vec<Peer> {
        self.log.membership().voting_peers().filter(|peer| peer.id != self.config.me.id).collect()
    }
}
