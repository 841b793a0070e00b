//! Faults that last: a minority of the voters have a disk that hangs, or links that are cut, and those that
//! are sound must be able to go on without them.

use raft_core::{Input, Membership, Peer};

use crate::harness::ELECTION_TIMEOUT_US;
use crate::world::World;

/// Within how many election timeouts the sound voters must serve: one who follows a leader that is
/// stuck waits for three before it asks for another.
const PATIENCE_TIMEOUTS: u64 = 40;
/// Within how many more a leader must apply something.
const SERVICE_TIMEOUTS: u64 = 10;

impl World {
    /// As many voters as can be done without become faulty. The others reach each other, and so they must
    /// serve what clients ask for, whoever led before and whatever the faulty ones still say.
    pub(crate) fn weather_lasting_faults(&mut self) {
        // Until the processes that crashed run again.
        self.run_until(self.now.plus(6 * ELECTION_TIMEOUT_US));
        let Some(voters) = self.agreed_voters() else { return };
        let count = (voters.len() - 1) / 2;
        let mut faulty: Vec<Peer> = self.leaders();
        faulty.retain(|leader| voters.contains(leader) && self.rng.per_mille(700));
        while faulty.len() < count {
            faulty.extend(self.rng.pick(&voters).filter(|voter| !faulty.contains(voter)));
        }
        faulty.truncate(count);
        for me in &faulty {
            self.break_down(*me, &voters);
        }
        let slack_us = self.weather.slowest_syncs_us();
        self.run_until(self.now.plus(PATIENCE_TIMEOUTS * ELECTION_TIMEOUT_US + slack_us));
        let committed = self.oracle.last_committed();
        self.run_until(self.now.plus(SERVICE_TIMEOUTS * ELECTION_TIMEOUT_US + slack_us));
        // What only others apply is of no use to clients: a leader whose own disk hangs answers nobody.
        let serves = |leader: &Peer| self.hosts[leader].node.raft.last_applied() > committed;
        assert!(
            self.leaders().iter().any(serves),
            "no leader applies anything, although all but {faulty:?} are sound; cut: {:?}{}",
            self.cut,
            self.describe()
        );
        self.totals.lasting += 1;
        self.cut.clear();
        self.let_disks_go_on();
    }

    /// The disk hangs, or some links are cut, or both.
    fn break_down(&mut self, me: Peer, voters: &[Peer]) {
        if self.rng.per_mille(700) {
            self.hang_disk(me);
        }
        let percent = self.rng.pick(&[0, 30, 50, 100]).unwrap_or(0);
        for other in voters.iter().filter(|other| **other != me) {
            if !self.rng.per_mille(percent * 10) {
                continue;
            }
            match self.rng.below(6) {
                0 => drop(self.cut.insert((me, *other))),
                1 => drop(self.cut.insert((*other, me))),
                _ => self.cut.extend([(me, *other), (*other, me)]),
            }
        }
    }

    fn hang_disk(&mut self, me: Peer) {
        self.tell(me, || "has a disk that hangs".to_owned());
        self.hosts.get_mut(&me).expect("a process that exists").hangs = true;
    }

    /// What hung goes on, from where it was.
    fn let_disks_go_on(&mut self) {
        let hung: Vec<Peer> = self.hosts.iter().filter(|(_, h)| h.hangs).map(|(me, _)| *me).collect();
        for me in hung {
            let host = self.hosts.get_mut(&me).expect("it was just seen");
            (host.hangs, host.syncing) = (false, false);
            self.step(me, Input::Wake);
        }
    }

    /// The voters, if there are at least three, all of them run, and all members agree which they are.
    fn agreed_voters(&self) -> Option<Vec<Peer>> {
        let membership: &Membership = self.hosts.get(&self.leader()?)?.node.raft.membership();
        let mut members = membership.members.keys().filter_map(|id| membership.peer(*id));
        let agrees = |member: Peer| {
            self.hosts.get(&member).is_some_and(|h| h.up && **h.node.raft.membership() == *membership)
        };
        let voters: Vec<Peer> = membership.voting_peers().collect();
        (members.all(agrees) && voters.len() >= 3).then_some(voters)
    }
}
