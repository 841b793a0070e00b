//! What goes wrong, and how often: each seed has its own weather.

use raft_core::{Input, Lease, MembershipChange, NodeId, Peer, ProposalId};

use crate::harness::rng::Rng;
use crate::harness::{ELECTION_TIMEOUT_US, add};
use crate::world::World;

/// Ids that a run may use: those it begins with, and more that join.
const IDS: u64 = 7;
/// Processes that a run creates at most, over all ids.
const PROCESSES_MAX: usize = 14;
/// How many of the slowest writes, one after the other, a recovery may take.
const CALM_SYNCS: u64 = 20;

/// How often things go wrong, in thousandths, and how slow they are.
pub(crate) struct Weather {
    loss_per_mille: u64,
    duplication_per_mille: u64,
    late_per_mille: u64,
    delay_us_max: u64,
    slow_disk_per_mille: u64,
    pub(crate) write_failure_per_mille: u64,
    fault_pause_us_max: u64,
    compaction_per_mille: u64,
    membership: bool,
    /// Links or disks may stay slow when the faults have ended, and leases and unequal election timeouts may
    /// keep the next leader waiting.
    pub(crate) is_slow_for_good: bool,
    calm_delay_us_max: u64,
    /// May be several election timeouts.
    calm_sync_us_max: u64,
    /// With leases, all clocks run alike.
    pub(crate) lease: Option<Lease>,
    timeouts_differ_percent: u64,
}

impl Weather {
    pub(crate) fn new(rng: &mut Rng) -> Weather {
        let mut weather = Weather {
            loss_per_mille: [0, 10, 50, 200][choice(rng)],
            duplication_per_mille: [0, 10, 50, 200][choice(rng)],
            late_per_mille: [0, 5, 20, 100][choice(rng)],
            delay_us_max: [500, 2_000, 10_000, 30_000][choice(rng)],
            slow_disk_per_mille: [0, 2, 10, 50][choice(rng)],
            write_failure_per_mille: [0, 0, 0, 1][choice(rng)],
            fault_pause_us_max: [100_000, 300_000, 1_000_000, 3_000_000][choice(rng)],
            compaction_per_mille: [0, 2, 20, 200][choice(rng)],
            membership: rng.per_mille(700),
            is_slow_for_good: rng.per_mille(400),
            calm_delay_us_max: 500,
            calm_sync_us_max: 3_000,
            lease: None,
            timeouts_differ_percent: 0,
        };
        if weather.is_slow_for_good {
            weather.calm_delay_us_max = [500, 5_000, 20_000, 45_000][choice(rng)];
            weather.calm_sync_us_max = [3_000, 30_000, 200_000, 700_000][choice(rng)];
            weather.lease = rng.per_mille(500).then_some(Lease { clock_error_ppm: 0 });
            weather.timeouts_differ_percent = [0, 0, 50, 100][choice(rng)];
        }
        weather
    }

    /// The election timeout of one process.
    pub(crate) fn election_timeout_us(&self, rng: &mut Rng) -> u64 {
        ELECTION_TIMEOUT_US * rng.between(100, 100 + self.timeouts_differ_percent) / 100
    }

    /// How often a message arrives.
    pub(crate) fn copies(&self, rng: &mut Rng) -> u64 {
        if rng.per_mille(self.loss_per_mille) {
            0
        } else if rng.per_mille(self.duplication_per_mille) {
            2
        } else {
            1
        }
    }

    pub(crate) fn delay_us(&self, rng: &mut Rng, calm: bool) -> u64 {
        if !calm && rng.per_mille(self.late_per_mille) {
            return rng.between(10_000, 1_000_000);
        }
        rng.between(50, if calm { self.calm_delay_us_max } else { self.delay_us_max })
    }

    pub(crate) fn sync_us(&self, rng: &mut Rng, calm: bool) -> u64 {
        if !calm && rng.per_mille(self.slow_disk_per_mille) {
            return rng.between(50_000, 1_500_000);
        }
        rng.between(100, if calm { self.calm_sync_us_max } else { 3_000 })
    }

    /// How long disks alone may keep a cluster from recovering once the faults have ended.
    pub(crate) fn slowest_syncs_us(&self) -> u64 {
        CALM_SYNCS * self.calm_sync_us_max
    }

    pub(crate) fn fault_pause_us(&self, rng: &mut Rng) -> u64 {
        rng.between(1_000, self.fault_pause_us_max)
    }
}

impl World {
    /// What clients do: mostly at a leader, which may not have heard of a newer one yet, sometimes at
    /// anybody.
    pub(crate) fn client(&mut self) {
        let up = self.up();
        let anybody = self.rng.pick(&up);
        if self.rng.per_mille(self.weather.compaction_per_mille) {
            anybody.into_iter().for_each(|somebody| self.compact(somebody));
        }
        let leaders = self.leaders();
        let at = if self.rng.per_mille(900) { self.rng.pick(&leaders) } else { anybody };
        let Some(at) = at else { return };
        if self.rng.per_mille(500) {
            self.propose(at);
        } else {
            self.begin_barrier(at);
        }
    }

    /// One thing that goes wrong, or that an operator does.
    pub(crate) fn fault(&mut self) {
        let up = self.up();
        let Some(victim) = self.rng.pick(&up) else { return };
        match self.rng.below(14) {
            0..3 => self.crash(victim),
            3 => self.crash_leader(),
            4 => self.crash_everybody(),
            5 => self.cut_one_way(),
            6 => self.isolate(victim),
            7 => self.split(),
            8 => self.cut.clear(),
            9 => self.transfer(),
            10 if self.weather.lease.is_none() => self.jump_clock(victim),
            11 => self.lose_connection(victim),
            _ if self.weather.membership => self.change_membership(),
            _ => self.transfer(),
        }
    }

    fn crash_leader(&mut self) {
        if let Some(leader) = self.leader() {
            self.crash(leader);
        }
    }

    fn crash_everybody(&mut self) {
        for me in self.up() {
            self.crash(me);
        }
    }

    fn cut_one_way(&mut self) {
        let all: Vec<Peer> = self.hosts.keys().copied().collect();
        if let (Some(from), Some(to)) = (self.rng.pick(&all), self.rng.pick(&all)) {
            self.cut.insert((from, to));
        }
    }

    fn isolate(&mut self, victim: Peer) {
        for other in self.hosts.keys() {
            self.cut.insert((victim, *other));
            self.cut.insert((*other, victim));
        }
    }

    fn split(&mut self) {
        let (left, right): (Vec<Peer>, Vec<Peer>) = self.hosts.keys().partition(|_| self.rng.per_mille(500));
        for (one, other) in left.iter().flat_map(|l| right.iter().map(move |r| (*l, *r))) {
            self.cut.insert((one, other));
            self.cut.insert((other, one));
        }
    }

    /// A connection is refused although the process is there.
    fn lose_connection(&mut self, victim: Peer) {
        let others = self.up();
        if let Some(other) = self.rng.pick(&others) {
            self.step(victim, Input::PeerUnreachable(other));
        }
    }

    /// A process that was paused for seconds, or a clock that goes back a little.
    fn jump_clock(&mut self, victim: Peer) {
        let forward_us = self.rng.between(1_000, 5_000_000);
        let back_us = self.rng.between(1_000, 100_000);
        let forward = self.rng.per_mille(500);
        if let Some(host) = self.hosts.get_mut(&victim) {
            let ahead_us = host.clock_ahead_us;
            host.clock_ahead_us =
                if forward { ahead_us + forward_us } else { ahead_us.saturating_sub(back_us) };
        }
    }

    fn transfer(&mut self) {
        let Some(leader) = self.leader() else { return };
        let voters: Vec<NodeId> = self.hosts[&leader].node.raft.membership().voters().collect();
        let to = if self.rng.per_mille(500) { self.rng.pick(&voters) } else { None };
        self.totals.transfers += 1;
        self.step(leader, Input::TransferLeadership { to });
    }

    fn change_membership(&mut self) {
        let Some(leader) = self.leader() else { return };
        let members: Vec<NodeId> =
            self.hosts[&leader].node.raft.membership().members.keys().copied().collect();
        let change = if self.rng.per_mille(550) && self.hosts.len() < PROCESSES_MAX {
            let number = self.rng.between(1, IDS);
            if members.iter().any(|id| id.get() == number) {
                return;
            }
            let me = self.create_joining(number);
            add(me)
        } else {
            let Some(removed) = self.rng.pick(&members) else { return };
            MembershipChange::Remove { id: removed, incarnation: None }
        };
        let proposal = ProposalId(self.next_number());
        self.step(leader, Input::ChangeMembership { proposal, change });
    }
}

fn choice(rng: &mut Rng) -> usize {
    usize::try_from(rng.below(4)).expect("a small number")
}
