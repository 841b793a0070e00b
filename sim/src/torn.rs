//! Checkpoints of which some changes are there and others are not: LMDB promises that this never is.
//!
//! Such a store must be refused, or its log be as it was before or as it would have been. The hard state may be that of
//! either beside either log: nobody was told of the new one, and a log that needs it is refused without. Where the
//! record that says how far the data file goes is the old one, the journal brings back what was before.
//!
//! What the checks of a store can not see, so that only LMDB's promise protects from it: a mixture of entries and
//! others in their place; and, where the record that says how far the data file goes is the new one, that something
//! else is still what the checkpoint before has made of it. The simulator does not let that come true.

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
    /// Some changes of the checkpoint that was to make these writes durable are there and others are not. Says what
    /// became of it.
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
        let (before, after) = (sound(&self.records, &self.journal), sound(&whole, &self.journal));
        let counts = torn.agree_on(&whole, Key::Checkpoint);
        if !is_made_of(&found, &[&before, &after]) {
            let is_unseen = self.records.entries_are_replaced(&whole, pending)
                || (counts && self.is_made_of_the_checkpoint_before(&found, &before, &after));
            if is_unseen {
                return "has lost a checkpoint, which could have been torn unseen";
            }
            violated!("a torn checkpoint is taken for a whole one: {writes:?} on {before:?} gives {found:?}");
        }
        self.records = torn;
        self.needs_journal = !counts;
        if counts {
            self.journal.clear();
            self.journalled.clear();
        }
        if same_log(&found, &after) {
            writes.into_iter().for_each(|write| self.note(write, oracle));
        }
        self.hard_state = found.recovered.hard_state;
        "has all or nothing of a torn checkpoint"
    }

    /// Whether parts of what was found are what the data file alone has. Where that was no store by itself, nobody can
    /// tell.
    fn is_made_of_the_checkpoint_before(
        &self,
        found: &Contents,
        before: &Contents,
        after: &Contents,
    ) -> bool {
        let alone = || sound(&self.records, &Sectors::new(before.identity.me.incarnation));
        self.needs_journal || is_made_of(found, &[&alone(), before, after])
    }
}

/// Whether the log is that of one of these, and so is the hard state, and who the node is.
fn is_made_of(found: &Contents, of: &[&Contents]) -> bool {
    of.iter().any(|one| same_log(found, one))
        && of.iter().any(|one| found.recovered.hard_state == one.recovered.hard_state)
        && of.iter().any(|one| found.identity == one.identity)
}

fn same_log(a: &Contents, b: &Contents) -> bool {
    (&a.recovered.snapshot, &a.recovered.entries) == (&b.recovered.snapshot, &b.recovered.entries)
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
    const UNSEEN: &str = "has lost a checkpoint, which could have been torn unseen";

    /// What becomes of a disk whose journal has these, and on which a checkpoint with that is torn in many ways.
    fn outcomes(journalled: &[Write], torn: &Write) -> BTreeSet<&'static str> {
        let mut base = Bench::new();
        journalled.iter().for_each(|write| base.commit(write.clone()));
        base.fill();
        let tear = |seed| {
            let mut bench = base.fork(seed);
            let what = bench.tear(torn.clone());
            assert_eq!(bench.opens(), bench.disk.is_sound(), "seed {seed}");
            if bench.disk.is_sound() {
                // Whoever comes next brings it to its end.
                bench.restart();
                let term = bench.disk.hard_state.current_term.0;
                bench.commit(of_term(term));
                bench.fill();
                bench.commit(of_term(term));
                assert!(bench.opens() && !bench.disk.needs_journal, "seed {seed}");
            }
            what
        };
        (0..500).map(tear).collect()
    }

    #[test]
    fn a_torn_checkpoint_is_refused_or_is_all_or_nothing_or_what_was_before_counts() {
        for journalled in [&[][..], &[append(2, 6..8)], &[append(2, 6..8), compact(4, 2)]] {
            let last = journalled.first().map_or(5, |_| 7);
            for torn in [append(3, last + 1..last + 4), of_term(3), compact(last, 2)] {
                let found = outcomes(journalled, &torn);
                let is_known = |what: &&str| [ALL_OR_NOTHING, TORN, UNSEEN].contains(what);
                assert!(found.iter().all(is_known) && found.contains(ALL_OR_NOTHING), "{torn:?}: {found:?}");
                let changes_log = !journalled.is_empty() || torn != of_term(3);
                assert_eq!(found.contains(TORN), changes_log, "{torn:?}: {found:?}");
                // What the journal had become durable with is lost where the checkpoint alone is there.
                assert_eq!(found.contains(UNSEEN), !journalled.is_empty(), "{torn:?}: {found:?}");
            }
        }
    }

    #[test]
    fn a_mixture_of_entries_and_those_in_their_place_is_recognised_and_not_let_come_true() {
        let found = outcomes(&[], &replace(3, 4..6));
        assert!(found.contains(UNSEEN), "{found:?}");
    }

    #[test]
    fn where_the_journal_makes_up_for_a_record_that_was_lost_a_checkpoint_can_be_torn_as_well() {
        let mut base = Bench::new();
        base.fill();
        let lost = |seed| {
            let mut bench = base.fork(seed);
            bench.disk.rot(&mut bench.rng);
            bench
        };
        let mut found = BTreeSet::new();
        for mut bench in (0..5_000).map(lost).filter(|bench| bench.disk.needs_journal) {
            found.insert(bench.tear(append(3, 6..9)));
            assert_eq!(bench.opens(), bench.disk.is_sound());
        }
        assert!(found.contains(ALL_OR_NOTHING) && found.contains(TORN), "{found:?}");
    }

    #[test]
    fn a_checkpoint_that_is_torn_on_a_damaged_disk_is_lost() {
        let mut bench = Bench::new();
        bench.fill();
        bench.disk.damage = Some(Damage::Torn);
        assert_eq!(bench.tear(of_term(2)), "has lost a checkpoint");
    }
}
