//! A partial partition that a cluster must recover in: one node, the hub, is connected with all others, and
//! of the other links some are cut, both ways or one way. A majority is connected, so somebody must lead.
//!
//! Any Raft must manage that if the hub's log is as complete as that of every other voter and nobody who
//! reaches no majority appends entries that the hub lacks. So it is left to two rules which runs have a star
//! and how it begins: [`World::pick_hub`] and [`World::begin_star`]. Disks that stall, promises to a leader
//! and unequal timeouts take time, but make nothing impossible: nobody is spared because of them.

use raft_core::{Micros, NodeId, Role};

use crate::host::{Standing, slot_of};
use crate::plan::Cuts;
use crate::schedule::{Event, Slot};
use crate::violated;
use crate::world::{Phase, World};

/// Within how many election timeouts somebody who reaches a majority must lead, for good. A disk that stalls
/// when the star begins may hold a vote for ten; without that, the slowest of 1,498 stars took five.
const PATIENCE_TIMEOUTS: u64 = 20;
/// Within how many more, and a second, a client must have been answered.
const SERVICE_TIMEOUTS: u64 = 5;
/// How long nobody reaches anybody before some stars, in election timeouts: leaders have stepped down by
/// then, and the slowest write of a vote, which may take ten, has ended.
const DARKNESS_TIMEOUTS: u64 = 15;

/// What is known of a star.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Star {
    pub(crate) hub: Slot,
    began_at: Micros,
    /// Since when somebody who reaches a majority has led without interruption.
    led_since: Option<Micros>,
    /// When a client was last answered.
    pub(crate) answered_at: Option<Micros>,
}

impl World {
    /// The faults have stopped, but for links.
    ///
    /// A leader that does not reach a majority may lead for a while, and hand its entries to others but not
    /// to the hub, if that is in a later term. Over links that work both ways or not at all, those others are
    /// so few that the hub can win without them, or the leader can. There may be more of them if there are
    /// several such leaders, or if they hear a leader that does not hear them. Then nobody could win until
    /// the links are mended. In these cases nobody reaches anybody until nobody leads.
    pub(crate) fn begin_star(&mut self, cuts: Cuts) {
        self.phase = Phase::Star;
        self.heal();
        let may_lead = |slot: &Slot| {
            let process = self.hosts[slot.at()].run.process();
            process.is_some_and(|p| matches!(p.node.raft().role(), Role::Candidate | Role::Leader))
        };
        if !cuts.one_way && self.slots().filter(may_lead).count() <= 1 {
            self.on_star();
            return;
        }
        self.narrate(Slot(0), || "-- darkness".to_owned());
        let pairs = self.slots().flat_map(|a| self.slots().map(move |b| (a, b)));
        pairs.collect::<Vec<_>>().into_iter().for_each(|(a, b)| self.block(a, b));
        let us = self.plan.longest_election_timeout_us() * DARKNESS_TIMEOUTS;
        self.schedule.plan(self.now.plus(us), Event::Star);
    }

    /// Links are as they will be until the faults stop.
    pub(crate) fn on_star(&mut self) {
        let (Some(hub), Some(cuts)) = (self.pick_hub(), self.plan.aftermath.cuts()) else {
            self.on_faults_stopped();
            return;
        };
        self.narrate(hub, || "-- star: is its hub".to_owned());
        self.star = Some(Star { hub, began_at: self.now, led_since: None, answered_at: None });
        // An append that is still on its way could make others' logs longer than the hub's.
        self.schedule.lose_what_is_on_its_way();
        self.blocked.fill(0);
        for a in self.slots().filter(|slot| *slot != hub) {
            for b in self.slots().filter(|slot| *slot != hub && *slot > a) {
                self.cut(a, b, cuts);
            }
        }
        self.ask_anew();
        let timeouts = PATIENCE_TIMEOUTS + SERVICE_TIMEOUTS;
        let us = self.plan.longest_election_timeout_us() * timeouts + 1_000_000 + self.lost_requests_us();
        self.schedule.plan(self.now.plus(us), Event::FaultsStop);
    }

    fn cut(&mut self, a: Slot, b: Slot, cuts: Cuts) {
        if !self.fault_rng.percent(cuts.percent) {
            return;
        }
        let both = [(a, b), (b, a)];
        let [there, back] = [&both[..1], &both[1..]];
        let cut = if cuts.one_way { self.fault_rng.pick(&[&both[..], there, back]) } else { None };
        for &(from, to) in cut.unwrap_or(&both) {
            self.narrate(from, || format!("does not reach host {}", to.0));
            self.block(from, to);
        }
    }

    /// A voter whose log is as complete as that of every other.
    ///
    /// There is none if nodes do not agree on the membership, because each then counts another majority; if
    /// operators have something to do, because they may remove the hub; or if a store has not been opened
    /// yet, because its log is not known. With fewer than three voters, no link can be missed.
    fn pick_hub(&mut self) -> Option<Slot> {
        let membership = self.oracle.membership();
        if membership.voters().count() < 3 || !self.operators.is_idle() || !self.all_run_and_agree() {
            return None;
        }
        let log = |id: &NodeId| {
            let raft = self.hosts[slot_of(*id).at()].run.process().map(|process| process.node.raft());
            raft.map(|raft| (raft.term_at(raft.last_log_index()), raft.last_log_index()))
        };
        let longest = membership.voters().map(|id| log(&id)).max();
        let hubs: Vec<NodeId> = membership.voters().filter(|id| Some(log(id)) == longest).collect();
        self.fault_rng.pick(&hubs).map(slot_of)
    }

    /// Whether every member runs, nobody else does, and all know the same members.
    pub(crate) fn all_run_and_agree(&self) -> bool {
        let membership = self.oracle.membership();
        self.hosts.iter().all(|host| match host.run.process() {
            Some(process) => process.node.membership() == membership,
            None => host.standing == Standing::Empty,
        })
    }

    /// Notes whether somebody leads who reaches a majority.
    pub(crate) fn watch_star(&mut self) {
        let is_led = self.slots().any(|slot| self.hosts[slot.at()].leads() && self.reaches_majority(slot));
        let now = self.now;
        if let Some(star) = &mut self.star {
            star.led_since = if is_led { star.led_since.or(Some(now)) } else { None };
        }
    }

    /// Whether this node and a majority reach each other.
    fn reaches_majority(&self, slot: Slot) -> bool {
        let membership = self.oracle.membership();
        let both_ways = |other: &Slot| self.reaches(slot, *other) && self.reaches(*other, slot);
        membership.voters().map(slot_of).filter(both_ways).count() >= membership.quorum()
    }

    pub(crate) fn check_star(&mut self) {
        let Some(star) = self.star.take() else { return };
        let timeout = self.plan.longest_election_timeout_us();
        let hub = self.hosts[star.hub.at()].peer;
        let took = star.led_since.map(|since| since.since(star.began_at).div_ceil(timeout));
        let Some(timeouts) = took.filter(|timeouts| *timeouts <= PATIENCE_TIMEOUTS) else {
            violated!(
                "{hub} reaches everybody, and {PATIENCE_TIMEOUTS} election timeouts later nobody leads who \
                 reaches a majority: {}",
                self.state_of_all()
            );
        };
        if star.answered_at < star.led_since {
            violated!(
                "{hub} reaches everybody, somebody leads, and no request is answered: {}",
                self.state_of_all()
            );
        }
        self.summary.stars = 1;
        self.summary.star_timeouts = timeouts;
    }
}
