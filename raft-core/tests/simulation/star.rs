//! A partial partition that a cluster must recover in: one node, the hub, is connected with all others, and
//! of the other links some are cut, both ways or one way.

use raft_core::{LogIndex, Micros, Peer, Raft, Role, Term};

use crate::harness::{ELECTION_TIMEOUT_US, HEARTBEAT_INTERVAL_US};
use crate::world::{Event, World};

/// Within how many election timeouts somebody who reaches a majority must lead, for good: twice as many as
/// the slowest of some thousand stars took.
const PATIENCE_TIMEOUTS: u64 = 20;
/// Within how many more something must be committed.
const SERVICE_TIMEOUTS: u64 = 5;
/// How long nobody reaches anybody before some stars, in election timeouts: leaders have stepped down by
/// then, every process runs, and the slowest write has ended.
const DARKNESS_TIMEOUTS: u64 = 10;

impl World {
    /// The links that are not the hub's are cut, and somebody must lead all the same.
    ///
    /// A leader that does not reach a majority may hand entries to others, and not to a hub that is in a
    /// later term. If links work both ways or not at all, those others are so few that the hub can win
    /// without them, or the leader can. If there are several such leaders, or they are heard by those whom
    /// they do not hear, there may be so many that nobody can win. Then nobody reaches anybody first, until
    /// nobody leads.
    pub(crate) fn weather_star(&mut self) {
        let one_way = self.rng.per_mille(300);
        let may_lead = |raft: &Raft| matches!(raft.role(), Role::Candidate | Role::Leader);
        let leaders = self.hosts.values().filter(|h| may_lead(&h.node.raft)).count();
        if one_way || leaders > 1 || self.hosts.values().any(|h| !h.up) {
            self.pass_in_darkness();
        }
        let Some(hub) = self.pick_hub() else { return };
        self.tell(hub, || "is the hub of a star".to_owned());
        // An append that is still on its way could make others' logs longer than the hub's.
        self.queue.retain(|_, event| !matches!(event, Event::Deliver { .. }));
        self.cut_all_but(hub, one_way);
        let began_at = self.now;
        let ends = self.now.plus((PATIENCE_TIMEOUTS + SERVICE_TIMEOUTS) * ELECTION_TIMEOUT_US);
        // Since when somebody who reaches a majority has led, and what was committed then.
        let mut led: Option<(Micros, LogIndex)> = None;
        while self.now < ends {
            self.run_until(self.now.plus(HEARTBEAT_INTERVAL_US));
            let is_led = self.leaders().into_iter().any(|leader| self.reaches_majority(leader));
            led = if is_led { led.or(Some((self.now, self.oracle.last_committed()))) } else { None };
        }
        let Some((since, committed)) = led else {
            panic!("nobody who reaches a majority leads, {hub:?} reaches everybody: {}", self.describe());
        };
        let timeouts = since.since(began_at).div_ceil(ELECTION_TIMEOUT_US);
        assert!(timeouts <= PATIENCE_TIMEOUTS, "led only after {timeouts} election timeouts");
        assert!(
            self.oracle.last_committed() > committed,
            "led, and nothing is committed: {}",
            self.describe()
        );
        self.totals.stars += 1;
        self.totals.slowest_star = self.totals.slowest_star.max(timeouts);
        self.cut.clear();
    }

    fn pass_in_darkness(&mut self) {
        let all: Vec<Peer> = self.hosts.keys().copied().collect();
        self.cut = all.iter().flat_map(|a| all.iter().map(|b| (*a, *b))).collect();
        self.run_until(self.now.plus(DARKNESS_TIMEOUTS * ELECTION_TIMEOUT_US));
        self.cut.clear();
    }

    /// A voter whose log is as complete as that of every other member.
    ///
    /// There is none if members do not agree on the membership: then each counts another majority. With fewer
    /// than three voters, no link can be missed.
    fn pick_hub(&mut self) -> Option<Peer> {
        let is_hub = |raft: &Raft| {
            let membership = raft.membership();
            let mut members = self.hosts.iter().filter(|(peer, _)| membership.contains(**peer));
            membership.voters().count() >= 3
                && membership.contains(raft.me())
                && membership.is_voter(raft.me().id)
                && members.all(|(_, h)| {
                    h.node.raft.membership() == membership && end_of_log(&h.node.raft) <= end_of_log(raft)
                })
        };
        let hubs = self.hosts.iter().filter(|(_, h)| is_hub(&h.node.raft)).map(|(peer, _)| *peer);
        let hubs: Vec<Peer> = hubs.collect();
        self.rng.pick(&hubs)
    }

    fn cut_all_but(&mut self, hub: Peer, one_way: bool) {
        let percent = self.rng.pick(&[30, 70, 100, 100]).unwrap_or(100);
        let others: Vec<Peer> = self.hosts.keys().copied().filter(|peer| *peer != hub).collect();
        for (at, a) in others.iter().enumerate() {
            for b in &others[at + 1..] {
                if !self.rng.per_mille(percent * 10) {
                    continue;
                }
                let spared = if one_way { self.rng.below(3) } else { 2 };
                let both = [(*a, *b), (*b, *a)];
                self.cut.extend((0..).zip(both).filter(|(way, _)| *way != spared).map(|(_, link)| link));
            }
        }
    }

    /// Whether this node and a majority of the voters that it knows reach each other.
    fn reaches_majority(&self, me: Peer) -> bool {
        let membership = self.hosts[&me].node.raft.membership();
        let both_ways = |other: &Peer| !self.cut.contains(&(me, *other)) && !self.cut.contains(&(*other, me));
        let voters = membership.voters().filter_map(|id| membership.peer(id));
        voters.filter(both_ways).count() >= membership.quorum()
    }
}

fn end_of_log(raft: &Raft) -> (Option<Term>, LogIndex) {
    (raft.term_at(raft.last_log_index()), raft.last_log_index())
}
