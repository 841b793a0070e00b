//! One run: the state of the simulated world, and the loop that carries out one event after the other.

use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    HardState, Incarnation, LogIndex, Member, Membership, Micros, Peer, Snapshot, Suffrage, Term,
};
use ticketd::identity::ClusterId;
use ticketd::node::{Node, Output, initial_state};

use crate::clients::Client;
use crate::disk::Disk;
use crate::history::History;
use crate::host::{Clock, Health, Host, Process, Run, Standing, node_id};
use crate::network::{Conn, Packets, address};
use crate::operators::Operators;
use crate::oracle::Oracle;
use crate::plan::{Limits, Plan, Weather};
use crate::rng::Rng;
use crate::schedule::{Epoch, Event, Life, Schedule, Slot};
use crate::star::Star;
use crate::{Narration, violated};

pub(crate) const CLUSTER: ClusterId = ClusterId(0x5eed);

/// A run with more events than this is stuck in a loop.
const EVENTS_MAX: u64 = 3_000_000;

/// The summary of a successful run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// The number of events: deliveries, turns, requests, transactions, faults and so on.
    pub events: u64,
    /// How long the cluster lived, in simulated microseconds.
    pub simulated_us: u64,
    /// How many requests were given IDs.
    pub answered: u64,
    /// How many faults there were.
    pub faults: u64,
    /// How many damaged stores were refused when their nodes were started.
    pub refused_stores: u64,
    /// How many leaders were elected.
    pub elections: u64,
    /// How many entries were committed.
    pub committed: u64,
    /// How many changes of membership operators were told are done.
    pub changes: u64,
    /// How many transfers of leadership operators were told are done.
    pub transfers: u64,
    /// How many requests were given IDs by leaders that held a lease.
    pub leased: u64,
    /// How often a leader left integers to its successor.
    pub bequests: u64,
    /// The time from the end of the faults to the first answer, in election timeouts, rounded up.
    pub recovery_timeouts: u64,
    /// Whether there was a star: 1, or 0.
    pub stars: u64,
    /// The time from the beginning of the star until somebody led who reaches a majority, in election
    /// timeouts, rounded up.
    pub star_timeouts: u64,
    /// A hash of when everything happened, and of how it ended: two runs of one seed must agree on it.
    pub fingerprint: u64,
}

impl Summary {
    /// Adds what happened in another run.
    pub fn add(&mut self, other: &Summary) {
        self.events += other.events;
        self.simulated_us += other.simulated_us;
        self.answered += other.answered;
        self.faults += other.faults;
        self.refused_stores += other.refused_stores;
        self.elections += other.elections;
        self.committed += other.committed;
        self.changes += other.changes;
        self.transfers += other.transfers;
        self.leased += other.leased;
        self.bequests += other.bequests;
        self.recovery_timeouts = self.recovery_timeouts.max(other.recovery_timeouts);
        self.stars += other.stars;
        self.star_timeouts = self.star_timeouts.max(other.star_timeouts);
        // Runs end in any order.
        self.fingerprint ^= other.fingerprint;
    }
}

/// A hash that goes on with one more value (a multiplication as in FNV, with more bits).
fn folded(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// How far a run has got.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Trouble,
    /// Nothing goes wrong any more, but some links are cut.
    Star,
    Recovery,
    /// Clients send no more requests.
    Quiet,
    Over,
}

/// The state of one run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) limits: Limits,
    pub(crate) now: Micros,
    pub(crate) phase: Phase,
    pub(crate) schedule: Schedule,
    pub(crate) hosts: Vec<Host>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) packets: Packets,
    /// For each host, the hosts that its bytes do not reach, as a bit set.
    pub(crate) blocked: Vec<u16>,
    /// The current weather.
    pub(crate) weather: Weather,
    pub(crate) clients: Vec<Client>,
    pub(crate) operators: Operators,
    pub(crate) history: History,
    pub(crate) oracle: Oracle,
    pub(crate) net_rng: Rng,
    pub(crate) fault_rng: Rng,
    pub(crate) client_rng: Rng,
    pub(crate) faults_seen: u64,
    /// Outputs taken from a node and not yet carried out; kept to avoid allocating the buffer again.
    pub(crate) outputs: Vec<Output>,
    pub(crate) star: Option<Star>,
    pub(crate) faults_stopped_at: Micros,
    pub(crate) first_answer_in_recovery: Option<Micros>,
    /// Whether the check was put off once because not all nodes were well.
    pub(crate) check_put_off: bool,
    pub(crate) summary: Summary,
    pub(crate) narration: Narration,
}

impl World {
    pub(crate) fn new(plan: Plan, limits: Limits, narration: Narration) -> World {
        let initial = Arc::new(initial_snapshot(&plan));
        let hosts = (0..plan.hosts).map(|slot| host(&plan, Slot(slot), &initial)).collect();
        let seed = plan.seed;
        let mut world = World {
            weather: plan.weather,
            now: Micros(0),
            phase: Phase::Trouble,
            schedule: Schedule::default(),
            hosts,
            conns: Vec::new(),
            packets: Packets::default(),
            blocked: vec![0; usize::from(plan.hosts)],
            clients: Vec::new(),
            operators: Operators::default(),
            history: History::new(&plan),
            oracle: Oracle::new(&initial),
            net_rng: Rng::new(seed, 2),
            fault_rng: Rng::new(seed, 3),
            client_rng: Rng::new(seed, 4),
            faults_seen: 0,
            outputs: Vec::new(),
            star: None,
            faults_stopped_at: Micros(0),
            first_answer_in_recovery: None,
            check_put_off: false,
            summary: Summary::default(),
            narration,
            plan,
            limits,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for slot in 0..self.plan.members {
            let at = self.now.plus(self.net_rng.below(self.plan.election_timeout_us));
            self.start_at(Slot(slot), at);
        }
        self.begin_clients();
        self.schedule.plan(self.now, Event::Operate);
        self.plan_fault();
        self.schedule.plan(Micros(self.plan.trouble_us), Event::FaultsStop);
    }

    /// Runs all events until the end.
    pub(crate) fn run(mut self) -> Summary {
        while self.phase != Phase::Over {
            let Some((at, event)) = self.schedule.next() else { violated!("nothing will ever happen again") };
            self.now = at;
            self.summary.events += 1;
            self.summary.fingerprint = folded(self.summary.fingerprint, at.0);
            if self.summary.events > EVENTS_MAX {
                violated!("{EVENTS_MAX} events and no end, the last was {event:?} at {at:?}");
            }
            self.happen(event);
        }
        self.summary.simulated_us = self.now.0;
        self.summary.answered = self.history.answered_with_ids;
        self.summary.committed = self.oracle.commit_index().0;
        self.summary.bequests = self.oracle.bequests();
        let rngs = [&mut self.net_rng, &mut self.client_rng, &mut self.fault_rng].map(Rng::next_u64);
        let ends = rngs.into_iter().chain([self.oracle.next()]);
        self.summary.fingerprint = ends.fold(self.summary.fingerprint, folded);
        self.summary
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { conn, direction, packet } => self.on_deliver(conn, direction, packet),
            Event::Broken { conn } => self.on_broken(conn),
            Event::Dial { from, to } => self.on_dial(from, to),
            Event::Refused { from, to } => self.on_refused(from, to),
            Event::HandshakeOver { conn } => self.on_handshake_over(conn),
            Event::Turn { life } => self.on_turn(life),
            Event::Synced { life } => self.on_synced(life),
            Event::Resume { life } => self.on_resume(life),
            Event::Start { slot } => self.on_start(slot),
            Event::Request { client, generation } => self.on_request(client, generation),
            Event::Operate => self.on_operate(),
            Event::Fault => self.on_fault(),
            Event::Repair { repair } => self.on_repair(repair),
            Event::Star => self.on_star(),
            Event::FaultsStop => self.on_faults_stopped(),
            Event::CheckRecovery => self.on_check_recovery(),
        }
    }

    /// The current life on a host, or the next one.
    pub(crate) fn life(&self, slot: Slot) -> Life {
        Life { slot, epoch: self.hosts[slot.at()].epoch }
    }

    /// The process of this life, if it runs.
    pub(crate) fn process(&mut self, life: Life) -> Option<&mut Process> {
        self.hosts[life.slot.at()].process(life.epoch)
    }

    /// Keeps an event for a process that is paused; returns whether it did.
    pub(crate) fn defer(&mut self, life: Life, event: Event) -> bool {
        let host = &mut self.hosts[life.slot.at()];
        match &mut host.run {
            Run::Paused(_, pause) if host.epoch == life.epoch => {
                pause.backlog.push(event);
                true
            }
            Run::Down | Run::Starting | Run::Up(_) | Run::Paused(..) => false,
        }
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.plan.hosts).map(Slot)
    }

    /// Plans the start of a process on a host where none runs.
    pub(crate) fn start_at(&mut self, slot: Slot, at: Micros) {
        let run = &mut self.hosts[slot.at()].run;
        assert!(run.process().is_none(), "a process runs on {slot:?} and another is to be started");
        *run = Run::Starting;
        self.schedule.plan(at, Event::Start { slot });
    }

    /// Starts the process of a host that has a store.
    pub(crate) fn on_start(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot.at()];
        if host.run.process().is_some() {
            return;
        }
        host.run = Run::Down;
        if !host.standing.is_member() || self.sits_out_promises(slot) {
            return;
        }
        let host = &mut self.hosts[slot.at()];
        // The real store begins with a transaction of its own, for which there may or may not be room.
        if host.health == Health::Full && self.fault_rng.percent(50) {
            self.narrate(slot, || "does not start: its disk is full".to_owned());
            return;
        }
        let contents = match host.disk.open(&host.identity()) {
            Ok(contents) => contents,
            Err(error) => return self.set_aside(slot, &error),
        };
        host.epoch = Epoch(host.epoch.0 + 1);
        let recorder = contents.recorder();
        let settings = host.settings.as_ref().expect("they were just settled");
        let config = settings.node_config(host.peer, self.net_rng.next_u64());
        let node = Node::new(config, host.clock.local(self.now), contents.recovered);
        let node = match node {
            Ok(node) => node
                .compacting_every(NonZeroU64::new(self.plan.compaction_interval).unwrap_or(NonZeroU64::MIN))
                .thrifty_from(self.plan.thrifty_from),
            Err(error) => violated!("{} cannot start from its own store: {error}", host.peer),
        };
        if node.raft().hard_state() != host.disk.written.hard_state {
            violated!(
                "{} starts with {:?}, its disk has {:?}",
                host.peer,
                node.raft().hard_state(),
                host.disk.written.hard_state
            );
        }
        let membership = Arc::clone(node.membership());
        host.run = Run::Up(Process::new(node, recorder, usize::from(self.plan.hosts)));
        self.narrate(slot, || "starts".to_owned());
        self.relink(slot, &membership);
        self.plan_turn(slot);
    }

    /// Ends a process at once. It loses everything that it had not made durable.
    pub(crate) fn kill(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot.at()];
        let Some(mut process) = host.run.end() else { return };
        host.epoch = Epoch(host.epoch.0 + 1);
        // When the power fails during a sync, the data may be on the disk afterwards, or not, or in part.
        if self.fault_rng.percent(50) {
            let _ = process.storage.commit(&mut host.disk, &mut self.oracle);
        } else {
            process.storage.cut(&mut host.disk, &mut self.fault_rng, &mut self.oracle);
        }
        self.narrate(slot, || "dies".to_owned());
    }

    /// The host's operating system closes the connections that a process had accepted.
    pub(crate) fn close_accepted(&mut self, life: Life) {
        self.break_conns(|conn| conn.acceptor == life);
    }

    /// A process has learned that it is no longer a member: it ends, and its store is useless.
    pub(crate) fn on_removed(&mut self, slot: Slot) {
        let peer = self.hosts[slot.at()].peer;
        if self.oracle.membership().contains(peer) {
            violated!("{peer} leaves the cluster, of which it is a member");
        }
        self.narrate(slot, || "leaves".to_owned());
        let life = self.life(slot);
        self.kill(slot);
        self.close_accepted(life);
        self.empty(slot);
    }

    /// The store of a host is gone. It is remembered, because what its owner promised was true.
    pub(crate) fn empty(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot.at()];
        let disk = std::mem::take(&mut host.disk);
        host.former.push((host.peer, disk));
        host.standing = Standing::Empty;
        (host.settings, host.bound_until) = (None, None);
        host.peer.incarnation = Incarnation(host.peer.incarnation.0 + 1);
    }
}

fn host(plan: &Plan, slot: Slot, initial: &Arc<Snapshot>) -> Host {
    let member = slot.0 < plan.members;
    let mut host = Host {
        peer: first_peer(slot),
        standing: if member { Standing::Member { joined_at: LogIndex(1) } } else { Standing::Empty },
        disk: Disk::default(),
        settings: None,
        bound_until: None,
        health: Health::Sound,
        former: Vec::new(),
        clock: Clock::new(u64::from(slot.0) * 1_000_000_000),
        epoch: Epoch(0),
        run: Run::Down,
        has_lasting_fault: false,
    };
    if member {
        let hard_state = HardState { current_term: initial.last_included_term, voted_for: None };
        host.disk = Disk::new(&host.identity(), hard_state, Some(Arc::clone(initial)));
    }
    host
}

fn first_peer(slot: Slot) -> Peer {
    Peer { id: node_id(slot), incarnation: Incarnation(u128::from(slot.0) << 32) }
}

fn initial_snapshot(plan: &Plan) -> Snapshot {
    let mut membership = Membership::default();
    for slot in (0..plan.members).map(Slot) {
        membership.members.insert(node_id(slot), member(first_peer(slot), slot, Suffrage::Voter));
    }
    Snapshot {
        last_included_index: LogIndex(1),
        last_included_term: Term(1),
        membership: Arc::new(membership),
        state: initial_state(NonZeroU64::new(plan.first_id).unwrap_or(NonZeroU64::MIN)),
    }
}

/// The log's record of the node on a host.
fn member(peer: Peer, slot: Slot, suffrage: Suffrage) -> Member {
    let incarnation = peer.incarnation;
    Member { incarnation, suffrage, peer_address: address(slot), client_address: address(slot) }
}
