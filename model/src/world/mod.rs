//! All nodes, messages and histories of any state, each stored once and named by a number, and the steps
//! between them.
//!
//! A few hundred nodes make up millions of states. So what a node does with an input, and whether a history
//! permits it, is computed once and then looked up: finding a state's successors is looking up numbers.

mod choices;
#[cfg(test)]
mod dead;
#[cfg(test)]
mod doubles;
mod twins;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter;

use raft_core::{BarrierId, Input, LogIndex, Output, Peer, ProposalOutcome, Role, Term};

use crate::action::Action;
use crate::bounds::{DiskSpeed, Spent};
use crate::history::{History, check_log_matching};
use crate::interned::{EnvelopeNo, HistoryNo, Interned, NodeNo, StepNo};
use crate::network::{Dead, Envelope, Network, dead};
use crate::node::Node;
use crate::state::{NODES_MAX, State};
use crate::step::{self, Cause, Stage, command_of, is_change};
use crate::symmetry::Symmetry;
use crate::violation::{Violation, ensure};

/// The tables.
pub(crate) struct World {
    disk: DiskSpeed,
    peers: Vec<Peer>,
    /// By their fingerprints.
    nodes: Interned<u64, NodeNo, NodeInfo>,
    /// By their hashes.
    histories: Interned<u64, HistoryNo, History>,
    envelopes: Interned<Envelope, EnvelopeNo, EnvelopeInfo>,
    steps: Interned<(NodeNo, Cause), StepNo, StepInfo>,
    /// The history after a step that commits nothing new.
    history_after: HashMap<(HistoryNo, StepNo), HistoryNo>,
    /// The history after one that does: then what the other nodes have on disk counts too.
    history_after_commit: HashMap<(HistoryNo, StepNo, [NodeNo; NODES_MAX]), HistoryNo>,
    /// Pairs of nodes whose logs match.
    matching: HashSet<(NodeNo, NodeNo)>,
    /// Histories and nodes whose log has everything that a leader must have.
    complete: HashSet<(HistoryNo, NodeNo)>,
    symmetry: Option<Symmetry>,
    /// Nodes that were each taken for the one with this number.
    #[cfg(test)]
    doubles: Vec<(NodeNo, Node)>,
}

/// A node, and the properties of it that each state needs.
struct NodeInfo {
    node: Node,
    term: Term,
    durable_term: Term,
    leads: bool,
    /// Whether in its current term it is a candidate or leads.
    may_lead: bool,
    follows: Option<Peer>,
    is_muted: bool,
    wakes: bool,
    has_pending: bool,
    may_compact: bool,
}

/// A message, and when it can have no effect any more.
struct EnvelopeInfo {
    envelope: Envelope,
    to: Option<usize>,
    dead: Dead,
}

/// A [`Step`](step::Step), as numbers.
struct StepInfo {
    cause: Cause,
    me: Peer,
    after: NodeNo,
    stages: Vec<Stage>,
    sent: Vec<EnvelopeNo>,
    /// The highest index that it considers committed.
    commit_index: LogIndex,
}

/// The bounds on the state that a step leads to.
#[derive(Clone, Copy)]
pub(crate) struct Reach {
    /// The latest term.
    pub(crate) terms_until: Term,
    /// Messages on their way at once.
    pub(crate) in_flight: usize,
}

impl World {
    /// A cluster that begins with these nodes, and its first state.
    pub(crate) fn new(nodes: Vec<Node>, history: History, disk: DiskSpeed) -> (World, State) {
        let mut world = World {
            disk,
            peers: nodes.iter().map(|node| node.raft.me()).collect(),
            nodes: Interned::default(),
            histories: Interned::default(),
            envelopes: Interned::default(),
            steps: Interned::default(),
            history_after: HashMap::new(),
            history_after_commit: HashMap::new(),
            matching: HashSet::new(),
            complete: HashSet::new(),
            symmetry: None,
            #[cfg(test)]
            doubles: Vec::new(),
        };
        let mut numbers = [NodeNo::default(); NODES_MAX];
        assert!(nodes.len() <= NODES_MAX, "{} nodes, a state has room for {NODES_MAX}", nodes.len());
        for (place, node) in numbers.iter_mut().zip(nodes) {
            *place = world.intern_node(node);
        }
        let history = world.intern_history(history);
        let (network, spent) = (Network::default(), Spent::default());
        (world, State { nodes: numbers, history, network, spent })
    }

    /// From now on, disks have this speed.
    pub(crate) fn with_disk(self, disk: DiskSpeed) -> World {
        // With another disk, the steps taken so far may have other results.
        World {
            disk,
            steps: Interned::default(),
            history_after: HashMap::new(),
            history_after_commit: HashMap::new(),
            ..self
        }
    }

    /// The position of the last node.
    pub(crate) fn last_place(&self) -> usize {
        self.peers.len() - 1
    }

    /// Identifies a state. A state that was already explored with the twins exchanged has the same
    /// fingerprint.
    pub(crate) fn fingerprint(&self, state: &State) -> u64 {
        let image = self.symmetry.as_ref().map(|symmetry| symmetry.state(state, self.peers.len()));
        image.map_or(*state, |image| image.min(*state)).fingerprint()
    }

    pub(crate) fn node(&self, state: &State, at: usize) -> &Node {
        &self.known(state, at).node
    }

    /// The highest term of any node.
    pub(crate) fn term(&self, state: &State) -> Term {
        (0..self.peers.len()).map(|at| self.known(state, at).term).max().unwrap_or_default()
    }

    /// Whether a step like this was met, from a node before it to the node after it.
    #[cfg(test)]
    pub(crate) fn has_step(&self, is_meant: impl Fn(&Node, &Node) -> bool) -> bool {
        let node = |number: NodeNo| &self.nodes[number].node;
        self.steps.iter().any(|((before, _), taken)| is_meant(node(*before), node(taken.after)))
    }

    pub(crate) fn envelope(&self, state: &State, at: usize) -> Option<&Envelope> {
        let envelope_no = state.network.as_slice().get(at)?;
        Some(&self.envelopes[*envelope_no].envelope)
    }

    /// The state after an action; `None` if it is out of bounds.
    pub(crate) fn after(
        &mut self,
        state: &State,
        action: &Action,
        reach: Reach,
    ) -> Result<Option<State>, Violation> {
        let mut next = *state;
        let Some((at, cause)) = self.spend(&mut next, action) else { return Ok(Some(next)) };
        let step = self.step(state.nodes[at], cause)?;
        next.history = self.next_history(state, at, step)?;
        next.nodes[at] = self.steps[step].after;
        self.check_log_matching(&next, at)?;
        self.check_leader_completeness(&next)?;
        let known = self.known(&next, at);
        next.network.retain(|envelope_no| {
            let EnvelopeInfo { to, dead, .. } = self.envelopes[envelope_no];
            to != Some(at) || !known.is_past(dead)
        });
        for envelope_no in &self.steps[step].sent {
            if !self.is_dead(&next, *envelope_no) && !next.network.send(*envelope_no) {
                return Ok(None);
            }
        }
        let within = known.term <= reach.terms_until && next.in_flight() <= reach.in_flight;
        Ok(within.then_some(next))
    }

    /// What a node does, computed the first time it is asked for.
    fn step(&mut self, node: NodeNo, cause: Cause) -> Result<StepNo, Violation> {
        if let Some(step) = self.steps.find(&(node, cause)) {
            return Ok(step);
        }
        let step = self.new_step(node, cause)?;
        if let Some(mut symmetry) = self.symmetry.take() {
            self.pair(&mut symmetry, node, cause, step)?;
            self.symmetry = Some(symmetry);
        }
        Ok(step)
    }

    fn new_step(&mut self, node: NodeNo, cause: Cause) -> Result<StepNo, Violation> {
        let known = &self.nodes[node].node;
        let me = known.raft.me();
        let input = self.input(known, cause);
        let step::Step { after, stages, sent } = step::take(known, cause, input, self.disk)?;
        let commit_index = stages.iter().map(|stage| stage.node.raft.commit_index()).max();
        let taken = StepInfo {
            cause,
            me,
            after: self.intern_node(after),
            stages,
            sent: sent.into_iter().map(|envelope| self.intern_envelope(envelope)).collect(),
            commit_index: commit_index.unwrap_or_default(),
        };
        Ok(self.steps.intern((node, cause), || taken))
    }

    /// The input that `cause` stands for, if the node alone cannot tell.
    fn input(&self, node: &Node, cause: Cause) -> Option<Input> {
        match cause {
            Cause::Message(envelope_no) => {
                let Envelope { from, message, .. } = self.envelopes[envelope_no].envelope.clone();
                Some(Input::Message { from, message })
            }
            Cause::Compact(history) => {
                let through = node.raft.last_applied();
                let state = self.histories[history].state_at(through).into();
                Some(Input::Compact { through, state })
            }
            Cause::Timeout
            | Cause::Silence
            | Cause::Refused(_)
            | Cause::Sync
            | Cause::FailWrite
            | Cause::Crash
            | Cause::Propose(_)
            | Cause::Barrier(..)
            | Cause::Change(..)
            | Cause::Transfer => None,
        }
    }

    /// The history after a step of the node at this position, if the history permits the step; computed the
    /// first time it is asked for.
    fn next_history(&mut self, state: &State, at: usize, step: StepNo) -> Result<HistoryNo, Violation> {
        let known = self.histories[state.history].last_committed();
        let commits = self.steps[step].commit_index > known;
        let found = if commits {
            self.history_after_commit.get(&(state.history, step, state.nodes))
        } else {
            self.history_after.get(&(state.history, step))
        };
        if let Some(found) = found {
            return Ok(*found);
        }
        let history = self.extended_history(state, at, step)?;
        let image = self.symmetry.as_ref().map(|symmetry| history.renamed(|peer| symmetry.peer(peer)));
        let history = self.intern_history(history);
        if let Some(image) = image {
            let image = self.intern_history(image);
            self.symmetry.as_mut().expect("its image was just made").pair_histories(history, image);
        }
        if commits {
            self.history_after_commit.insert((state.history, step, state.nodes), history);
        } else {
            self.history_after.insert((state.history, step), history);
        }
        Ok(history)
    }

    fn extended_history(&self, state: &State, at: usize, step: StepNo) -> Result<History, Violation> {
        let StepInfo { cause, me, after, stages, .. } = &self.steps[step];
        let mut history = self.histories[state.history].clone();
        match cause {
            Cause::Barrier(barrier, confirms) => {
                let leader = &self.node(state, at).raft;
                history.on_barrier(BarrierId(u64::from(*barrier)), leader, *confirms);
            }
            Cause::Crash => history.forget_barriers(*me),
            Cause::Message(_)
            | Cause::Timeout
            | Cause::Silence
            | Cause::Refused(_)
            | Cause::Sync
            | Cause::FailWrite
            | Cause::Propose(_)
            | Cause::Change(..)
            | Cause::Transfer
            | Cause::Compact(_) => {}
        }
        for Stage { node, before, outputs } in stages {
            if node.raft.role() == Role::Leader {
                history.on_leader(&node.raft)?;
            }
            let others = (0..self.peers.len()).filter(|other| *other != at);
            let nodes = others.map(|other| self.node(state, other)).chain(iter::once(node));
            history.on_commit(&node.raft, before, nodes)?;
            for output in outputs {
                carry_out(&mut history, node, output)?;
            }
            if node.raft.role() != Role::Leader {
                history.forget_barriers(*me);
            }
        }
        history.forget_votes(*me, self.nodes[*after].durable_term);
        Ok(history)
    }

    fn check_log_matching(&mut self, state: &State, at: usize) -> Result<(), Violation> {
        for other in (0..self.peers.len()).filter(|other| *other != at) {
            let pair = (state.nodes[at], state.nodes[other]);
            if !self.matching.contains(&pair) {
                check_log_matching(&self.node(state, at).raft, &self.node(state, other).raft)?;
                self.matching.insert(pair);
            }
        }
        Ok(())
    }

    fn check_leader_completeness(&mut self, state: &State) -> Result<(), Violation> {
        for at in 0..self.peers.len() {
            let pair = (state.history, state.nodes[at]);
            if self.known(state, at).leads && !self.complete.contains(&pair) {
                self.histories[state.history].check_leader_completeness(&self.node(state, at).raft)?;
                self.complete.insert(pair);
            }
        }
        Ok(())
    }

    fn known(&self, state: &State, at: usize) -> &NodeInfo {
        &self.nodes[state.nodes[at]]
    }

    fn is_dead(&self, state: &State, envelope_no: EnvelopeNo) -> bool {
        let EnvelopeInfo { to, dead, .. } = self.envelopes[envelope_no];
        to.is_none_or(|at| self.known(state, at).is_past(dead))
    }

    fn intern_node(&mut self, node: Node) -> NodeNo {
        let fingerprint = node.fingerprint();
        #[cfg(test)]
        if let Some(number) = self.nodes.find(&fingerprint) {
            self.doubles.push((number, node.clone()));
        }
        self.nodes.intern(fingerprint, || NodeInfo::new(node))
    }

    fn intern_history(&mut self, history: History) -> HistoryNo {
        let mut hasher = DefaultHasher::new();
        history.hash(&mut hasher);
        self.histories.intern(hasher.finish(), || history)
    }

    fn intern_envelope(&mut self, envelope: Envelope) -> EnvelopeNo {
        if let Some(envelope_no) = self.envelopes.find(&envelope) {
            return envelope_no;
        }
        let to = self.peers.iter().position(|peer| *peer == envelope.to);
        let dead = dead(&envelope.message);
        self.envelopes.intern(envelope.clone(), || EnvelopeInfo { envelope, to, dead })
    }
}

impl NodeInfo {
    fn new(node: Node) -> NodeInfo {
        let Node { raft, disk, .. } = &node;
        let base = raft.snapshot().map_or(LogIndex(0), |s| s.last_included_index);
        NodeInfo {
            term: raft.current_term(),
            durable_term: disk.durable().hard_state.current_term,
            leads: raft.role() == Role::Leader,
            may_lead: matches!(raft.role(), Role::Candidate | Role::Leader),
            follows: raft.leader_peer().filter(|_| raft.role() == Role::Follower),
            is_muted: raft.is_muted(),
            wakes: raft.deadline().is_some(),
            has_pending: disk.has_pending(),
            may_compact: raft.last_applied() > base,
            node,
        }
    }

    /// Whether a message that is dead under this condition is dead for this node now.
    fn is_past(&self, dead: Dead) -> bool {
        match dead {
            Dead::Never => false,
            Dead::From(term) => self.durable_term >= term,
            Dead::UnlessElected(term) => {
                self.durable_term > term
                    || (self.durable_term == term && !(self.may_lead && self.term == term))
            }
        }
    }
}

/// Checks an output against the history, and records what is new.
fn carry_out(history: &mut History, node: &Node, output: &Output) -> Result<(), Violation> {
    let me = node.raft.me();
    match output {
        Output::Send { to, message } => history.on_sent(me, *to, message),
        Output::Committed(entry) => history.check_applied(node, entry),
        Output::Restored(snapshot) => history.check_restored(node, snapshot),
        Output::BarrierPassed(barrier) => history.on_barrier_passed(&node.raft, *barrier),
        Output::ProposalDone { proposal, outcome: ProposalOutcome::Committed(index) } => {
            let command = (!is_change(*proposal)).then(|| command_of(*proposal));
            history.check_done(me, *index, command.as_deref())
        }
        Output::SafetyLost(evidence) => ensure(false, || format!("node {me}: {evidence}")),
        Output::EntriesLost { acknowledged, last } => ensure(false, || {
            format!("node {me} acknowledged entry {acknowledged}, and its log ends at {last}")
        }),
        Output::Write(_)
        | Output::ProposalDone { .. }
        | Output::RoleChanged { .. }
        | Output::TransferAborted
        | Output::MembershipChanged(_)
        | Output::Dropped { .. } => Ok(()),
    }
}
