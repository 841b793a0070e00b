//! After the faults have stopped: what must be achieved, and in what time (liveness).

use raft_core::{NodeId, Peer};

use crate::host::{Health, Standing, slot_of};
use crate::narration::names;
use crate::plan::{Aftermath, LastingFault, Latency, Weather};
use crate::schedule::{Event, Slot};
use crate::violated;
use crate::world::{Phase, World};

/// Within how many election timeouts after the last fault everything must be well.
const PATIENCE_TIMEOUTS: u64 = 30;
/// How long clients are quiet before nodes must agree on everything, in election timeouts.
const SETTLING_TIMEOUTS: u64 = 10;

impl World {
    /// The faults have stopped, or a star has been there for long enough.
    pub(crate) fn on_faults_stopped(&mut self) {
        if let (Phase::Trouble, Some(cuts)) = (self.phase, self.plan.aftermath.cuts()) {
            self.begin_star(cuts);
            return;
        }
        self.check_star();
        self.phase = Phase::Recovery;
        self.faults_stopped_at = self.now;
        self.heal();
        if let Aftermath::Minority(fault) = self.plan.aftermath
            && let Some(slot) = self.dispensable_voter()
        {
            self.hosts[slot.at()].has_lasting_fault = true;
            self.narrate(slot, || format!("stays {fault:?}"));
            self.inject_lasting(slot, fault);
        }
        self.narrate(Slot(0), || "-- faults stop".to_owned());
        self.ask_anew();
        let timeouts = self.plan.longest_election_timeout_us() * PATIENCE_TIMEOUTS;
        let at = self.now.plus(timeouts + 1_000_000 + self.lost_requests_us());
        self.schedule.plan(at, Event::CheckRecovery);
    }

    /// How much longer it may take until a client is answered, because one that asks a node that cannot reach
    /// the leader waits until its request has timed out.
    pub(crate) fn lost_requests_us(&self) -> u64 {
        if self.plan.forward { self.plan.request_timeout_us * 3 } else { 0 }
    }

    /// Whatever is broken works from now on.
    pub(crate) fn heal(&mut self) {
        self.blocked.fill(0);
        self.weather = Weather {
            loss_ppm: 0,
            duplicate_ppm: 0,
            corrupt_ppm: 0,
            straggle_ppm: 0,
            latency: Latency { min_us: 50, max_us: 1_000.min(self.plan.weather.latency.max_us) },
            ..self.plan.weather
        };
        self.break_damaged();
        for slot in self.slots() {
            self.mend(slot);
        }
    }

    fn mend(&mut self, slot: Slot) {
        let now = self.now;
        self.mend_disk(slot);
        if !self.hosts[slot.at()].disk.is_sound() {
            // Damage must be found now, so that its repair is finished when everything must be well.
            self.crash(slot);
        }
        let host = &mut self.hosts[slot.at()];
        host.clock.set_rate(now, 1_024);
        if let Some(process) = host.run.process_mut() {
            process.turn_at = None;
            process.dies_after = None;
            process.tears_next = false;
            process.pause_us = None;
            // A clock that went back shows the same readings again.
            let shown = process.node.deadline().map_or(0, |at| at.since(host.clock.local(now)));
            host.clock.jump_ahead(now, shown.saturating_sub(self.plan.longest_election_timeout_us() * 2));
        }
        self.on_resume(self.life(slot));
        let host = &self.hosts[slot.at()];
        if host.run.process().is_none() && host.standing != Standing::Empty {
            self.on_start(slot);
        }
        // The pings of real links, of which there are none here, show within seconds that a connection leads
        // to a process that is gone. A learner that was removed sends nothing by itself, and would never
        // know.
        let life = self.life(slot);
        self.break_conns(|conn| conn.acceptor.slot == slot && conn.acceptor != life);
        self.plan_turn(slot);
    }

    /// Picks a node without which there is still a majority; mostly the leader, because that is the harder
    /// case.
    fn dispensable_voter(&mut self) -> Option<Slot> {
        let membership = self.oracle.membership();
        if membership.voters().count() < 3 || !self.operators.is_idle() || !self.all_run_and_agree() {
            return None;
        }
        let voters: Vec<Slot> = membership.voters().map(slot_of).collect();
        let leader = voters.iter().copied().find(|slot| self.hosts[slot.at()].leads());
        let any = self.fault_rng.pick(&voters);
        if self.fault_rng.percent(70) { leader.or(any) } else { any }
    }

    fn inject_lasting(&mut self, slot: Slot, fault: LastingFault) {
        match fault {
            LastingFault::Down => {
                let life = self.life(slot);
                self.kill(slot);
                self.close_accepted(life);
            }
            LastingFault::Vanished => {
                for other in self.slots() {
                    self.block(slot, other);
                    self.block(other, slot);
                }
            }
            LastingFault::Unheard => self.slots().for_each(|other| self.block(slot, other)),
            LastingFault::Deaf => self.slots().for_each(|other| self.block(other, slot)),
            LastingFault::Paused => self.pause(slot, 0, Vec::new()),
            LastingFault::DiskStalled => {
                self.hosts[slot.at()].health = Health::Slow { at_least_us: u64::MAX / 4 }
            }
            LastingFault::DiskFailed => self.hosts[slot.at()].health = Health::Failing,
        }
    }

    /// First checks that all nodes are well; then, when clients have been quiet for a while, that all agree.
    pub(crate) fn on_check_recovery(&mut self) {
        if self.phase == Phase::Recovery {
            if self.leader_of_all().is_err() && !self.check_put_off {
                // A disk that stays broken shows only when it is written to, which may have been a moment
                // ago.
                self.check_put_off = true;
                let again = self.plan.longest_election_timeout_us() * SETTLING_TIMEOUTS;
                self.schedule.plan(self.now.plus(again), Event::CheckRecovery);
                return;
            }
            self.check_service();
            self.phase = Phase::Quiet;
            let wait = self.plan.longest_election_timeout_us() * SETTLING_TIMEOUTS
                + self.plan.request_timeout_us * 2;
            self.schedule.plan(self.now.plus(wait), Event::CheckRecovery);
        } else {
            self.check_agreement();
            self.history.check_gaps(&self.oracle, self.plan.window);
            self.phase = Phase::Over;
        }
    }

    fn check_service(&mut self) {
        let Some(first) = self.first_answer_in_recovery else {
            violated!("no request has been answered since the faults stopped: {}", self.state_of_all());
        };
        self.summary.recovery_timeouts =
            first.since(self.faults_stopped_at).div_ceil(self.plan.longest_election_timeout_us());
        if let Some(wish) = self.operators.wishes().next() {
            violated!("{wish:?} is still not done: {}", self.state_of_all());
        }
        self.check_leader();
    }

    fn check_leader(&self) {
        if let Err(why) = self.leader_of_all() {
            violated!("{why}: {}", self.state_of_all());
        }
    }

    /// The leader that all sound members follow, or why there is none.
    fn leader_of_all(&self) -> Result<Peer, String> {
        let membership = self.oracle.membership();
        let mut leader = None;
        for host in self.hosts.iter().filter(|host| !host.has_lasting_fault) {
            let Some(process) = host.run.process() else {
                if membership.contains(host.peer) {
                    return Err(format!("{} is a member and does not run", host.peer));
                }
                continue;
            };
            let known = process.node.membership();
            if !membership.contains(host.peer)
                && !known.members.keys().any(|id| known.peer(*id).is_some_and(|p| membership.contains(p)))
            {
                // It was removed, and knows no node that could tell it.
                continue;
            }
            if !membership.contains(host.peer) {
                return Err(format!("{} runs on and is no member", host.peer));
            }
            let followed = process.node.raft().leader().and_then(|id| membership.peer(id));
            if followed.is_none() || leader.is_some_and(|leader| Some(leader) != followed) {
                return Err(format!("{} follows {followed:?}", host.peer));
            }
            leader = followed;
        }
        leader.ok_or_else(|| "nobody is there".to_owned())
    }

    fn check_agreement(&mut self) {
        self.check_leader();
        self.open_stores();
        let commit_index = self.oracle.commit_index();
        for host in self.hosts.iter().filter(|host| !host.has_lasting_fault) {
            let Some(process) = host.run.process() else { continue };
            if !self.oracle.membership().contains(host.peer) {
                continue;
            }
            let status = process.node.status();
            self.oracle.on_state(host.peer, status.applied_index, status.next_unreserved);
            if status.applied_index != commit_index || status.last_log_index != commit_index {
                violated!("{} has not caught up with {commit_index}: {}", host.peer, self.state_of_all());
            }
            if process.node.raft().membership() != self.oracle.membership() {
                violated!("{} has another membership: {}", host.peer, self.state_of_all());
            }
        }
        let waits = |r: &&crate::history::Request| {
            let host = &self.hosts[r.life.slot.at()];
            host.epoch == r.life.epoch && host.run.process().is_some() && !host.has_lasting_fault
        };
        if let Some(request) = self.history.unanswered().find(waits) {
            violated!("{request:?} was never answered: {}", self.state_of_all());
        }
        let learners = self.oracle.membership().members.len() - self.oracle.membership().voters().count();
        if learners > 0 {
            violated!("{learners} learners were never promoted: {}", self.state_of_all());
        }
    }

    /// Every sound store must open, even those whose nodes were never started again; no other store may.
    fn open_stores(&self) {
        for host in self.hosts.iter().filter(|host| host.standing != Standing::Empty) {
            // `open` itself checks the outcome.
            let _ = host.disk.open(&host.identity());
        }
    }

    /// The state of all nodes, one line each.
    pub(crate) fn state_of_all(&self) -> String {
        let mut lines =
            format!("committed {}, members {}", self.oracle.commit_index(), names(self.oracle.membership()));
        for host in &self.hosts {
            let state = host.run.process().map_or("does not run".to_owned(), |process| {
                let raft = process.node.raft();
                format!(
                    "{:?} in term {}, leader {:?}, log to {}, committed {}, applied {}, muted {}, \
                     members {}, links {:?}",
                    raft.role(),
                    raft.current_term(),
                    raft.leader().map(NodeId::get),
                    raft.last_log_index(),
                    raft.commit_index(),
                    raft.last_applied(),
                    raft.is_muted(),
                    names(raft.membership()),
                    process.links.iter().flatten().map(|link| link.state).collect::<Vec<_>>(),
                )
            });
            let has_lasting_fault = if host.has_lasting_fault { " (has_lasting_fault)" } else { "" };
            lines.push_str(&format!("\n    {}{has_lasting_fault}: {:?}, {state}", host.peer, host.standing));
        }
        lines
    }
}
