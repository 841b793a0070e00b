//! Stores that are damaged, and what becomes of their nodes.
//!
//! A damaged store must be refused at the next start, by the checks that ship. Its operator then leaves it aside,
//! has the node removed, and joins it anew. A majority of a cluster's stores is never damaged at once: nobody
//! promises anything for that.

use raft_core::{HardState, Incarnation, Membership, NodeId, Peer, Recovered, Write};
use ticketd::storage::{Key, Place, StoreError, Tail};

use crate::disk::Disk;
use crate::host::{Health, Standing, node_id, slot_of};
use crate::operators::Wish;
use crate::oracle::Oracle;
use crate::records::Records;
use crate::rng::Rng;
use crate::schedule::Slot;
use crate::violated;
use crate::world::World;

/// What is wrong with the records on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Damage {
    /// A bit of this one is flipped, or it has gone missing. Whoever writes it again mends it.
    Rotten(Key),
    /// Of a transaction that was under way, some changes are there and others are not.
    Torn,
}

impl Damage {
    /// A record that is not what was written is named where the store is refused.
    pub(crate) fn check_refusal(self, me: Peer, error: &StoreError) {
        let StoreError::Damaged { place: Place::Record(named), .. } = error else {
            violated!("{me} does not say which record is damaged: {error}");
        };
        if let Damage::Rotten(record) = self
            && record != *named
        {
            violated!("{me} has a store with {self:?}, and says {error}");
        }
    }
}

impl Disk {
    /// A bit of a record flips, or a record goes missing. Says what became of which; `None` where there is no store,
    /// or a damaged one.
    pub(crate) fn rot(&mut self, rng: &mut Rng) -> Option<String> {
        if !self.is_sound() {
            return None;
        }
        let keys = self.records.keys();
        // A long log must not hide the few others.
        let others: Vec<Key> = keys.iter().copied().filter(|key| !matches!(key, Key::Entry(_))).collect();
        let key = if rng.percent(50) { rng.pick(&others)? } else { rng.pick(&keys)? };
        self.damage = Some(Damage::Rotten(key));
        if rng.percent(25) {
            self.records.lose(key);
            return Some(format!("loses {key}"));
        }
        let bit = self.records.flip(key, rng)?;
        Some(format!("has bit {bit} of {key} flipped"))
    }

    /// Some changes of the transaction that is made of these writes are there and others are not: LMDB promises that
    /// this never is. The store must be refused, or its log be as it was before or as it would have been. The hard
    /// state may be either beside either log: nobody was told of the new one, and a log that needs it is refused
    /// without. Says what became of it.
    fn tear(
        &mut self,
        mut tail: Tail,
        writes: Vec<Write>,
        rng: &mut Rng,
        oracle: &mut Oracle,
    ) -> &'static str {
        if !self.is_sound() {
            return "has lost a transaction";
        }
        let changes = tail.plan(&writes);
        let mut whole = self.records.clone();
        if let Err(missing) = whole.make(&changes) {
            violated!("a transaction deletes {missing}, which is not there");
        }
        let torn = self.records.torn(&whole, &changes, rng);
        let (before, after) = (sound(&self.records), sound(&whole));
        let found = match torn.read() {
            Ok(contents) => contents.recovered,
            Err(_) => {
                self.records = torn;
                self.damage = Some(Damage::Torn);
                return "has a torn transaction";
            }
        };
        let landed = same_log(&found, &after);
        if !landed && !same_log(&found, &before) {
            if self.records.entries_are_replaced(&whole, &changes) {
                // Of entries in the place of others, a mixture can look like a log: only LMDB prevents that.
                return "has lost a transaction, which could have been torn unseen";
            }
            violated!(
                "a torn transaction is taken for a whole one: {writes:?} on {before:?} gives {found:?}"
            );
        }
        self.records = torn;
        if landed {
            writes.into_iter().for_each(|write| self.note(write, oracle));
        }
        self.hard_state = found.hard_state;
        "has all or nothing of a torn transaction"
    }
}

fn sound(records: &Records) -> Recovered {
    match records.read() {
        Ok(contents) => contents.recovered,
        Err(error) => violated!("a store that nothing happened to is refused: {error}"),
    }
}

fn same_log(a: &Recovered, b: &Recovered) -> bool {
    (&a.snapshot, &a.entries) == (&b.snapshot, &b.entries)
}

impl World {
    pub(crate) fn rot(&mut self, slot: Slot) {
        if !self.may_lose_store(slot) {
            return;
        }
        let Some(what) = self.hosts[slot.at()].disk.rot(&mut self.fault_rng) else { return };
        self.narrate(slot, || what);
        // A process that runs never reads its store again.
        if self.fault_rng.percent(60) {
            self.crash(slot);
        }
    }

    /// A process dies, and of the transaction that was under way some changes have happened and others have not. True
    /// where it did.
    pub(crate) fn tear(&mut self, slot: Slot) -> bool {
        if !self.may_lose_store(slot) {
            return false;
        }
        let host = &mut self.hosts[slot.at()];
        let Some(process) = &mut host.process else { return false };
        let (tail, writes) = process.storage.interrupt();
        let what = host.disk.tear(tail, writes, &mut self.fault_rng, &mut self.oracle);
        self.narrate(slot, || what.to_owned());
        self.crash(slot);
        true
    }

    /// The store is lost.
    pub(crate) fn wipe(&mut self, slot: Slot) {
        if !self.may_lose_store(slot) {
            return;
        }
        let epoch = self.hosts[slot.at()].epoch;
        self.kill(slot);
        self.close_accepted(slot, epoch);
        self.join_anew(slot);
    }

    /// A node was refused its store. Its operator leaves that aside.
    pub(crate) fn set_aside(&mut self, slot: Slot, error: &StoreError) {
        self.narrate(slot, || format!("does not start: {error}"));
        self.summary.refused_stores += 1;
        self.join_anew(slot);
    }

    /// The operator removes the node and joins it anew, under its old id.
    fn join_anew(&mut self, slot: Slot) {
        let old = self.hosts[slot.at()].peer;
        self.empty(slot);
        self.operators.wish(Wish::Leave(old));
        self.prepare_to_join(slot);
    }

    /// A new store, and an operator who asks that it be added; its process starts when it has been.
    pub(crate) fn prepare_to_join(&mut self, slot: Slot) {
        let host = &mut self.hosts[slot.at()];
        host.peer.incarnation = Incarnation(host.peer.incarnation.0 + 1);
        host.health = Health::Sound;
        host.standing = Standing::Joining;
        host.disk = Disk::new(&host.identity(), HardState::default(), None);
        let peer = host.peer;
        self.operators.wish(Wish::Join(peer));
    }

    /// Whether the store of this host is that of a voter, and can be lost.
    fn may_lose_store(&self, slot: Slot) -> bool {
        let host = &self.hosts[slot.at()];
        let membership = self.oracle.membership();
        membership.is_voter(host.peer.id)
            && membership.contains(host.peer)
            && membership.members.len() > 1
            && host.process.is_some()
            && self.operators.is_idle()
            && self.can_lose(slot)
    }

    /// Whether every membership that anybody holds to be in force has a majority without this host, and with
    /// stores that are where they should be.
    fn can_lose(&self, slot: Slot) -> bool {
        let enough = |membership: &Membership| {
            let others = membership.voters().filter(|id| *id != node_id(slot));
            others.filter(|id| self.has_store(*id, membership)).count() >= membership.quorum()
        };
        enough(self.oracle.membership())
            && self.hosts.iter().all(|host| match &host.process {
                Some(process) => {
                    enough(process.node.membership()) || !process.node.raft().membership().contains(host.peer)
                }
                None => host.standing == Standing::Empty,
            })
    }

    /// Whether what remains without this voter has a majority of stores that are where they should be.
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
    use std::num::NonZeroU64;
    use std::ops::Range;
    use std::sync::Arc;

    use raft_core::{Entry, LogIndex, Payload, Snapshot, Term, WriteId};
    use ticketd::identity::{self, Identity};
    use ticketd::node::initial_state;

    use super::*;
    use crate::disk::Storage;

    fn identity() -> Identity {
        let me = Peer { id: NodeId::new(1).unwrap(), incarnation: Incarnation(1) };
        Identity { me, standing: identity::Standing::Joining }
    }

    fn initial() -> Snapshot {
        Snapshot {
            last_included_index: LogIndex(1),
            last_included_term: Term(1),
            membership: Arc::default(),
            state: initial_state(NonZeroU64::MIN),
        }
    }

    fn write(id: u64, term: u64, truncate_from: Option<u64>, entries: Range<u64>) -> Write {
        let entry = |index| Entry { index: LogIndex(index), term: Term(term), payload: Payload::Noop };
        Write {
            id: WriteId(id),
            hard_state: Some(HardState { current_term: Term(term), voted_for: None }),
            snapshot: None,
            truncate_from: truncate_from.map(LogIndex),
            entries: entries.map(entry).collect(),
        }
    }

    /// A disk with entries 2 to 5 of term 2, and who watches it.
    fn disk() -> (Disk, Oracle) {
        let initial = initial();
        let mut oracle = Oracle::new(&initial);
        let hard_state = HardState { current_term: Term(1), voted_for: None };
        let mut disk = Disk::new(&identity(), hard_state, Some(Arc::new(initial)));
        let mut storage = Storage::new(disk.open(&identity()).unwrap().tail());
        storage.submit(write(1, 2, None, 2..6));
        assert_eq!(storage.commit(&mut disk, &mut oracle), Ok(Some(WriteId(1))));
        (disk, oracle)
    }

    /// What becomes of a disk on which this is torn in many ways.
    fn outcomes(torn: &Write) -> BTreeSet<&'static str> {
        let (disk, mut oracle) = disk();
        let tail = disk.open(&identity()).unwrap().tail();
        let mut tear = |seed| {
            let mut disk = disk.clone();
            let what = disk.tear(tail.clone(), vec![torn.clone()], &mut Rng::new(seed, 0), &mut oracle);
            assert_eq!(disk.open(&identity()).is_ok(), disk.is_sound(), "seed {seed}");
            what
        };
        (0..500).map(&mut tear).collect()
    }

    #[test]
    fn a_torn_transaction_that_replaces_nothing_is_refused_or_is_all_or_nothing() {
        let expected = BTreeSet::from(["has a torn transaction", "has all or nothing of a torn transaction"]);
        for torn in [write(2, 3, None, 6..9), write(2, 3, Some(4), 0..0), write(2, 3, None, 0..0)] {
            let found = outcomes(&torn);
            assert!(found.is_subset(&expected) && found.contains("has all or nothing of a torn transaction"));
            assert!(
                found.len() == 2 || (torn.entries.is_empty() && torn.truncate_from.is_none()),
                "{torn:?}"
            );
        }
    }

    #[test]
    fn a_mixture_of_entries_and_those_in_their_place_is_recognised_and_not_let_come_true() {
        let found = outcomes(&write(2, 3, Some(4), 4..6));
        assert!(found.contains("has lost a transaction, which could have been torn unseen"), "{found:?}");
    }

    #[test]
    fn any_record_that_rots_is_refused_and_named() {
        let (disk, _) = disk();
        let mut named = BTreeSet::new();
        for seed in 0..500 {
            let mut disk = disk.clone();
            disk.rot(&mut Rng::new(seed, 0)).unwrap();
            assert_eq!(disk.rot(&mut Rng::new(seed, 0)), None, "it is damaged already");
            let Some(Damage::Rotten(key)) = disk.damage else { panic!("{:?}", disk.damage) };
            // It checks itself that the record is named.
            disk.open(&identity()).unwrap_err();
            named.insert(key);
        }
        assert_eq!(named.len(), 6 + 4, "{named:?}");
    }
}
