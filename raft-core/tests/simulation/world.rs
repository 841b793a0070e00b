//! The world: nodes, their disks and clocks, a network, and the order in which things happen.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::{
    Audience, BarrierId, Confirmation, Incarnation, Input, LogIndex, Message, Micros, NodeId, Output, Peer,
    ProposalId, Recovered, Role,
};

use crate::faults::Weather;
use crate::harness::narrate;
use crate::harness::node::Node;
use crate::harness::rng::Rng;
use crate::harness::{ELECTION_TIMEOUT_US, config, id, membership, peer, recovered};
use crate::oracle::Oracle;
use crate::totals::Totals;

/// How long the faults last, in simulated microseconds.
const STORM_US: u64 = 8_000_000;
/// How long a cluster may take to recover once they end: many election timeouts, because votes may be split.
const CALM_US: u64 = 30 * ELECTION_TIMEOUT_US;

/// Something that will happen.
pub(crate) enum Event {
    Deliver {
        from: Peer,
        to: Peer,
        message: Message,
    },
    Unreachable {
        at: Peer,
        gone: Peer,
    },
    /// The disk has come as far as `writes` of what waits, in this life of the process.
    Synced {
        node: Peer,
        life: u64,
        writes: usize,
    },
    Restart {
        node: Peer,
        life: u64,
    },
    Client,
    Fault,
}

/// A process and how it is.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) up: bool,
    /// Counts restarts, so that what was meant for an earlier process does not reach the next.
    life: u64,
    pub(crate) syncing: bool,
    /// Its disk takes nothing and answers nothing.
    pub(crate) hangs: bool,
    seen_commit: LogIndex,
    /// Its clock runs ahead of the world's by this much.
    pub(crate) clock_ahead_us: u64,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Micros,
    pub(crate) hosts: BTreeMap<Peer, Host>,
    /// Directions in which nothing arrives.
    pub(crate) cut: BTreeSet<(Peer, Peer)>,
    pub(crate) weather: Weather,
    pub(crate) oracle: Oracle,
    pub(crate) totals: Totals,
    pub(crate) queue: BTreeMap<(Micros, u64), Event>,
    counter: u64,
    calm: bool,
    /// Whether everything that happens is told: `RAFT_TRACE`.
    told: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let voters: Vec<u64> = (1..=[1, 2, 3, 3, 3, 4, 5, 5][below(&mut rng, 8)]).collect();
        let mut world = World {
            weather: Weather::new(&mut rng),
            rng,
            now: Micros(1_000_000),
            hosts: BTreeMap::new(),
            cut: BTreeSet::new(),
            oracle: Oracle::new(),
            totals: Totals::default(),
            queue: BTreeMap::new(),
            counter: 0,
            calm: false,
            told: std::env::var_os("RAFT_TRACE").is_some(),
        };
        for number in &voters {
            world.create(peer(*number), recovered(membership(&voters, &[]), &[]));
        }
        world.after(0, Event::Client);
        world.after(0, Event::Fault);
        world
    }

    /// A storm of faults, in some runs a partial partition or faults that last, then calm; in each the
    /// cluster must recover.
    pub(crate) fn run(mut self) -> Totals {
        let storm_ends = self.now.plus(STORM_US);
        self.run_until(storm_ends);
        self.calm_down();
        match self.rng.below(10) {
            0..4 if !self.weather.is_slow_for_good => self.weather_star(),
            4..7 => self.weather_lasting_faults(),
            _ => {}
        }
        if self.weather.is_slow_for_good {
            self.wait_for_recovery();
        } else {
            self.run_until(self.now.plus(CALM_US));
            self.check_recovered();
        }
        self.totals.elections = u64::try_from(self.oracle.elections()).expect("few elections");
        self.totals.committed = self.oracle.last_committed().0;
        self.totals
    }

    /// Adds a process.
    pub(crate) fn create(&mut self, me: Peer, recovered: Recovered) {
        let clock_ahead_us = self.rng.below(10_000_000);
        let config = raft_core::Config {
            seed: self.rng.next_u64(),
            lease: self.weather.lease,
            election_timeout_us: self.weather.election_timeout_us(&mut self.rng),
            ..config(me)
        };
        let node = Node::new(config, self.now.plus(clock_ahead_us), recovered);
        let seen_commit = node.raft.commit_index();
        let host =
            Host { node, up: true, life: 0, syncing: false, hangs: false, seen_commit, clock_ahead_us };
        self.hosts.insert(me, host);
    }

    /// A store that has joined and heard nothing yet, for an id that may have been used before.
    pub(crate) fn create_joining(&mut self, number: u64) -> Peer {
        let lives = self.hosts.keys().filter(|p| p.id.get() == number).count();
        let incarnation = Incarnation(u128::try_from(lives).expect("few lives") + 1);
        let me = Peer { id: id(number), incarnation };
        self.create(me, Recovered::default());
        me
    }

    /// The process is gone; a random part of what its disk was writing has become durable.
    pub(crate) fn crash(&mut self, me: Peer) {
        self.totals.crashes += 1;
        self.tell(me, || "crashes".to_owned());
        self.oracle.forget_barriers(me);
        let Some(host) = self.hosts.get_mut(&me) else { return };
        let pending = u64::try_from(host.node.disk.pending()).expect("few writes");
        for _ in 0..self.rng.below(pending + 1) {
            host.node.disk.sync_one();
        }
        host.up = false;
        host.life += 1;
        host.syncing = false;
        let life = host.life;
        let down_us = self.rng.between(1_000, 5 * ELECTION_TIMEOUT_US);
        self.after(down_us, Event::Restart { node: me, life });
        for other in self.up() {
            if self.rng.per_mille(700) {
                let delay_us = self.rng.between(100, 3_000);
                self.after(delay_us, Event::Unreachable { at: other, gone: me });
            }
        }
    }

    /// Gives an input to a process that is up, and sees to what comes out.
    pub(crate) fn step(&mut self, me: Peer, input: Input) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&me) else { return };
        if host.up {
            host.node.now = now.plus(host.clock_ahead_us);
            if let Input::Propose { proposal, .. } | Input::ChangeMembership { proposal, .. } = input {
                self.oracle.on_proposed(proposal, me);
            }
            host.node.step(input);
            self.after_step(me);
        }
    }

    pub(crate) fn up(&self) -> Vec<Peer> {
        self.hosts.iter().filter(|(_, h)| h.up).map(|(p, _)| *p).collect()
    }

    /// Whoever leads, as far as it knows itself.
    pub(crate) fn leaders(&self) -> Vec<Peer> {
        let leads = |host: &Host| host.up && host.node.raft.role() == Role::Leader;
        self.hosts.iter().filter(|(_, h)| leads(h)).map(|(p, _)| *p).collect()
    }

    /// The leader with the highest term among the processes that are up.
    pub(crate) fn leader(&self) -> Option<Peer> {
        let leaders = self.hosts.values().filter(|h| h.up && h.node.raft.role() == Role::Leader);
        leaders.max_by_key(|h| h.node.raft.current_term()).map(|h| h.node.config.me)
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn begin_barrier(&mut self, at: Peer) {
        let barrier = BarrierId(self.next_number());
        let thrifty = self.rng.per_mille(500);
        let audience = if thrifty { Audience::QuickestMajority } else { Audience::EveryVoter };
        let reads = self.rng.per_mille(500);
        let confirms = if reads { Confirmation::CommitIndex } else { Confirmation::Leadership };
        if let Some(host) = self.hosts.get(&at)
            && host.node.raft.role() == Role::Leader
        {
            self.oracle.on_barrier(barrier, &host.node.raft, confirms);
        }
        self.step(at, Input::ReadBarrier { barrier, audience, confirms });
    }

    pub(crate) fn propose(&mut self, at: Peer) {
        let number = self.next_number();
        let size = if self.rng.per_mille(5) { 40_000 } else { 8 };
        let mut command = vec![0; size];
        command[..8].copy_from_slice(&number.to_be_bytes());
        self.step(at, Input::Propose { proposal: ProposalId(number), command: command.into() });
    }

    pub(crate) fn compact(&mut self, at: Peer) {
        let Some(host) = self.hosts.get(&at) else { return };
        let through = host.node.raft.last_applied();
        let state = host.node.machine.state(through);
        self.totals.snapshots += 1;
        self.step(at, Input::Compact { through, state });
    }

    pub(crate) fn run_until(&mut self, end: Micros) {
        loop {
            let next_event = self.queue.first_key_value().map(|((at, _), _)| *at);
            let next_wake = self.hosts.iter().filter(|(_, h)| h.up).filter_map(|(p, h)| {
                let deadline = h.node.raft.deadline()?;
                Some((Micros(deadline.0.saturating_sub(h.clock_ahead_us)).max(self.now), *p))
            });
            let next_wake = next_wake.min();
            let next = next_event.into_iter().chain(next_wake.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at < end) else { break };
            self.now = self.now.max(next);
            self.totals.events += 1;
            match next_wake {
                Some((at, me)) if at == next => self.wake(me),
                Some(_) | None => {
                    let (_, event) = self.queue.pop_first().expect("it was the earliest");
                    self.happen(event);
                }
            }
        }
        self.now = end;
    }

    fn wake(&mut self, me: Peer) {
        let now = self.now;
        let host = self.hosts.get_mut(&me).expect("it was just seen");
        host.node.now = now.plus(host.clock_ahead_us);
        host.node.wake_now();
        self.after_step(me);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                if !self.cut.contains(&(from, to)) {
                    self.tell(to, || {
                        format!("<- {}.{} {}", from.id, from.incarnation.0, narrate::message(&message))
                    });
                    self.step(to, Input::Message { from, message });
                }
            }
            Event::Unreachable { at, gone } => self.step(at, Input::PeerUnreachable(gone)),
            Event::Synced { node, life, writes } => self.on_synced(node, life, writes),
            Event::Restart { node, life } => self.restart(node, life),
            Event::Client => {
                self.client();
                let pause_us = if self.calm { 20_000 } else { self.rng.between(500, 20_000) };
                self.after(pause_us, Event::Client);
            }
            Event::Fault => {
                if !self.calm {
                    self.fault();
                    let pause_us = self.weather.fault_pause_us(&mut self.rng);
                    self.after(pause_us, Event::Fault);
                }
            }
        }
    }

    fn on_synced(&mut self, me: Peer, life: u64, writes: usize) {
        let alive = |h: &&mut Host| h.up && h.life == life && !h.hangs;
        let Some(host) = self.hosts.get_mut(&me).filter(alive) else { return };
        host.syncing = false;
        let mut through = None;
        for _ in 0..writes {
            through = host.node.disk.sync_one().or(through);
        }
        let input = match through {
            Some(_) if !self.calm && self.rng.per_mille(self.weather.write_failure_per_mille) => {
                Input::WriteFailed
            }
            Some(through) => Input::WritesDurable { through },
            None => return,
        };
        self.tell(me, || format!("{input:?}"));
        self.step(me, input);
    }

    fn restart(&mut self, me: Peer, life: u64) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&me).filter(|h| !h.up && h.life == life) else { return };
        let before = host.node.raft.last_applied();
        host.node.now = now.plus(host.clock_ahead_us);
        host.node.crash();
        host.up = true;
        let kept = host.node.raft.last_log_index();
        assert!(kept >= before, "{me:?} had applied {before:?} and comes back with {kept:?}");
        host.seen_commit = host.node.raft.commit_index();
    }

    /// Checks what the step has changed, and sends what it has to say.
    fn after_step(&mut self, me: Peer) {
        let Some(host) = self.hosts.get_mut(&me) else { return };
        let sent = host.node.take_sent();
        let events = host.node.take_events();
        let commit_from = std::mem::replace(&mut host.seen_commit, host.node.raft.commit_index());
        let can_sync = !host.syncing && !host.hangs && !host.node.raft.is_muted();
        let sync = can_sync && host.node.disk.has_pending();
        let (life, pending) = (host.life, host.node.disk.pending());
        host.syncing |= sync;
        let host = &self.hosts[&me];
        let nodes = self.hosts.values().map(|h| &h.node);
        self.oracle.on_commit(&host.node.raft, commit_from, nodes);
        for event in events {
            if let Some(line) = narrate::event(&event) {
                self.tell(me, || line);
            }
            self.observe(me, &event);
        }
        if self.hosts[&me].node.raft.role() != Role::Leader {
            self.oracle.forget_barriers(me);
        }
        if sync {
            let delay_us = self.weather.sync_us(&mut self.rng, self.calm);
            self.after(delay_us, Event::Synced { node: me, life, writes: pending });
        }
        for (to, message) in sent {
            self.oracle.on_sent(me, to, &message);
            self.transmit(me, to, message);
        }
    }

    pub(crate) fn tell(&self, me: Peer, line: impl FnOnce() -> String) {
        if self.told {
            eprintln!("{:>9} {}.{} {}", self.now.0, me.id, me.incarnation.0, line());
        }
    }

    fn observe(&mut self, me: Peer, event: &Output) {
        let node = &self.hosts[&me].node;
        match event {
            Output::Committed(_) => {}
            Output::RoleChanged { role: Role::Leader, .. } => {
                self.oracle.on_leader(&node.raft);
                let others = self.hosts.values().filter(|h| h.node.config.me != me);
                others.for_each(|other| Oracle::check_log_matching(&node.raft, &other.node.raft));
            }
            Output::BarrierPassed(through) => {
                self.totals.barriers += self.oracle.on_barrier_passed(&node.raft, *through);
            }
            Output::MembershipChanged(_) => self.totals.memberships += 1,
            Output::EntriesLost { acknowledged, last } => {
                panic!("{me:?} acknowledged entry {acknowledged}, and its log ends at {last}")
            }
            Output::SafetyLost(evidence) => panic!("{me:?}: {evidence}"),
            Output::Dropped { from, reason } => panic!("{me:?} dropped a message of {from:?}: {reason:?}"),
            Output::Restored(_) | Output::RoleChanged { .. } => {}
            Output::ProposalDone { proposal, outcome } => {
                self.oracle.on_proposal_done(me, *proposal, *outcome);
            }
            Output::TransferAborted => {}
            Output::Write(_) | Output::Send { .. } => unreachable!("the bench takes these itself"),
        }
        let node = &self.hosts[&me].node;
        self.oracle.on_state(node.raft.last_applied(), node.machine.digest);
    }

    fn transmit(&mut self, from: Peer, to: Peer, message: Message) {
        let copies = if self.calm { 1 } else { self.weather.copies(&mut self.rng) };
        for _ in 0..copies {
            let delay_us = self.weather.delay_us(&mut self.rng, self.calm);
            self.after(delay_us, Event::Deliver { from, to, message: message.clone() });
        }
    }

    fn after(&mut self, delay_us: u64, event: Event) {
        let number = self.next_number();
        self.queue.insert((self.now.plus(delay_us), number), event);
    }

    /// The faults end: every process runs, every disk and link works.
    fn calm_down(&mut self) {
        self.calm = true;
        self.cut.clear();
        let muted: Vec<Peer> =
            self.hosts.iter().filter(|(_, h)| h.up && h.node.raft.is_muted()).map(|(p, _)| *p).collect();
        for me in muted {
            self.crash(me);
        }
    }

    /// Liveness, where disks or links stay slow or promises of support bind: in time there is one leader,
    /// whom every member follows and with whom it applies something new. It need not lead for ever: one whose
    /// disk is late hands over.
    fn wait_for_recovery(&mut self) {
        let committed = self.oracle.last_committed();
        let ends = self.now.plus(2 * CALM_US + self.weather.slowest_syncs_us());
        while !self.is_well(committed) {
            assert!(self.now < ends, "no leader of all long after the faults: {}", self.describe());
            self.run_until(self.now.plus(ELECTION_TIMEOUT_US / 4));
        }
    }

    fn is_well(&self, committed: LogIndex) -> bool {
        let Some(leader) = self.leader() else { return false };
        let raft = &self.hosts[&leader].node.raft;
        let follows = |id: &NodeId| {
            let member = raft.membership().peer(*id).and_then(|member| self.hosts.get(&member));
            member.is_some_and(|host| {
                let other = &host.node.raft;
                other.current_term() == raft.current_term()
                    && other.leader() == Some(leader.id)
                    && other.last_applied() > committed
            })
        };
        raft.membership().members.keys().all(follows)
    }

    /// Liveness: one leader, whom every member follows with the same log, all of it committed and applied but
    /// for what is just on its way.
    fn check_recovered(&mut self) {
        let leader =
            self.leader().unwrap_or_else(|| panic!("no leader long after the faults: {}", self.describe()));
        let raft = &self.hosts[&leader].node.raft;
        let term = raft.current_term();
        let proposed_at = raft.last_log_index();
        let members: Vec<Peer> =
            raft.membership().members.keys().filter_map(|id| raft.membership().peer(*id)).collect();
        let settled = self.now.plus(2 * ELECTION_TIMEOUT_US);
        self.run_until(settled);
        for me in members {
            let host = self.hosts.get(&me).expect("only processes that exist become members");
            let raft = &host.node.raft;
            assert_eq!(raft.current_term(), term, "{me:?} after the faults have ended");
            assert_eq!(raft.leader(), Some(leader.id), "{me:?} after the faults have ended");
            let applied = raft.last_applied();
            assert!(applied >= proposed_at, "{me:?} has applied {applied:?}, {proposed_at:?} was long ago");
        }
    }
}

impl World {
    /// Every process in a line, for a report of failure.
    pub(crate) fn describe(&self) -> String {
        let line = |host: &Host| {
            let raft = &host.node.raft;
            let members = raft.membership().members.iter().map(|(id, m)| {
                format!("{id}.{}{}", m.incarnation.0, if raft.membership().is_voter(*id) { "" } else { "l" })
            });
            format!(
                "\n{}.{} {} {:?} of term {} last {} commit {} applied {} pending {} members {}",
                raft.me().id,
                raft.me().incarnation.0,
                if host.up { "up" } else { "down" },
                raft.role(),
                raft.current_term(),
                raft.last_log_index(),
                raft.commit_index(),
                raft.last_applied(),
                host.node.disk.pending(),
                members.collect::<Vec<_>>().join(" ")
            )
        };
        self.hosts.values().map(line).collect()
    }
}

fn below(rng: &mut Rng, bound: u64) -> usize {
    usize::try_from(rng.below(bound)).expect("a small number")
}
