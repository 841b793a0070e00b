//! Several nodes and a network of queued messages, which travel only when the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft_core::{
    Audience, BarrierId, Config, Confirmation, Input, Lease, LogIndex, MembershipChange, Message, Micros,
    NodeId, Output, Peer, ProposalId, Recovered, Role, Term,
};

use super::node::Node;
use super::{ELECTION_TIMEOUT_US, add, config, id, membership, narrate, peer, recovered};

/// How many deliveries one `settle` may take. More means that nodes answer each other for ever.
const DELIVERIES_MAX: usize = 20_000;

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: Peer,
    pub(crate) to: Peer,
    pub(crate) message: Message,
}

/// Nodes by number, in their first life.
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<u64, Node>,
    pub(crate) network: VecDeque<Envelope>,
    /// Disks on which nothing becomes durable by itself.
    pub(crate) stalled: BTreeSet<u64>,
    /// Processes that are not running.
    pub(crate) down: BTreeSet<u64>,
    /// Directions in which nothing arrives.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// What has happened, as lines; whoever reads it empties it.
    pub(crate) story: Vec<String>,
    /// Whether those that are created keep leases.
    pub(crate) lease: Option<Lease>,
    next_number: u64,
}

impl Cluster {
    /// Voters with empty logs after the first snapshot, in term 1.
    pub(crate) fn new(voters: &[u64]) -> Cluster {
        Cluster::with_logs(&voters.iter().map(|n| (*n, &[][..])).collect::<Vec<_>>())
    }

    /// Voters, each with entries of these terms from index 2 on.
    pub(crate) fn with_logs(logs: &[(u64, &[u64])]) -> Cluster {
        Cluster::with_logs_in_term(logs, 1)
    }

    /// The same, where every node has seen at least this term.
    pub(crate) fn with_logs_in_term(logs: &[(u64, &[u64])], term: u64) -> Cluster {
        let voters: Vec<u64> = logs.iter().map(|(number, _)| *number).collect();
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            network: VecDeque::new(),
            stalled: BTreeSet::new(),
            down: BTreeSet::new(),
            cut: BTreeSet::new(),
            story: Vec::new(),
            lease: None,
            next_number: 0,
        };
        for (number, terms) in logs {
            let mut recovered = recovered(membership(&voters, &[]), terms);
            let seen = &mut recovered.hard_state.current_term;
            *seen = (*seen).max(Term(term));
            cluster.create(*number, recovered);
        }
        cluster
    }

    /// Voters of which 1 leads term 2, its no-op committed everywhere.
    pub(crate) fn led_by_1(voters: &[u64]) -> Cluster {
        let mut cluster = Cluster::new(voters);
        cluster.elect(1);
        cluster
    }

    /// Voters that keep leases with clocks of this error, of which 1 leads term 2 and holds one.
    pub(crate) fn leased_to_1(voters: &[u64], clock_error_ppm: u32) -> Cluster {
        let mut cluster = Cluster::new(&[]);
        cluster.lease = Some(Lease { clock_error_ppm });
        for number in voters {
            cluster.create(*number, recovered(membership(voters, &[]), &[]));
        }
        cluster.elect(1);
        cluster.wake(1);
        cluster.settle();
        cluster
    }

    pub(crate) fn create(&mut self, number: u64, recovered: Recovered) {
        let config = Config { lease: self.lease, ..config(peer(number)) };
        self.nodes.insert(number, Node::new(config, Micros(0), recovered));
    }

    pub(crate) fn node(&mut self, number: u64) -> &mut Node {
        self.nodes.get_mut(&number).expect("the test has created this node")
    }

    /// Gives an input to a node that runs, and queues what it sends.
    pub(crate) fn step(&mut self, number: u64, input: Input) {
        if !self.down.contains(&number) {
            self.node(number).step(input);
            self.collect(number);
        }
    }

    /// Wakes one node at its deadline, with its own clock set forward to it.
    pub(crate) fn wake(&mut self, number: u64) {
        self.node(number).wake();
        self.collect(number);
    }

    /// Makes this node campaign and everything settle. The others have heard nothing for an election timeout.
    pub(crate) fn elect(&mut self, number: u64) {
        self.campaign(number);
        self.settle();
        let role = self.node(number).raft.role();
        assert_eq!(role, Role::Leader, "{number} was to be elected: {:?}", self.story);
    }

    /// Hands leadership over to each of these in turn.
    pub(crate) fn elect_transfers(&mut self, to: &[u64]) {
        for number in to {
            let leader = self.leader().expect("somebody leads").get();
            self.transfer(leader, Some(*number));
            self.settle();
            assert_eq!(self.role(*number), Role::Leader, "{number} was to lead: {:?}", self.story);
        }
    }

    /// Makes this node ask for pre-votes. The others have heard nothing for an election timeout.
    pub(crate) fn campaign(&mut self, number: u64) {
        for node in self.nodes.values_mut() {
            node.pass(ELECTION_TIMEOUT_US);
        }
        self.wake(number);
    }

    /// Delivers everything, and syncs every disk that is not stalled, until nothing is left. No time passes.
    pub(crate) fn settle(&mut self) {
        for _ in 0..DELIVERIES_MAX {
            let synced = self.sync_all();
            if !self.deliver_next() && !synced {
                return;
            }
        }
        panic!("after {DELIVERIES_MAX} deliveries the nodes still answer each other: {:?}", self.network);
    }

    /// Lets this much time pass on every clock; whoever has a deadline is woken, and everything settles.
    pub(crate) fn pass(&mut self, us: u64) {
        let mut left = us;
        loop {
            let until_deadline = |(n, node): (&u64, &Node)| {
                let running = !self.down.contains(n);
                node.raft.deadline().filter(|_| running).map(|at| at.since(node.now))
            };
            let next = self.nodes.iter().filter_map(until_deadline).min().unwrap_or(left).min(left);
            left -= next;
            let numbers: Vec<u64> = self.nodes.keys().copied().collect();
            for number in numbers {
                let node = self.node(number);
                node.pass(next);
                let due = node.raft.deadline().is_some_and(|at| at <= node.now);
                if due && !self.down.contains(&number) {
                    self.node(number).wake_now();
                    self.collect(number);
                }
            }
            self.settle();
            if left == 0 {
                return;
            }
        }
    }

    /// Delivers the oldest message on its way; false where there is none.
    pub(crate) fn deliver_next(&mut self) -> bool {
        let Some(envelope) = self.network.pop_front() else { return false };
        self.arrive(envelope);
        true
    }

    /// Delivers what is on its way from one node to another now; what that causes stays on its way.
    pub(crate) fn deliver(&mut self, from: u64, to: u64) -> usize {
        let taken = self.take(from, to);
        let count = taken.len();
        for envelope in taken {
            self.arrive(envelope);
        }
        count
    }

    /// Takes what is on its way from one node to another off the network.
    pub(crate) fn take(&mut self, from: u64, to: u64) -> Vec<Envelope> {
        let on_way = |e: &Envelope| e.from == peer(from) && e.to == peer(to);
        let (taken, rest): (Vec<_>, Vec<_>) = self.network.drain(..).partition(on_way);
        self.network = rest.into();
        taken
    }

    /// A message arrives, unless its way is cut or nobody is there.
    pub(crate) fn arrive(&mut self, envelope: Envelope) {
        let Envelope { from, to, message } = envelope;
        let cut = self.cut.contains(&(from.id.get(), to.id.get()));
        if !cut && self.nodes.contains_key(&to.id.get()) {
            self.step(to.id.get(), Input::Message { from, message });
        }
    }

    pub(crate) fn cut_both(&mut self, one: u64, other: u64) {
        self.cut.insert((one, other));
        self.cut.insert((other, one));
    }

    /// Cuts a node, which need not exist yet, off from all others.
    pub(crate) fn isolate(&mut self, number: u64) {
        let others: Vec<u64> = self.nodes.keys().copied().filter(|n| *n != number).collect();
        for other in others {
            self.cut_both(number, other);
        }
    }

    pub(crate) fn crash(&mut self, number: u64) {
        self.down.insert(number);
        self.story.push(format!("{number} crashes"));
    }

    pub(crate) fn restart(&mut self, number: u64) {
        self.node(number).crash();
        self.down.remove(&number);
        self.story.push(format!("{number} starts again"));
    }

    pub(crate) fn propose(&mut self, at: u64, command: &str) -> ProposalId {
        let proposal = ProposalId(self.number());
        self.step(at, Input::Propose { proposal, command: command.as_bytes().into() });
        proposal
    }

    pub(crate) fn change(&mut self, at: u64, change: MembershipChange) -> ProposalId {
        let proposal = ProposalId(self.number());
        self.step(at, Input::ChangeMembership { proposal, change });
        proposal
    }

    /// Asks for a learner, whose empty store is created where there is none.
    pub(crate) fn add(&mut self, at: u64, number: u64) -> ProposalId {
        if !self.nodes.contains_key(&number) {
            self.create(number, Recovered::default());
        }
        self.change(at, add(peer(number)))
    }

    pub(crate) fn remove(&mut self, at: u64, number: u64) -> ProposalId {
        self.change(at, MembershipChange::Remove { id: id(number), incarnation: None })
    }

    pub(crate) fn barrier(&mut self, at: u64) -> BarrierId {
        self.begin_barrier(at, Audience::EveryVoter, Confirmation::CommitIndex)
    }

    pub(crate) fn thrifty_barrier(&mut self, at: u64) -> BarrierId {
        self.begin_barrier(at, Audience::QuickestMajority, Confirmation::CommitIndex)
    }

    /// One that is to confirm the leadership, and nothing else.
    pub(crate) fn barrier_before_commit(&mut self, at: u64) -> BarrierId {
        self.begin_barrier(at, Audience::EveryVoter, Confirmation::Leadership)
    }

    fn begin_barrier(&mut self, at: u64, audience: Audience, confirms: Confirmation) -> BarrierId {
        let barrier = BarrierId(self.number());
        self.step(at, Input::ReadBarrier { barrier, audience, confirms });
        barrier
    }

    pub(crate) fn transfer(&mut self, at: u64, to: Option<u64>) {
        self.step(at, Input::TransferLeadership { to: to.map(id) });
    }

    pub(crate) fn unreachable(&mut self, at: u64, gone: u64) {
        self.step(at, Input::PeerUnreachable(peer(gone)));
    }

    pub(crate) fn compact(&mut self, at: u64) {
        let node = self.node(at);
        let through = node.raft.last_applied();
        let state = node.machine.state(through);
        self.step(at, Input::Compact { through, state });
    }

    /// Everything that a node has told its driver since it was last asked.
    pub(crate) fn events(&mut self, number: u64) -> Vec<Output> {
        self.node(number).take_events()
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        let running = self.nodes.iter().filter(|(n, _)| !self.down.contains(n));
        let leaders = running.filter(|(_, node)| node.raft.role() == Role::Leader);
        leaders.max_by_key(|(_, node)| node.raft.current_term()).map(|(n, _)| id(*n))
    }

    pub(crate) fn role(&self, number: u64) -> Role {
        self.nodes[&number].raft.role()
    }

    pub(crate) fn commit(&self, number: u64) -> LogIndex {
        self.nodes[&number].raft.commit_index()
    }

    /// The terms of a node's log after its snapshot.
    pub(crate) fn terms(&self, number: u64) -> Vec<u64> {
        let raft = &self.nodes[&number].raft;
        let first = raft.snapshot().map_or(1, |s| s.last_included_index.0 + 1);
        (first..=raft.last_log_index().0).filter_map(|i| raft.entry(LogIndex(i))).map(|e| e.term.0).collect()
    }

    pub(crate) fn sync(&mut self, number: u64) -> bool {
        let any = self.node(number).sync();
        self.collect(number);
        any
    }

    pub(crate) fn sync_one(&mut self, number: u64) -> bool {
        let any = self.node(number).sync_one();
        self.collect(number);
        any
    }

    /// Puts what a node has sent on its way, and what it has told into the story.
    pub(crate) fn collect(&mut self, number: u64) {
        let node = self.nodes.get_mut(&number).expect("only nodes that exist are stepped");
        let from = node.config.me;
        for (to, message) in node.sent.drain(..) {
            self.network.push_back(Envelope { from, to, message });
        }
        let told = node.events.iter().skip(node.told).filter_map(narrate::event);
        self.story.extend(told.map(|line| format!("{number} {line}")));
        node.told = node.events.len();
    }

    /// Syncs every disk that is able to; true where there was something to write.
    pub(crate) fn sync_all(&mut self) -> bool {
        let able = |n: &u64| !self.stalled.contains(n) && !self.down.contains(n);
        let numbers: Vec<u64> = self.nodes.keys().copied().filter(able).collect();
        // Every one of them, not only up to the first that had something to write.
        numbers.into_iter().filter(|number| self.sync(*number)).count() > 0
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
