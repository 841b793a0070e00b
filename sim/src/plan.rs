//! What a seed stands for: the cluster, the network, the disks, the clients, and what may go wrong.

use raft_core::Peer;
use ticketd::node::THRIFTY_REQUESTS_MIN;

use crate::faults::{FAULTS, Fault};
use crate::rng::Rng;

/// Everything that is fixed before a run begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The source of all randomness.
    pub seed: u64,
    /// How many nodes there are at first.
    pub members: u8,
    /// How many hosts there are; those without a node may join.
    pub hosts: u8,
    /// `--window`.
    pub window: u64,
    /// `--forward`.
    pub forward: bool,
    /// `--lease`.
    pub lease: Option<Leases>,
    /// Each life of a node has its own settings: election timeout, heartbeat interval, `--window`,
    /// `--forward` and `--lease` differ between nodes, and a restart changes them.
    pub settings_vary: bool,
    /// The first ID.
    pub first_id: u64,
    /// How long a request may wait, in microseconds.
    pub request_timeout_us: u64,
    /// Raft's election timeout, in microseconds.
    pub election_timeout_us: u64,
    /// Raft's heartbeat interval, in microseconds.
    pub heartbeat_interval_us: u64,
    /// After how many entries the log is compacted into a snapshot.
    pub compaction_interval: u64,
    /// How many requests in 64 rounds make these rounds thrifty; 0 if all rounds are.
    pub thrifty_from: u64,
    /// How bytes travel.
    pub weather: Weather,
    /// How long a transaction takes.
    pub sync: Latency,
    /// How many clients send requests, one at a time each.
    pub clients: u16,
    /// The longest pause of a client after an answer, in microseconds.
    pub think_us: u64,
    /// The most IDs that a request asks for.
    pub count_max: u64,
    /// How often the turn is not ended right after an input, in parts per million.
    pub put_off_ppm: u32,
    /// How long things go wrong, in microseconds.
    pub trouble_us: u64,
    /// The average time between two faults, in microseconds.
    pub fault_interval_us: u64,
    /// What may go wrong.
    pub faults: Vec<Fault>,
    /// Whether something stays broken after the faults have stopped, though a majority remains.
    pub aftermath: Aftermath,
}

/// Leases, and the clocks that they depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leases {
    /// `--clock_error_ppm`.
    pub clock_error_ppm: u32,
    /// The clocks are as accurate as declared, and do not jump. Then IDs are given in the order of time;
    /// otherwise they are only unique.
    pub clocks_are_sound: bool,
    /// How many per cent of the stores are of nodes that keep leases.
    pub kept_percent: u64,
}

/// How bytes travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weather {
    /// How long they take.
    pub latency: Latency,
    /// What is sent on one connection arrives in order, as in TCP.
    pub ordered: bool,
    /// How often bytes are lost, in parts per million.
    pub loss_ppm: u32,
    /// How often they arrive twice.
    pub duplicate_ppm: u32,
    /// How often a bit of them is flipped.
    pub corrupt_ppm: u32,
    /// How often they take a hundred times as long.
    pub straggle_ppm: u32,
}

/// How long something takes, in microseconds: mostly a short time, as with real networks and disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// The shortest time.
    pub min_us: u64,
    /// The longest time.
    pub max_us: u64,
}

/// The state of the cluster after the faults have stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aftermath {
    /// Everything works.
    Whole,
    /// A minority of the voters is broken for good; the rest must manage without it.
    Minority(LastingFault),
    /// At first one node is connected with all others, and other links are cut; then everything works.
    Star(Cuts),
}

/// The links that are cut in a star.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cuts {
    /// How many per cent of the links that are not the hub's.
    pub percent: u64,
    /// Some work in one direction.
    pub one_way: bool,
}

/// What is wrong with the minority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastingFault {
    /// The process is gone, and the host refuses connections.
    Down,
    /// The host has vanished without notice.
    Vanished,
    /// Nothing that it sends arrives; what is sent to it does.
    Unheard,
    /// What is sent to it does not arrive; what it sends does.
    Deaf,
    /// The process does not run.
    Paused,
    /// No write completes.
    DiskStalled,
    /// Every write fails.
    DiskFailed,
}

/// What a replay leaves out of the plan of its seed, so that a failure is easier to understand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// At most this many nodes at first.
    pub members_max: Option<u8>,
    /// Kinds of faults that do not happen.
    pub without: Vec<Fault>,
    /// Nothing goes wrong from the fault with this number on; the first is 0.
    pub faults_max: Option<u64>,
    /// Faults that do not happen, by number.
    pub skip: Vec<u64>,
}

/// About the largest number of requests in a run: more of them find little more.
const REQUESTS_ABOUT: u64 = 2_000;

const SECOND: u64 = 1_000_000;

impl Plan {
    /// The plan that this seed stands for.
    #[must_use]
    pub fn new(seed: u64, limits: &Limits) -> Plan {
        let mut rng = Rng::new(seed, 1);
        let members = rng.pick(&[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 7]).unwrap_or(3);
        let spare = rng.pick(&[0, 1, 1, 2]).unwrap_or(0);
        let heartbeat_interval_us = rng.pick(&[20_000, 50_000, 50_000, 100_000]).unwrap_or(50_000);
        let election_timeout_us = heartbeat_interval_us * rng.between(4, 10);
        let sync_max = rng.pick(&[1_000, 5_000, 20_000, heartbeat_interval_us, election_timeout_us / 2]);
        let window = rng.pick(&[0, 0, 1, 50, 1_000, 10_000, 1_000_000]).unwrap_or(0);
        let first_id = if rng.percent(2) { u64::MAX - rng.between(1, 20_000) } else { rng.between(1, 3) };
        let trouble_us = election_timeout_us * rng.between(30, 90);
        let clients: u16 = rng.pick(&[1, 3, 6, 12]).unwrap_or(3);
        let think_us = rng.pick(&[2_000, 20_000, 100_000]).unwrap_or(20_000);
        let mut plan = Plan {
            seed,
            members,
            hosts: members + spare,
            window,
            forward: rng.percent(30),
            lease: None,
            settings_vary: false,
            first_id,
            request_timeout_us: rng.pick(&[SECOND / 2, 2 * SECOND, 5 * SECOND]).unwrap_or(SECOND),
            election_timeout_us,
            heartbeat_interval_us,
            compaction_interval: rng.pick(&[1, 3, 10, 30, 100, 4_096]).unwrap_or(100),
            thrifty_from: THRIFTY_REQUESTS_MIN,
            weather: Weather::of(&mut rng, heartbeat_interval_us),
            sync: Latency { min_us: 100, max_us: sync_max.unwrap_or(5_000) },
            clients,
            think_us: think_us.max(trouble_us * u64::from(clients) / REQUESTS_ABOUT),
            count_max: rng.pick(&[1, 1, 10, 3_000]).unwrap_or(1),
            put_off_ppm: rng.pick(&[0, 100_000, 500_000]).unwrap_or(0),
            trouble_us,
            fault_interval_us: election_timeout_us * rng.between(1, 12) / 4,
            faults: some_of(&mut rng, |fault| !fault.damages_store()),
            aftermath: Aftermath::of(&mut rng, members),
        };
        // Drawn last, so that leaving these out changes nothing else.
        plan.faults.extend(some_of(&mut rng, Fault::damages_store));
        plan.lease = rng.percent(25).then(|| Leases::of(&mut rng));
        if plan.lease.is_some_and(|leases| leases.clocks_are_sound) {
            plan.faults.retain(|fault| *fault != Fault::ClockJump);
        }
        // A restart that forgets a promise matters only with leases, and at rare moments.
        plan.settings_vary = rng.percent(if plan.lease.is_some() { 60 } else { 25 });
        // There are never enough clients for rounds to become thrifty by themselves.
        if rng.percent(50) {
            plan.thrifty_from = 0;
        }
        plan.aftermath = plan.aftermath.or_star(&mut rng, members);
        plan.within(limits)
    }

    /// Whether an ID must be larger than all that were given before it was asked for.
    pub(crate) fn orders_ids(&self) -> bool {
        self.lease.is_none_or(|leases| leases.clocks_are_sound)
    }

    /// Whether the node of this store keeps leases.
    pub(crate) fn keeps_leases(&self, peer: Peer) -> bool {
        let Some(Leases { kept_percent, .. }) = self.lease else { return false };
        let incarnation = u64::try_from(peer.incarnation.0).unwrap_or(u64::MAX);
        let life = peer.id.get() ^ incarnation.rotate_left(32);
        Rng::new(self.seed ^ life, 7).percent(kept_percent)
    }

    /// How far a clock may advance in 1024 microseconds: the least and the most.
    pub(crate) fn clock_rates(&self) -> (u64, u64) {
        match self.lease {
            Some(Leases { clock_error_ppm, clocks_are_sound: true, .. }) => {
                let error = 1024 * u64::from(clock_error_ppm) / 1_000_000;
                (1024 - error, 1024 + error)
            }
            Some(Leases { clocks_are_sound: false, .. }) | None => (512, 2_048),
        }
    }

    fn within(mut self, limits: &Limits) -> Plan {
        if let Some(members_max) = limits.members_max {
            let spare = self.hosts - self.members;
            self.members = self.members.min(members_max.max(1));
            self.hosts = self.members + spare;
            if self.members < 3 {
                self.aftermath = Aftermath::Whole;
            }
        }
        self.faults.retain(|fault| !limits.without.contains(fault));
        self
    }
}

impl Fault {
    /// Whether it damages a store, or leaves it no room.
    const fn damages_store(self) -> bool {
        matches!(self, Fault::DiskFull | Fault::Rot | Fault::Tear)
    }
}

impl Latency {
    /// The smaller of two times between the bounds.
    pub(crate) fn drawn(self, rng: &mut Rng) -> u64 {
        let spread = self.max_us - self.min_us;
        self.min_us + rng.below(spread).min(rng.below(spread))
    }
}

impl Leases {
    fn of(rng: &mut Rng) -> Leases {
        Leases {
            clock_error_ppm: rng.pick(&[20_000, 100_000, 400_000]).unwrap_or(20_000),
            clocks_are_sound: rng.percent(75),
            kept_percent: rng.pick(&[100, 100, 70]).unwrap_or(100),
        }
    }
}

impl Weather {
    fn of(rng: &mut Rng, heartbeat_interval_us: u64) -> Weather {
        let slowest =
            rng.pick(&[300, 2_000, heartbeat_interval_us / 4, heartbeat_interval_us]).unwrap_or(300);
        let ordered = rng.percent(50);
        let often = |rng: &mut Rng| rng.pick(&[0, 0, 1_000, 30_000]).unwrap_or(0);
        Weather {
            latency: Latency { min_us: rng.between(20, 200), max_us: slowest.max(201) },
            ordered,
            loss_ppm: if ordered { 0 } else { often(rng) },
            duplicate_ppm: if ordered { 0 } else { often(rng) },
            corrupt_ppm: rng.pick(&[0, 0, 0, 200]).unwrap_or(0),
            straggle_ppm: if ordered { 0 } else { often(rng) },
        }
    }
}

impl Aftermath {
    fn of(rng: &mut Rng, members: u8) -> Aftermath {
        if members < 3 || rng.percent(60) {
            return Aftermath::Whole;
        }
        let faults = [
            LastingFault::Down,
            LastingFault::Vanished,
            LastingFault::Unheard,
            LastingFault::Deaf,
            LastingFault::Paused,
            LastingFault::DiskStalled,
            LastingFault::DiskFailed,
        ];
        rng.pick(&faults).map_or(Aftermath::Whole, Aftermath::Minority)
    }

    /// If no voter stays broken, a star comes first in most runs: not every cluster is in a state that allows
    /// it.
    fn or_star(self, rng: &mut Rng, members: u8) -> Aftermath {
        if self != Aftermath::Whole || members < 3 || rng.percent(20) {
            return self;
        }
        let percent = rng.pick(&[30, 70, 100, 100]).unwrap_or(100);
        Aftermath::Star(Cuts { percent, one_way: rng.percent(30) })
    }

    pub(crate) fn cuts(self) -> Option<Cuts> {
        match self {
            Aftermath::Star(cuts) => Some(cuts),
            Aftermath::Whole | Aftermath::Minority(_) => None,
        }
    }
}

/// Each of the kinds that `is_meant` accepts, with an even chance: a run with few kinds of faults explores
/// each more deeply (swarm testing, Groce et al. 2012).
fn some_of(rng: &mut Rng, is_meant: impl Fn(Fault) -> bool) -> Vec<Fault> {
    let chance = rng.pick(&[20, 50, 90]).unwrap_or(50);
    FAULTS.into_iter().filter(|fault| is_meant(*fault) && rng.percent(chance)).collect()
}
