//! Damaged stores, and what becomes of their nodes.
//!
//! A damaged store must be refused at the next start by the checks that ship. Its operator then leaves it
//! aside, has the node removed, and joins it again. Never is a majority of a cluster's stores damaged at
//! once: nothing is promised for that case.

use raft_core::{HardState, Incarnation, Membership, NodeId, Peer};
use ticketd::storage::{Key, Pending, Place, StoreError};

use crate::disk::Disk;
use crate::host::{Health, Standing, node_id, slot_of};
use crate::operators::Wish;
use crate::rng::Rng;
use crate::schedule::Slot;
use crate::sectors::{Sectors, sector_of};
use crate::violated;
use crate::world::World;

/// What is wrong with the bytes on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// A bit of this record is flipped. It is detected even if the journal has a later version.
    Flipped(Key),
    /// This record is missing. It is missed even if the journal has a later version.
    Lost(Key),
    /// A bit of this sector of the journal is flipped.
    Sector(usize),
    /// A transaction is missing from the journal, before the one that begins with this sector.
    Gap(usize),
    /// The data file is as it was before the last checkpoint, and the journal has later transactions.
    SetBack,
    /// Some changes of a checkpoint in progress are there and others are not.
    Torn,
}

impl Damage {
    /// Checks that the refusal names what is damaged.
    pub(crate) fn check_refusal(self, me: Peer, error: &StoreError) {
        let StoreError::Damaged { place: named, .. } = error else {
            violated!("{me} does not say what is damaged: {error}");
        };
        let is_right = match self {
            Damage::Flipped(key) | Damage::Lost(key) => *named == Place::Record(key),
            Damage::Sector(sector) | Damage::Gap(sector) => *named == Place::JournalSector(sector),
            // The journal begins with what came after the missing checkpoint.
            Damage::SetBack => *named == Place::JournalSector(0),
            Damage::Torn => matches!(named, Place::Record(_)),
        };
        if !is_right {
            violated!("{me} has a store with {self:?}, and says {error}");
        }
    }

    /// Whether the damage is gone with what the journal has now. Damage to the data file remains, whatever
    /// the journal has in its place.
    pub(crate) fn is_mended_by_journal(self, journal: &Sectors) -> bool {
        match self {
            Damage::Sector(_) => journal.is_sound(),
            Damage::Flipped(_) | Damage::Lost(_) | Damage::Gap(_) | Damage::SetBack | Damage::Torn => false,
        }
    }

    /// Whether the damage is gone after a checkpoint. A running process has the result of all its
    /// transactions in memory, and the journal no longer counts; but every sector of it must be sound.
    pub(crate) fn is_mended_by_checkpoint(self, pending: &Pending) -> bool {
        match self {
            Damage::Flipped(key) | Damage::Lost(key) => {
                pending.iter().any(|(written, _)| *written == key.to_bytes())
            }
            Damage::Gap(_) | Damage::SetBack => true,
            Damage::Sector(_) | Damage::Torn => false,
        }
    }
}

impl Disk {
    /// Flips a bit, or makes something go missing. Returns a description; `None` if nothing happened, because
    /// there is no store, it is damaged already, or nothing in it can go missing.
    pub(crate) fn rot(&mut self, rng: &mut Rng) -> Option<String> {
        if !self.is_sound() {
            return None;
        }
        match rng.below(8) {
            0..3 => self.flip_record(rng),
            3 => self.lose_record(rng),
            4..6 => {
                let sector = sector_of(self.journal.flip(rng)?);
                self.damage = Some(Damage::Sector(sector));
                Some(format!("has a bit of sector {sector} of its journal flipped"))
            }
            6 => {
                let after = self.journal.lose(rng)?;
                self.damage = Some(Damage::Gap(after));
                Some(format!("loses the transaction before sector {after} of its journal"))
            }
            _ => {
                if self.journal.transactions() == 0 || !self.records.can_be_set_back() {
                    return None;
                }
                self.records.set_back_or_forth();
                self.damage = Some(Damage::SetBack);
                Some("loses its last checkpoint".to_owned())
            }
        }
    }

    fn flip_record(&mut self, rng: &mut Rng) -> Option<String> {
        let key = self.pick_record(rng)?;
        let bit = self.records.flip(key, rng)?;
        self.damage = Some(Damage::Flipped(key));
        Some(format!("has bit {bit} of {key} flipped"))
    }

    fn lose_record(&mut self, rng: &mut Rng) -> Option<String> {
        let key = self.pick_record(rng)?;
        self.records.lose(key);
        self.damage = Some(Damage::Lost(key));
        Some(format!("loses {key}"))
    }

    fn pick_record(&self, rng: &mut Rng) -> Option<Key> {
        let keys = self.records.keys();
        // The few other records must be picked as well, even when the log is long.
        let others: Vec<Key> = keys.iter().copied().filter(|key| !matches!(key, Key::Entry(_))).collect();
        if rng.percent(50) { rng.pick(&others) } else { rng.pick(&keys) }
    }
}

impl World {
    pub(crate) fn rot(&mut self, slot: Slot) {
        if !self.may_lose_store(slot) {
            return;
        }
        let Some(what) = self.hosts[slot.at()].disk.rot(&mut self.fault_rng) else { return };
        self.narrate(slot, || what);
        // A running process never reads its store again.
        if self.fault_rng.percent(60) {
            self.crash(slot);
        }
    }

    /// A process dies, and some changes of the checkpoint in progress have happened and others have not.
    /// Returns whether it did.
    pub(crate) fn tear(&mut self, slot: Slot, pending: &Pending) -> bool {
        let may_tear = self.may_lose_store(slot);
        let host = &mut self.hosts[slot.at()];
        let Some(process) = host.run.process_mut() else { return false };
        process.tears_next = false;
        if !may_tear {
            return false;
        }
        let writes = process.storage.interrupt();
        let what = host.disk.tear(pending, writes, &mut self.fault_rng, &mut self.oracle);
        self.narrate(slot, || what.to_owned());
        self.crash(slot);
        true
    }

    /// The store is lost.
    pub(crate) fn wipe(&mut self, slot: Slot) {
        if !self.may_lose_store(slot) {
            return;
        }
        let life = self.life(slot);
        self.kill(slot);
        self.close_accepted(life);
        self.join_anew(slot);
    }

    /// A node was refused its store. Its operator leaves the store aside.
    pub(crate) fn set_aside(&mut self, slot: Slot, error: &StoreError) {
        self.narrate(slot, || format!("does not start: {error}"));
        self.summary.refused_stores += 1;
        self.join_anew(slot);
    }

    /// The operator removes the node and joins it again under its old id.
    fn join_anew(&mut self, slot: Slot) {
        let old = self.hosts[slot.at()].peer;
        self.empty(slot);
        self.operators.wish(Wish::Leave(old));
        self.prepare_to_join(slot);
    }

    /// Prepares a new store, and an operator's request to add it; its process starts once it has been added.
    pub(crate) fn prepare_to_join(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot.at()];
        host.peer.incarnation = Incarnation(host.peer.incarnation.0 + 1);
        host.health = Health::Sound;
        host.standing = Standing::Joining;
        host.disk = Disk::new(&host.identity(), HardState::default(), None);
        let peer = host.peer;
        self.operators.wish(Wish::Join(peer));
    }

    /// Whether the store of this host belongs to a voter and may be lost.
    fn may_lose_store(&self, slot: Slot) -> bool {
        let host = &self.hosts[slot.at()];
        let membership = self.oracle.membership();
        membership.is_voter(host.peer.id)
            && membership.contains(host.peer)
            && membership.members.len() > 1
            && host.run.process().is_some()
            && self.operators.is_idle()
            && self.can_lose(slot)
    }

    /// Whether every membership that any node considers in force keeps a majority without this host, counting
    /// only stores that are where they should be.
    fn can_lose(&self, slot: Slot) -> bool {
        let enough = |membership: &Membership| {
            let others = membership.voters().filter(|id| *id != node_id(slot));
            others.filter(|id| self.has_store(*id, membership)).count() >= membership.quorum()
        };
        enough(self.oracle.membership())
            && self.hosts.iter().all(|host| match host.run.process() {
                Some(process) => {
                    enough(process.node.membership()) || !process.node.raft().membership().contains(host.peer)
                }
                None => host.standing == Standing::Empty,
            })
    }

    /// Whether the rest, without this voter, has a majority of stores that are where they should be.
    pub(crate) fn can_lose_voter(&self, slot: Slot) -> bool {
        let membership = self.oracle.membership();
        let rest: Vec<_> = membership.voters().filter(|id| *id != node_id(slot)).collect();
        rest.iter().filter(|id| self.has_store(**id, membership)).count() > rest.len() / 2
    }

    /// Whether the store of this member is where it should be, and will be found sound.
    fn has_store(&self, id: NodeId, membership: &Membership) -> bool {
        let host = &self.hosts[slot_of(id).at()];
        membership.peer(id) == Some(host.peer) && host.disk.is_sound()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use raft_core::LogIndex;

    use super::*;
    use crate::testing::{Bench, JOURNAL_TRANSACTIONS, append, compact, of_term, replace};

    /// A store with something in the journal, and more than one checkpoint.
    fn base() -> Bench {
        let mut bench = Bench::new();
        bench.commit(append(2, 6..9));
        bench.commit(replace(3, 7..9));
        bench.commit(compact(3, 2));
        bench
    }

    /// The first of the seeds under which the store rots in the desired way.
    fn rotten(bench: &Bench, is_it: impl Fn(Damage) -> bool) -> Bench {
        let rot = |seed| {
            let mut bench = bench.fork(seed);
            bench.disk.rot(&mut bench.rng);
            bench
        };
        (0..10_000).map(rot).find(|bench| bench.disk.damage.is_some_and(&is_it)).unwrap()
    }

    #[test]
    fn whatever_rots_is_refused_and_named() {
        let base = base();
        let (mut flipped, mut lost, mut sectors, mut others) =
            <(BTreeSet<_>, BTreeSet<_>, BTreeSet<_>, BTreeSet<_>)>::default();
        for seed in 0..5_000 {
            let mut bench = base.fork(seed);
            let what = bench.disk.rot(&mut bench.rng).unwrap();
            // The disk itself checks that the error names what is damaged.
            assert!(!bench.opens(), "seed {seed}: {what}");
            match bench.disk.damage {
                Some(Damage::Flipped(key)) => drop(flipped.insert(key)),
                Some(Damage::Lost(key)) => drop(lost.insert(key)),
                Some(Damage::Sector(sector)) => drop(sectors.insert(sector)),
                Some(Damage::Gap(_) | Damage::SetBack | Damage::Torn) => drop(others.insert(what)),
                None => panic!("seed {seed}: {what}"),
            }
            assert_eq!(bench.disk.rot(&mut bench.rng), None, "it is damaged already");
        }
        // Entries 2 to 5, and seven other records.
        assert_eq!((flipped.len(), lost.len()), (4 + 7, 4 + 7), "{flipped:?} {lost:?}");
        assert_eq!(sectors.len(), 8 * JOURNAL_TRANSACTIONS);
        assert_eq!(others.len(), 2 + 1, "{others:?}");
    }

    #[test]
    fn a_record_that_is_flipped_or_lost_is_mended_by_the_checkpoint_that_writes_or_deletes_it() {
        for (key, mends) in [
            (Key::HardState, of_term(3)),
            (Key::Snapshot, compact(4, 2)),
            (Key::Extent, of_term(3)),
            (Key::Entry(LogIndex(3)), compact(4, 2)),
            (Key::Entry(LogIndex(5)), replace(3, 5..6)),
            (Key::Checkpoint, of_term(3)),
        ] {
            for damage in [Damage::Flipped(key), Damage::Lost(key)] {
                let mut bench = Bench::new();
                bench.disk = rotten(&bench, |found| found == damage).disk;
                assert!(!bench.opens(), "{damage:?}");
                bench.commit(mends.clone());
                assert!(!bench.opens(), "{damage:?}: though the journal has a later one");
                bench.fill();
                bench.commit(of_term(3));
                assert!(bench.opens(), "{damage:?}");
            }
        }
    }

    #[test]
    fn a_sector_that_is_flipped_is_mended_when_it_is_written_again() {
        for seed in 0..100 {
            let mut bench = base();
            let is_sector = |damage| matches!(damage, Damage::Sector(_));
            bench.disk = rotten(&bench.fork(seed), is_sector).disk;
            let Some(Damage::Sector(sector)) = bench.disk.damage else { panic!("{:?}", bench.disk.damage) };
            let block = sector / 8;
            let mut written = bench.disk.journal.transactions();
            // A block that has been written since the checkpoint is written again after the next one.
            let until = if block < written { block + JOURNAL_TRANSACTIONS + 1 } else { block };
            while written <= until {
                assert!(!bench.opens(), "seed {seed}, {written}");
                bench.commit(of_term(3));
                written += 1;
            }
            assert!(bench.opens(), "seed {seed}");
        }
    }

    #[test]
    fn what_is_missing_before_something_later_is_mended_by_the_next_checkpoint() {
        let is_gap = |damage| matches!(damage, Damage::Gap(_));
        let is_set_back = |damage| damage == Damage::SetBack;
        for is_it in [&is_gap as &dyn Fn(Damage) -> bool, &is_set_back] {
            let mut bench = base();
            bench.disk = rotten(&bench, is_it).disk;
            bench.fill();
            assert!(!bench.opens());
            bench.commit(of_term(3));
            assert!(bench.opens());
        }
    }

    #[test]
    fn the_last_transaction_and_a_checkpoint_that_nothing_came_after_are_not_missed_and_not_lost() {
        let mut bench = Bench::new();
        for seed in 0..1_000 {
            bench.rng = Rng::new(seed, 0);
            let mut disk = bench.disk.clone();
            disk.rot(&mut bench.rng);
            assert!(!matches!(disk.damage, Some(Damage::Gap(_) | Damage::SetBack)), "seed {seed}");
        }
    }
}
