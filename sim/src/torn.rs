//! Torn checkpoints, of which some changes are on the disk and others are not: LMDB promises that this never
//! happens.
//!
//! Such a store must be refused, or be as it was before the checkpoint or as it would have been after it. If
//! the record that says how far the data file goes is the old one, the journal restores the state before; if
//! it is the new one, everything that the checkpoint changed must be there.

use raft_core::Write;
use ticketd::storage::{Contents, Key, Pending};

use crate::damage::Damage;
use crate::disk::Disk;
use crate::oracle::Oracle;
use crate::records::Records;
use crate::rng::Rng;
use crate::sectors::Sectors;
use crate::violated;

impl Disk {
    /// Tears the checkpoint that was to make these writes durable: some of its changes are there and others
    /// are not. Returns what became of it.
    pub(crate) fn tear(
        &mut self,
        pending: &Pending,
        writes: Vec<Write>,
        rng: &mut Rng,
        oracle: &mut Oracle,
    ) -> &'static str {
        if !self.is_sound() {
            return "has lost a checkpoint";
        }
        let mut whole = self.records.clone();
        whole.make(pending);
        let torn = self.records.torn(&whole, pending, rng);
        let Ok(found) = torn.read(self.journal.bytes()) else {
            self.records = torn;
            self.damage = Some(Damage::Torn);
            return "has a torn checkpoint";
        };
        let is_made = torn.agree_on(&whole, Key::Checkpoint);
        let expected = sound(if is_made { &whole } else { &self.records }, &self.journal);
        if (&found.identity, &found.recovered) != (&expected.identity, &expected.recovered) {
            violated!("a torn checkpoint with {writes:?} gives {found:?}, not {expected:?}");
        }
        self.records = torn;
        if is_made {
            self.journal.clear();
            writes.into_iter().for_each(|write| self.note(write, oracle));
        }
        "has all or nothing of a torn checkpoint"
    }
}

fn sound(records: &Records, journal: &Sectors) -> Contents {
    match records.read(journal.bytes()) {
        Ok(contents) => contents,
        Err(error) => violated!("a store that nothing happened to is refused: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{Bench, append, compact, of_term, replace};

    const ALL_OR_NOTHING: &str = "has all or nothing of a torn checkpoint";
    const TORN: &str = "has a torn checkpoint";

    /// The results when a checkpoint with `torn` is torn in many ways on a disk whose journal has
    /// `journalled`.
    fn outcomes(journalled: &[Write], torn: &Write) -> BTreeSet<&'static str> {
        let mut base = Bench::new();
        journalled.iter().for_each(|write| base.commit(write.clone()));
        base.fill();
        let tear = |seed| {
            let mut bench = base.fork(seed);
            let what = bench.tear(torn.clone());
            assert_eq!(bench.opens(), bench.disk.is_sound(), "seed {seed}");
            if bench.disk.is_sound() {
                // The next process goes on with the store, up to another checkpoint.
                bench.restart();
                let term = bench.disk.written.hard_state.current_term.0;
                bench.commit(of_term(term));
                bench.fill();
                bench.commit(of_term(term));
                assert!(bench.opens(), "seed {seed}");
            }
            what
        };
        (0..500).map(tear).collect()
    }

    #[test]
    fn a_torn_checkpoint_is_refused_or_is_all_or_nothing() {
        for journalled in [&[][..], &[append(2, 6..8)], &[append(2, 6..8), compact(4, 2)]] {
            let last = journalled.first().map_or(5, |_| 7);
            // Entries that replace others may be there beside entries that they contradict.
            for torn in [append(3, last + 1..last + 4), of_term(3), compact(last, 2), replace(3, 5..7)] {
                let found = outcomes(journalled, &torn);
                assert_eq!(found, BTreeSet::from([ALL_OR_NOTHING, TORN]), "{journalled:?}, {torn:?}");
            }
        }
    }

    #[test]
    fn a_checkpoint_that_is_torn_on_a_damaged_disk_is_lost() {
        let mut bench = Bench::new();
        bench.fill();
        bench.disk.damage = Some(Damage::Torn);
        assert_eq!(bench.tear(of_term(2)), "has lost a checkpoint");
    }
}
