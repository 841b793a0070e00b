//! The state of a whole cluster, and what may follow it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use raft_core::{
    BarrierId, Input, MembershipChange, Message, Output, Peer, ProposalId, ProposalOutcome, Role, Suffrage,
    Term,
};

use crate::action::{Action, Told};
use crate::bounds::{Bounds, Change, DiskSpeed, Spent};
use crate::configurations::{member, peer};
use crate::history::{History, Violation, check_log_matching, check_membership};
use crate::network::{Envelope, Network};
use crate::node::Node;
use crate::promises;

/// A cluster at one moment. Cheap to clone: what a step leaves as it is, is shared.
#[derive(Clone)]
pub(crate) struct State {
    nodes: Vec<Arc<Seen>>,
    network: Network,
    history: Arc<History>,
    spent: Spent,
}

/// What is the same in many states, by its fingerprint: kept once, so that millions of states fit into memory.
#[derive(Default)]
pub(crate) struct Pool {
    nodes: HashMap<u64, Arc<Seen>>,
    histories: HashMap<u64, Arc<History>>,
    envelopes: HashMap<u64, Arc<Envelope>>,
}

/// A node with its fingerprint.
struct Seen {
    node: Node,
    fingerprint: u64,
}

impl Seen {
    fn new(node: Node) -> Arc<Seen> {
        Arc::new(Seen { fingerprint: node.fingerprint(), node })
    }
}

impl State {
    pub(crate) fn new(nodes: Vec<Node>, history: History) -> State {
        State {
            nodes: nodes.into_iter().map(Seen::new).collect(),
            network: Network::default(),
            history: Arc::new(history),
            spent: Spent::default(),
        }
    }

    /// Shares with the other states what they have in common.
    pub(crate) fn share(&mut self, pool: &mut Pool) {
        for seen in &mut self.nodes {
            *seen = Arc::clone(pool.nodes.entry(seen.fingerprint).or_insert_with(|| Arc::clone(seen)));
        }
        let mut hasher = DefaultHasher::new();
        self.history.hash(&mut hasher);
        let history = pool.histories.entry(hasher.finish()).or_insert_with(|| Arc::clone(&self.history));
        self.history = Arc::clone(history);
        self.network.share(&mut pool.envelopes);
    }

    /// The same cluster, with all that may happen still to come.
    pub(crate) fn fresh(self) -> State {
        State { spent: Spent::default(), ..self }
    }

    /// Without a message on its way.
    pub(crate) fn silent(self) -> State {
        State { network: Network::default(), ..self }
    }

    /// Whether nothing has happened yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.spent == Spent::default() && self.network.len() == 0
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        &self.nodes[at].node
    }

    /// The latest term that any node is in.
    pub(crate) fn term(&self) -> Term {
        self.nodes.iter().map(|seen| seen.node.raft.current_term()).max().unwrap_or_default()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.network.len()
    }

    pub(crate) fn envelope(&self, at: usize) -> Option<&Envelope> {
        self.network.envelope(at).map(|envelope| &**envelope)
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for seen in &self.nodes {
            hasher.write_u64(seen.fingerprint);
        }
        self.network.fingerprint(&mut hasher);
        self.history.hash(&mut hasher);
        self.spent.hash(&mut hasher);
        hasher.finish()
    }

    /// How a person reads this action in this state.
    pub(crate) fn told(&self, action: &Action) -> String {
        let envelope = match action {
            Action::Deliver(at) | Action::Duplicate(at) | Action::Lose(at) => self.envelope(*at),
            Action::Timeout(_)
            | Action::Silence(_)
            | Action::Refused(..)
            | Action::Sync(_)
            | Action::FailWrite(_)
            | Action::Crash(_)
            | Action::Propose(_)
            | Action::Barrier(_)
            | Action::Change(..)
            | Action::Transfer(_)
            | Action::Compact(_) => None,
        };
        Told { action, envelope }.to_string()
    }

    /// All that may happen next, in a fixed order.
    pub(crate) fn actions(&self, bounds: &Bounds) -> Vec<Action> {
        let mut actions = Vec::new();
        // A message that never arrives is as good as lost; losing it only makes room for others.
        let crowded = self.network.len() + self.nodes.len() > bounds.in_flight;
        for at in self.network.distinct() {
            actions.push(Action::Deliver(at));
            if self.spent.duplicates < bounds.duplicates {
                actions.push(Action::Duplicate(at));
            }
            if crowded {
                actions.push(Action::Lose(at));
            }
        }
        for at in 0..self.nodes.len() {
            self.actions_of_node(at, bounds, &mut actions);
        }
        actions
    }

    fn actions_of_node(&self, at: usize, bounds: &Bounds, actions: &mut Vec<Action>) {
        let spent = &self.spent;
        let Node { raft, disk, .. } = self.node(at);
        let mut offer = |possible: bool, action: Action| {
            if possible {
                actions.push(action);
            }
        };
        let leads = raft.role() == Role::Leader;
        let follows = raft.role() == Role::Follower && raft.leader().is_some();
        let (wakes, budget) =
            if leads { (spent.heartbeats, bounds.heartbeats) } else { (spent.timeouts, bounds.timeouts) };
        offer(raft.deadline().is_some() && wakes < budget, Action::Timeout(at));
        offer(follows && !raft.is_muted() && spent.silences < bounds.silences, Action::Silence(at));
        if let Some(leader) = raft.leader() {
            offer(follows && spent.refusals < bounds.refusals, Action::Refused(at, leader));
        }
        offer(disk.has_pending(), Action::Sync(at));
        let may_fail = !raft.is_muted() && spent.write_failures < bounds.write_failures;
        offer(may_fail && disk.has_pending(), Action::FailWrite(at));
        offer(spent.crashes < bounds.crashes, Action::Crash(at));
        offer(leads && spent.proposals < bounds.proposals, Action::Propose(at));
        offer(leads && spent.barriers < bounds.barriers, Action::Barrier(at));
        if let Some(change) = bounds.changes.get(usize::from(spent.changes)) {
            offer(leads, Action::Change(at, *change));
        }
        offer(leads && spent.transfers < bounds.transfers, Action::Transfer(at));
        let base = raft.snapshot().map_or(0, |s| s.last_included_index.0);
        offer(raft.last_applied().0 > base && spent.compactions < bounds.compactions, Action::Compact(at));
    }

    /// The state after an action.
    pub(crate) fn after(&self, action: &Action, disk: DiskSpeed) -> Result<State, Violation> {
        let mut next = self.clone();
        next.take(action, disk)?;
        let State { nodes, network, history, .. } = &mut next;
        let durable_term = |peer: Peer| {
            let seen = nodes.iter().find(|seen| seen.node.raft.me() == peer);
            seen.map_or(Term(0), |seen| seen.node.disk.hard_state().current_term)
        };
        network.forget_dead_letters(durable_term);
        Arc::make_mut(history).forget_votes(durable_term);
        Ok(next)
    }

    fn take(&mut self, action: &Action, disk: DiskSpeed) -> Result<(), Violation> {
        match *action {
            Action::Deliver(place) => self.deliver(place, Keep::Nothing, disk),
            Action::Duplicate(place) => {
                self.spent.duplicates += 1;
                self.deliver(place, Keep::Copy, disk)
            }
            Action::Lose(place) => {
                self.network.take(place);
                Ok(())
            }
            Action::Timeout(at) => self.time_out(at, disk),
            Action::Silence(at) => self.keep_silent(at, disk),
            Action::Refused(at, peer) => {
                self.spent.refusals += 1;
                self.step(at, Input::PeerUnreachable(peer), disk)
            }
            Action::Sync(at) => self.sync(at, disk),
            Action::FailWrite(at) => {
                self.spent.write_failures += 1;
                self.step(at, Input::WriteFailed, disk)?;
                let mut node = self.node(at).clone();
                node.disk.crash();
                self.nodes[at] = Seen::new(node);
                Ok(())
            }
            Action::Crash(at) => self.crash(at),
            Action::Propose(at) => {
                self.spent.proposals += 1;
                let proposal = ProposalId(u64::from(self.spent.proposals));
                self.step(at, Input::Propose { proposal, command: command_of(proposal).into() }, disk)
            }
            Action::Barrier(at) => {
                self.spent.barriers += 1;
                let barrier = BarrierId(u64::from(self.spent.barriers));
                let me = self.node(at).raft.me();
                Arc::make_mut(&mut self.history).on_barrier(barrier, me);
                self.step(at, Input::ReadBarrier(barrier), disk)
            }
            Action::Change(at, change) => {
                self.spent.changes += 1;
                // Never the number of a command.
                let proposal = ProposalId(u64::from(self.spent.changes) << 8);
                self.step(at, Input::ChangeMembership { proposal, change: change_of(change) }, disk)
            }
            Action::Transfer(at) => {
                self.spent.transfers += 1;
                self.step(at, Input::TransferLeadership { to: None }, disk)
            }
            Action::Compact(at) => {
                self.spent.compactions += 1;
                let through = self.node(at).raft.last_applied();
                let state = self.history.state_at(through).into();
                self.step(at, Input::Compact { through, state }, disk)
            }
        }
    }

    fn deliver(&mut self, place: usize, keep: Keep, disk: DiskSpeed) -> Result<(), Violation> {
        let Some(envelope) = self.network.envelope(place).cloned() else { return Ok(()) };
        if keep == Keep::Nothing {
            self.network.take(place);
        }
        let receiver = self.nodes.iter().position(|seen| seen.node.raft.me() == envelope.to);
        let Some(at) = receiver else { return Ok(()) };
        self.step(at, Input::Message { from: envelope.from, message: envelope.message.clone() }, disk)
    }

    fn time_out(&mut self, at: usize, disk: DiskSpeed) -> Result<(), Violation> {
        let mut node = self.node(at).clone();
        if node.raft.role() == Role::Leader {
            self.spent.heartbeats += 1;
        } else {
            self.spent.timeouts += 1;
        }
        node.now = node.now.max(node.raft.deadline().unwrap_or_default());
        self.step_node(at, node, Input::Wake, disk)
    }

    fn keep_silent(&mut self, at: usize, disk: DiskSpeed) -> Result<(), Violation> {
        self.spent.silences += 1;
        let mut node = self.node(at).clone();
        let deadline = node.raft.deadline().unwrap_or_default();
        node.now = node.now.max(raft_core::Micros(deadline.0.saturating_sub(1)));
        self.step_node(at, node, Input::Wake, disk)
    }

    fn crash(&mut self, at: usize) -> Result<(), Violation> {
        self.spent.crashes += 1;
        let Node { raft, disk, .. } = self.node(at);
        let me = raft.me();
        self.nodes[at] = Seen::new(Node::new(me, disk.durable().clone()));
        Arc::make_mut(&mut self.history).on_crash(me);
        Ok(())
    }

    fn sync(&mut self, at: usize, disk: DiskSpeed) -> Result<(), Violation> {
        let mut node = self.node(at).clone();
        match node.disk.sync()? {
            Some(through) => self.step_node(at, node, Input::WritesDurable { through }, disk),
            None => Ok(()),
        }
    }

    fn step(&mut self, at: usize, input: Input, disk: DiskSpeed) -> Result<(), Violation> {
        let node = self.node(at).clone();
        self.step_node(at, node, input, disk)
    }

    /// Steps a node, carries its outputs out, and checks all that the step may have broken.
    fn step_node(
        &mut self,
        at: usize,
        mut node: Node,
        input: Input,
        speed: DiskSpeed,
    ) -> Result<(), Violation> {
        let mut input = Some(input);
        while let Some(next) = input.take() {
            let before = Arc::clone(node.raft.membership());
            let outputs = node.step(next)?;
            let history = Arc::make_mut(&mut self.history);
            if node.raft.role() == Role::Leader {
                promises::check_leader(&node)?;
                history.on_leader(&node.raft)?;
            }
            let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != at);
            let nodes = others.map(|(_, seen)| &seen.node).chain([&node]);
            history.on_commit(&node.raft, &before, nodes)?;
            for output in outputs {
                self.carry_out(&mut node, output)?;
            }
            if speed == DiskSpeed::Prompt {
                while let Some(through) = node.disk.sync()? {
                    input = Some(Input::WritesDurable { through });
                }
            }
        }
        check_membership(&node.raft)?;
        for (_, seen) in self.nodes.iter().enumerate().filter(|(other, _)| *other != at) {
            check_log_matching(&node.raft, &seen.node.raft)?;
        }
        self.nodes[at] = Seen::new(node);
        for seen in &self.nodes {
            self.history.check_complete(&seen.node.raft)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, node: &mut Node, output: Output) -> Result<(), Violation> {
        let me = node.raft.me();
        match output {
            Output::Write(write) => node.disk.submit(write),
            Output::Send { to, message } => {
                promises::check(node, to, &message)?;
                self.note_vote(me, to, &message)?;
                self.network.send(Envelope { from: me, to, message });
            }
            Output::Committed(entry) => self.history.check_applied(node, &entry)?,
            Output::Restored(snapshot) => self.history.check_restored(node, &snapshot)?,
            Output::BarrierPassed(barrier) => {
                Arc::make_mut(&mut self.history).on_barrier_passed(&node.raft, barrier)?;
            }
            Output::ProposalDone { proposal, outcome: ProposalOutcome::Committed(index) } => {
                self.history.check_done(me, index, &command_of(proposal))?;
            }
            Output::ProposalDone { .. }
            | Output::RoleChanged { .. }
            | Output::TransferAborted
            | Output::MembershipChanged(_)
            | Output::Dropped { .. } => {}
        }
        Ok(())
    }

    fn note_vote(&mut self, me: Peer, to: Peer, message: &Message) -> Result<(), Violation> {
        let vote = match message {
            Message::RequestVoteResponse(m) => m.vote_granted.then_some((m.term, to)),
            Message::RequestVote(_)
            | Message::PreVote(_)
            | Message::PreVoteResponse(_)
            | Message::AppendEntries(_)
            | Message::AppendEntriesResponse(_)
            | Message::Heartbeat(_)
            | Message::HeartbeatResponse(_)
            | Message::InstallSnapshot(_)
            | Message::InstallSnapshotResponse(_)
            | Message::TimeoutNow(_) => None,
        };
        match vote {
            Some((term, candidate)) => Arc::make_mut(&mut self.history).on_vote(term, me, candidate),
            None => Ok(()),
        }
    }
}

/// Whether a message that is delivered stays in the network as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    Copy,
}

/// The command of a proposal: its number.
fn command_of(proposal: ProposalId) -> Vec<u8> {
    proposal.0.to_be_bytes()[7..].to_vec()
}

fn change_of(change: Change) -> MembershipChange {
    match change {
        Change::Add(number) => {
            let Peer { id, .. } = peer(number);
            MembershipChange::Add(id, member(number, Suffrage::Learner))
        }
        Change::Remove(number) => MembershipChange::Remove(peer(number).id),
    }
}
