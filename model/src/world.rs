//! All nodes, messages and histories of any state, each stored once and named by a number, and the steps
//! between them.
//!
//! A few hundred nodes make up millions of states. So what a node does with an input, and whether a history
//! permits it, is computed once and then looked up: finding a state's successors is looking up numbers.

mod choices;
#[cfg(test)]
mod dead;
mod twins;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::iter;

use raft_core::{BarrierId, Input, LogIndex, NodeId, Output, Peer, ProposalOutcome, Role, Term};

use crate::action::Action;
use crate::bounds::{DiskSpeed, Spent};
use crate::history::{History, Violation, check_log_matching};
use crate::network::{Dead, Envelope, Network, dead};
use crate::node::Node;
use crate::state::{NODES_MAX, State};
use crate::step::{self, Cause, Stage, command_of};
use crate::symmetry::Symmetry;

/// The tables.
pub(crate) struct World {
    disk: DiskSpeed,
    peers: Vec<Peer>,
    nodes: Vec<Known>,
    node_numbers: HashMap<u64, u16>,
    histories: Vec<History>,
    history_numbers: HashMap<u64, u16>,
    letters: Vec<Letter>,
    letter_numbers: HashMap<Envelope, u16>,
    steps: Vec<Taken>,
    step_numbers: HashMap<(u16, Cause), u32>,
    /// The history after a step that commits nothing new.
    told: HashMap<(u16, u32), u16>,
    /// The history after one that does: then what the other nodes have on disk counts too.
    told_among: HashMap<(u16, u32, [u16; NODES_MAX]), u16>,
    /// Pairs of nodes whose logs match.
    matching: HashSet<(u16, u16)>,
    /// Histories and nodes whose log has everything that a leader must have.
    complete: HashSet<(u16, u16)>,
    symmetry: Option<Symmetry>,
}

/// A node, and the properties of it that each state needs.
struct Known {
    node: Node,
    term: Term,
    durable_term: Term,
    leads: bool,
    /// Whether in its current term it is a candidate or leads.
    may_lead: bool,
    follows: Option<NodeId>,
    is_muted: bool,
    wakes: bool,
    has_pending: bool,
    may_compact: bool,
}

/// A message, and when it can have no effect any more.
struct Letter {
    envelope: Envelope,
    to: Option<usize>,
    dead: Dead,
}

/// A [`Step`](step::Step), as numbers.
struct Taken {
    cause: Cause,
    me: Peer,
    after: u16,
    stages: Vec<Stage>,
    sent: Vec<u16>,
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
            nodes: Vec::new(),
            node_numbers: HashMap::new(),
            histories: Vec::new(),
            history_numbers: HashMap::new(),
            letters: Vec::new(),
            letter_numbers: HashMap::new(),
            steps: Vec::new(),
            step_numbers: HashMap::new(),
            told: HashMap::new(),
            told_among: HashMap::new(),
            matching: HashSet::new(),
            complete: HashSet::new(),
            symmetry: None,
        };
        let mut numbers = [0; NODES_MAX];
        assert!(nodes.len() <= NODES_MAX, "{} nodes, a state has room for {NODES_MAX}", nodes.len());
        for (place, node) in numbers.iter_mut().zip(nodes) {
            *place = world.node_number(node);
        }
        let history = world.history_number(history);
        let (network, spent) = (Network::default(), Spent::default());
        (world, State { nodes: numbers, history, network, spent })
    }

    /// From now on, disks have this speed.
    pub(crate) fn with_disk(self, disk: DiskSpeed) -> World {
        // With another disk, the steps taken so far may have other results.
        let (steps, step_numbers) = (Vec::new(), HashMap::new());
        World { disk, steps, step_numbers, told: HashMap::new(), told_among: HashMap::new(), ..self }
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

    pub(crate) fn envelope(&self, state: &State, at: usize) -> Option<&Envelope> {
        let number = state.network.as_slice().get(at)?;
        Some(&self.letters[usize::from(*number)].envelope)
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
        let number = self.step_number(state.nodes[at], cause)?;
        next.history = self.retold(state, at, number)?;
        next.nodes[at] = self.steps[number as usize].after;
        self.check_logs(&next, at)?;
        self.check_complete(&next)?;
        let known = self.known(&next, at);
        next.network.retain(|number| {
            let Letter { to, dead, .. } = self.letters[usize::from(number)];
            to != Some(at) || !known.is_past(dead)
        });
        for number in &self.steps[number as usize].sent {
            if !self.is_dead(&next, *number) && !next.network.send(*number) {
                return Ok(None);
            }
        }
        let within = known.term <= reach.terms_until && next.in_flight() <= reach.in_flight;
        Ok(within.then_some(next))
    }

    /// What a node does, computed the first time it is asked for.
    fn step_number(&mut self, node: u16, cause: Cause) -> Result<u32, Violation> {
        if let Some(number) = self.step_numbers.get(&(node, cause)) {
            return Ok(*number);
        }
        let number = self.new_step(node, cause)?;
        if let Some(mut symmetry) = self.symmetry.take() {
            self.pair(&mut symmetry, node, cause, number)?;
            self.symmetry = Some(symmetry);
        }
        Ok(number)
    }

    fn new_step(&mut self, node: u16, cause: Cause) -> Result<u32, Violation> {
        let known = &self.nodes[usize::from(node)].node;
        let me = known.raft.me();
        let input = match cause {
            Cause::Message(letter) => {
                let Envelope { from, message, .. } = self.letters[usize::from(letter)].envelope.clone();
                Some(Input::Message { from, message })
            }
            Cause::Compact(history) => {
                let through = known.raft.last_applied();
                let state = self.histories[usize::from(history)].state_at(through).into();
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
        };
        let step::Step { after, stages, sent } = step::take(known, cause, input, self.disk)?;
        let commit_index = stages.iter().map(|stage| stage.node.raft.commit_index()).max();
        let taken = Taken {
            cause,
            me,
            after: self.node_number(after),
            stages,
            sent: sent.into_iter().map(|envelope| self.letter_number(envelope)).collect(),
            commit_index: commit_index.unwrap_or_default(),
        };
        self.steps.push(taken);
        let number = u32::try_from(self.steps.len() - 1).expect("steps are counted in 32 bits");
        self.step_numbers.insert((node, cause), number);
        Ok(number)
    }

    /// The history after a step of the node at this position, if the history permits the step.
    fn retold(&mut self, state: &State, at: usize, number: u32) -> Result<u16, Violation> {
        let known = self.histories[usize::from(state.history)].last_committed();
        let alone = self.steps[number as usize].commit_index <= known;
        let found = if alone {
            self.told.get(&(state.history, number))
        } else {
            self.told_among.get(&(state.history, number, state.nodes))
        };
        if let Some(found) = found {
            return Ok(*found);
        }
        let history = self.tell(state, at, number)?;
        let image = self.symmetry.as_ref().map(|symmetry| history.renamed(|peer| symmetry.peer(peer)));
        let history = self.history_number(history);
        if let Some(image) = image {
            let image = self.history_number(image);
            self.symmetry.as_mut().expect("its image was just made").pair_histories(history, image);
        }
        if alone {
            self.told.insert((state.history, number), history);
        } else {
            self.told_among.insert((state.history, number, state.nodes), history);
        }
        Ok(history)
    }

    fn tell(&self, state: &State, at: usize, number: u32) -> Result<History, Violation> {
        let Taken { cause, me, after, stages, .. } = &self.steps[number as usize];
        let mut history = self.histories[usize::from(state.history)].clone();
        match cause {
            Cause::Barrier(number, confirms) => {
                let leader = &self.node(state, at).raft;
                history.on_barrier(BarrierId(u64::from(*number)), leader, *confirms);
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
        history.forget_votes(*me, self.nodes[usize::from(*after)].durable_term);
        Ok(history)
    }

    fn check_logs(&mut self, state: &State, at: usize) -> Result<(), Violation> {
        for other in (0..self.peers.len()).filter(|other| *other != at) {
            let pair = (state.nodes[at], state.nodes[other]);
            if !self.matching.contains(&pair) {
                check_log_matching(&self.node(state, at).raft, &self.node(state, other).raft)?;
                self.matching.insert(pair);
            }
        }
        Ok(())
    }

    fn check_complete(&mut self, state: &State) -> Result<(), Violation> {
        for at in 0..self.peers.len() {
            let pair = (state.history, state.nodes[at]);
            if self.known(state, at).leads && !self.complete.contains(&pair) {
                self.histories[usize::from(state.history)].check_complete(&self.node(state, at).raft)?;
                self.complete.insert(pair);
            }
        }
        Ok(())
    }

    fn known(&self, state: &State, at: usize) -> &Known {
        &self.nodes[usize::from(state.nodes[at])]
    }

    fn is_dead(&self, state: &State, number: u16) -> bool {
        let Letter { to, dead, .. } = self.letters[usize::from(number)];
        to.is_none_or(|at| self.known(state, at).is_past(dead))
    }

    fn node_number(&mut self, node: Node) -> u16 {
        let nodes = &mut self.nodes;
        *self.node_numbers.entry(node.fingerprint()).or_insert_with(|| {
            nodes.push(Known::new(node));
            last_number(nodes.len())
        })
    }

    fn history_number(&mut self, history: History) -> u16 {
        let mut hasher = DefaultHasher::new();
        history.hash(&mut hasher);
        let histories = &mut self.histories;
        *self.history_numbers.entry(hasher.finish()).or_insert_with(|| {
            histories.push(history);
            last_number(histories.len())
        })
    }

    fn letter_number(&mut self, envelope: Envelope) -> u16 {
        if let Some(number) = self.letter_numbers.get(&envelope) {
            return *number;
        }
        let to = self.peers.iter().position(|peer| *peer == envelope.to);
        let dead = dead(&envelope.message);
        self.letters.push(Letter { envelope: envelope.clone(), to, dead });
        let number = last_number(self.letters.len());
        self.letter_numbers.insert(envelope, number);
        number
    }
}

impl Known {
    fn new(node: Node) -> Known {
        let Node { raft, disk, .. } = &node;
        let base = raft.snapshot().map_or(LogIndex(0), |s| s.last_included_index);
        Known {
            term: raft.current_term(),
            durable_term: disk.durable().hard_state.current_term,
            leads: raft.role() == Role::Leader,
            may_lead: matches!(raft.role(), Role::Candidate | Role::Leader),
            follows: raft.leader().filter(|_| raft.role() == Role::Follower),
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

/// The number of the last of this many items.
fn last_number(count: usize) -> u16 {
    u16::try_from(count - 1).expect("a small cluster has fewer nodes, messages and histories than 2^16")
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
            history.check_done(me, *index, &command_of(*proposal))
        }
        Output::Write(_)
        | Output::ProposalDone { .. }
        | Output::RoleChanged { .. }
        | Output::TransferAborted
        | Output::MembershipChanged(_)
        | Output::Dropped { .. } => Ok(()),
    }
}
