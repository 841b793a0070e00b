//! What goes wrong, and when.

use raft_core::Micros;
use ticketd::node::{Input, Output};

use crate::host::{Clock, Health, Pause, Run, Standing, node_id};
use crate::network::{Link, LinkState};
use crate::operators::Wish;
use crate::schedule::{Event, Life, Repair, Slot};
use crate::world::{Phase, World};

// One list for both, because a kind that FAULTS left out would never happen. A plan draws kinds in its order.
macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        /// Every kind.
        pub const FAULTS: [Fault; [$(Fault::$fault),*].len()] = [$(Fault::$fault),*];
    };
}

faults! {
    /// A process dies; its host refuses connections until it is started again.
    Kill,
    /// A process dies between two outputs of one turn.
    KillMidTurn,
    /// Several hosts lose power at once, perhaps all.
    PowerLoss,
    /// The hosts are in two groups that do not reach each other.
    Partition,
    /// Two groups, and one host that reaches both.
    Bridge,
    /// Bytes from one host do not reach another.
    OneWayLink,
    /// Nothing that a host sends arrives anywhere, or nothing that is sent to it arrives.
    OneWayHost,
    /// Connections break.
    Break,
    /// Bytes are lost, late and damaged more often.
    Storm,
    /// A clock runs faster or slower.
    ClockRate,
    /// A clock jumps.
    ClockJump,
    /// A process stops for a while.
    Pause,
    /// A process stops for a while before it carries out its outputs.
    PauseMidTurn,
    /// A transaction takes seconds.
    DiskStall,
    /// A transaction fails, and all after it.
    DiskFail,
    /// A node is told wrongly that another's process is gone.
    FalseAlarm,
    /// An operator wants another leader.
    Transfer,
    /// A node is removed.
    Leave,
    /// A new node joins.
    Join,
    /// A node's address changes.
    Move,
    /// A store is lost, and the node comes back under its old id without it.
    Wipe,
    /// A disk is full: a transaction fails with nothing written, and starts may fail too.
    DiskFull,
    /// A bit of a store flips, or a part of it goes missing.
    Rot,
    /// A process dies, and the checkpoint in progress is partly on the disk.
    Tear,
}

/// Whether two groups of hosts have anything in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Groups {
    Apart,
    /// One host reaches both, and is reached from both.
    Bridged,
}

/// Which of the other hosts.
#[derive(Clone, Copy)]
enum Others {
    /// Any one of them.
    One,
    All,
}

impl World {
    pub(crate) fn plan_fault(&mut self) {
        let mean = self.plan.fault_interval_us;
        let at = self.now.plus(self.fault_rng.below(mean * 2));
        self.schedule.plan(at, Event::Fault);
    }

    pub(crate) fn on_fault(&mut self) {
        if self.phase != Phase::Trouble {
            return;
        }
        self.plan_fault();
        let Some(fault) = self.fault_rng.pick(&self.plan.faults) else { return };
        let Some(slot) = self.fault_rng.pick(&self.slots().collect::<Vec<_>>()) else { return };
        let number = self.faults_seen;
        self.faults_seen += 1;
        let past = self.limits.faults_max.is_some_and(|max| number >= max);
        if past || self.limits.skip.contains(&number) {
            return;
        }
        self.summary.faults += 1;
        self.narrate(slot, || format!("-- fault {number}: {fault:?}"));
        self.strike(fault, slot);
    }

    fn strike(&mut self, fault: Fault, slot: Slot) {
        let us = self.a_while();
        // Where a fault has two forms, the same number picks one.
        let die = us;
        match fault {
            Fault::Kill => self.crash(slot),
            Fault::KillMidTurn => self.crash_mid_turn(slot),
            Fault::PowerLoss => self.lose_power(),
            Fault::Partition => self.divide(Groups::Apart, us),
            Fault::Bridge => self.divide(Groups::Bridged, us),
            Fault::OneWayLink => self.block_one_way(slot, Others::One, us),
            Fault::OneWayHost if die.is_multiple_of(4) => self.deafen_leader(us),
            Fault::OneWayHost => self.block_one_way(slot, Others::All, us),
            Fault::Break => self.break_some(slot),
            Fault::Storm => self.begin_storm(us),
            Fault::ClockRate => {
                let (slowest, fastest) = self.plan.clock_rates();
                let rate = self.fault_rng.between(slowest, fastest);
                self.with_clock(slot, |clock, now| clock.set_rate(now, rate));
            }
            Fault::ClockJump if die.is_multiple_of(3) => {
                self.with_clock(slot, |clock, now| clock.jump_back(now, us))
            }
            Fault::ClockJump => self.with_clock(slot, |clock, now| clock.jump_ahead(now, us)),
            Fault::Pause => self.pause(slot, us, Vec::new()),
            Fault::PauseMidTurn => {
                if let Some(process) = self.hosts[slot.at()].run.process_mut() {
                    process.pause_us = Some(us);
                }
            }
            Fault::DiskStall => self.ail(slot, Health::Slow { at_least_us: us }, us * 2),
            Fault::DiskFail => self.ail(slot, Health::Failing, us),
            Fault::DiskFull => self.ail(slot, Health::Full, us),
            Fault::FalseAlarm => {
                let other = self.other_slot(slot);
                if !self.hosts[slot.at()].run.is_paused() {
                    self.give(slot, Input::PeerUnreachable(self.hosts[other.at()].peer));
                }
            }
            Fault::Transfer => {
                let to = self.fault_rng.percent(50).then(|| node_id(slot));
                self.operators.wish(Wish::Transfer(to));
                if self.fault_rng.percent(30) {
                    self.deafen_leader(us);
                }
            }
            Fault::Leave => self.wish_to_leave(slot),
            Fault::Join => self.wish_to_join(slot),
            Fault::Move => {
                let peer = self.hosts[slot.at()].peer;
                let address = format!("h{}:{die}", slot.0);
                if self.oracle.membership().contains(peer) && !self.operators.works_on(slot) {
                    self.operators.wish(Wish::Move(peer, address));
                }
            }
            Fault::Wipe => self.wipe(slot),
            Fault::Rot => self.rot(slot),
            Fault::Tear => {
                if let Some(process) = self.hosts[slot.at()].run.process_mut() {
                    process.tears_next = true;
                }
            }
        }
    }

    /// How long a fault lasts, in microseconds: mostly some election timeouts.
    fn a_while(&mut self) -> u64 {
        let timeout = self.plan.election_timeout_us;
        let longest =
            self.fault_rng.pick(&[timeout / 4, timeout, timeout * 3, timeout * 10]).unwrap_or(timeout);
        self.fault_rng.between(1, longest)
    }

    /// A process dies, its host refuses connections, and after a while it is started again.
    pub(crate) fn crash(&mut self, slot: Slot) {
        let life = self.life(slot);
        if self.process(life).is_none() {
            return;
        }
        self.kill(slot);
        // If the whole host is gone, its connections are not closed.
        if self.fault_rng.percent(70) {
            self.close_accepted(life);
        }
        self.start_soon(slot);
    }

    fn start_soon(&mut self, slot: Slot) {
        let at = self.now.plus(self.a_while());
        self.start_at(slot, at);
    }

    fn crash_mid_turn(&mut self, slot: Slot) {
        let after = self.fault_rng.below(6);
        if let Some(process) = self.hosts[slot.at()].run.process_mut() {
            process.dies_after = u8::try_from(after).ok();
        }
    }

    fn lose_power(&mut self) {
        let all = self.fault_rng.percent(50);
        for slot in self.slots() {
            if all || self.fault_rng.percent(50) {
                self.crash(slot);
            }
        }
    }

    /// Puts each host into one of two groups at random, which do not reach each other.
    fn divide(&mut self, groups: Groups, us: u64) {
        let side = self.fault_rng.next_u64();
        let bridge = self.fault_rng.below(u64::from(self.plan.hosts));
        let is_bridge = |slot: Slot| groups == Groups::Bridged && u64::from(slot.0) == bridge;
        let of = |slot: Slot| (side >> slot.0) & 1;
        for a in self.slots() {
            for b in self.slots() {
                if of(a) != of(b) && !is_bridge(a) && !is_bridge(b) {
                    self.block(a, b);
                }
            }
        }
        self.schedule.plan(self.now.plus(us), Event::Repair { repair: Repair::Network });
    }

    /// Nothing that a host sends to others arrives, or nothing that they send to it.
    fn block_one_way(&mut self, slot: Slot, others: Others, us: u64) {
        let outward = self.fault_rng.percent(50);
        let one = self.other_slot(slot);
        let is_meant = |other: &Slot| match others {
            Others::One => *other == one,
            Others::All => true,
        };
        for other in self.slots().filter(|other| *other != slot && is_meant(other)) {
            if outward {
                self.block(slot, other);
            } else {
                self.block(other, slot);
            }
        }
        self.schedule.plan(self.now.plus(us), Event::Repair { repair: Repair::Network });
    }

    /// The leader hears nothing for a while: neither that a successor was elected, nor that it has no
    /// followers any more. Sometimes the other nodes die at that moment and start again at once, without what
    /// they had only in memory; or they are told wrongly that the leader's process is gone.
    fn deafen_leader(&mut self, us: u64) {
        let Some(leader) = self.slots().find(|slot| self.hosts[slot.at()].leads()) else { return };
        let what_else = self.fault_rng.below(3);
        for other in self.slots().filter(|other| *other != leader) {
            self.block(other, leader);
            if what_else == 0 && self.hosts[other.at()].run.process().is_some() {
                self.kill(other);
                let at = self.now.plus(self.fault_rng.between(1, self.plan.heartbeat_interval_us));
                self.start_at(other, at);
            } else if what_else == 1 && !self.hosts[other.at()].run.is_paused() {
                self.give(other, Input::PeerUnreachable(self.hosts[leader.at()].peer));
            }
        }
        self.schedule.plan(self.now.plus(us), Event::Repair { repair: Repair::Network });
    }

    pub(crate) fn block(&mut self, from: Slot, to: Slot) {
        if from != to {
            self.blocked[from.at()] |= 1 << to.0;
        }
    }

    fn break_some(&mut self, slot: Slot) {
        let Some(process) = self.hosts[slot.at()].run.process() else { return };
        let up = |link: &Link| match link.state {
            LinkState::Up(conn) | LinkState::Dialling(conn) => Some(conn),
            LinkState::Down => None,
        };
        let conns: Vec<_> = process.links.iter().flatten().filter_map(up).collect();
        for conn in conns {
            if self.fault_rng.percent(60) {
                self.break_conn(conn);
            }
        }
    }

    fn begin_storm(&mut self, us: u64) {
        let often = self.fault_rng.pick(&[20_000, 100_000, 300_000]).unwrap_or(20_000);
        self.weather.corrupt_ppm = if self.fault_rng.percent(30) { 5_000 } else { 0 };
        if !self.weather.ordered {
            self.weather.loss_ppm = often;
            self.weather.duplicate_ppm = often;
            self.weather.straggle_ppm = often / 10;
        }
        let slowest_us = &mut self.weather.latency.max_us;
        *slowest_us = (*slowest_us).max(self.plan.election_timeout_us / 2);
        self.schedule.plan(self.now.plus(us), Event::Repair { repair: Repair::Weather });
    }

    fn with_clock(&mut self, slot: Slot, change: impl FnOnce(&mut Clock, Micros)) {
        let now = self.now;
        change(&mut self.hosts[slot.at()].clock, now);
        if let Some(process) = self.hosts[slot.at()].run.process_mut() {
            // The turn was planned for a reading of the clock before the jump.
            process.turn_at = None;
        }
        self.plan_turn(slot);
    }

    /// A process stops for a while; its events wait, and so do the outputs that it has not carried out.
    pub(crate) fn pause(&mut self, slot: Slot, us: u64, held: Vec<Output>) {
        if self.hosts[slot.at()].run.pause(held) {
            self.narrate(slot, || format!("is paused for {us} us"));
            self.schedule.plan(self.now.plus(us), Event::Resume { life: self.life(slot) });
        }
    }

    pub(crate) fn on_resume(&mut self, life: Life) {
        let slot = life.slot;
        let host = &mut self.hosts[slot.at()];
        if host.epoch != life.epoch || host.has_lasting_fault {
            return;
        }
        let Some(Pause { mut held, backlog }) = host.run.resume() else { return };
        self.narrate(slot, || "goes on".to_owned());
        self.carry_out_all(life, &mut held);
        for event in backlog {
            self.schedule.plan(self.now, event);
        }
        self.plan_turn(slot);
    }

    fn ail(&mut self, slot: Slot, health: Health, us: u64) {
        self.hosts[slot.at()].health = health;
        self.schedule.plan(self.now.plus(us), Event::Repair { repair: Repair::Disk(slot) });
    }

    pub(crate) fn on_repair(&mut self, repair: Repair) {
        if self.phase != Phase::Trouble {
            return;
        }
        match repair {
            Repair::Network => self.blocked.fill(0),
            Repair::Weather => self.weather = self.plan.weather,
            Repair::Disk(slot) => self.mend_disk(slot),
        }
    }

    /// The disk is repaired; a process that has seen it fail takes no part until it is restarted.
    pub(crate) fn mend_disk(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot.at()];
        host.health = Health::Sound;
        match &host.run {
            Run::Up(process) | Run::Paused(process, _) if process.storage.has_failed() => self.crash(slot),
            // It could not start while the disk was broken.
            Run::Down if host.standing.is_member() => self.start_soon(slot),
            Run::Down | Run::Starting | Run::Up(_) | Run::Paused(..) => {}
        }
    }

    fn wish_to_leave(&mut self, slot: Slot) {
        let peer = self.hosts[slot.at()].peer;
        let membership = self.oracle.membership();
        // One at a time, and not the last one: its operators would have to start a new cluster.
        let may_leave = membership.contains(peer) && membership.has_voter_besides(peer.id);
        if may_leave && self.operators.is_idle() && self.can_lose_voter(slot) {
            self.operators.wish(Wish::Leave(peer));
        }
    }

    fn wish_to_join(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot.at()];
        if host.standing == Standing::Empty && !self.operators.works_on(slot) {
            self.prepare_to_join(slot);
        }
    }

    fn other_slot(&mut self, slot: Slot) -> Slot {
        let others: Vec<Slot> = self.slots().filter(|other| *other != slot).collect();
        self.fault_rng.pick(&others).unwrap_or(slot)
    }
}
