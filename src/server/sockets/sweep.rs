//! When to search a table of connections for those whose time is up.
//!
//! Pure. Most deadlines move before they are reached, with every request, so they are not kept in order. The
//! table is searched when the earliest deadline ever noted is reached, and each search notes the remaining
//! deadlines. A request costs one comparison. A search costs one pass over the table, a part of it in each
//! turn, and begins at the earliest [`SWEEP_INTERVAL_US`] after the last has begun.

use std::ops::Range;

use raft_core::Micros;

use crate::server::limits::{SWEEP_INTERVAL_US, SWEEP_PLACES_PER_TURN_MAX};

/// The searches of one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sweep {
    next: Option<Micros>,
    not_before: Micros,
    under_way: Option<UnderWay>,
}

/// A search that goes on in the next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct UnderWay {
    began: Micros,
    /// Where it goes on.
    place: usize,
}

impl Sweep {
    /// A connection of the table now has this deadline, or none.
    pub(crate) fn note(&mut self, deadline: Option<Micros>) {
        if let Some(deadline) = deadline {
            let at = deadline.max(self.not_before);
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
    }

    /// When [`Sweep::part`] must be called.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.under_way.map_or(self.next, |search| Some(search.began))
    }

    /// Which places of a table with this many to search now. The caller must note every deadline that it
    /// finds there.
    pub(crate) fn part(&mut self, now: Micros, places: usize) -> Range<usize> {
        let UnderWay { began, place: from } = match self.under_way.take() {
            Some(search) => search,
            None if self.next.is_some_and(|next| next <= now) => {
                self.next = None;
                self.not_before = now.plus(SWEEP_INTERVAL_US);
                UnderWay { began: now, place: 0 }
            }
            None => return 0..0,
        };
        let to = places.min(from.saturating_add(SWEEP_PLACES_PER_TURN_MAX));
        self.under_way = (to < places).then_some(UnderWay { began, place: to });
        from..to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that is searched in one turn.
    const SMALL: usize = 3;

    #[test]
    fn a_search_is_due_at_the_earliest_deadline_noted() {
        let mut sweep = Sweep::default();
        assert!(sweep.part(Micros(u64::MAX), SMALL).is_empty(), "nothing was noted");
        sweep.note(Some(Micros(500)));
        sweep.note(Some(Micros(300)));
        sweep.note(None);
        assert_eq!(sweep.deadline(), Some(Micros(300)));
        assert!(sweep.part(Micros(299), SMALL).is_empty());
        assert_eq!(sweep.part(Micros(300), SMALL), 0..SMALL);
        assert_eq!(sweep.deadline(), None);
    }

    #[test]
    fn searches_keep_their_distance_however_near_the_deadlines_are() {
        let mut sweep = Sweep::default();
        sweep.note(Some(Micros(1_000)));
        assert_eq!(sweep.part(Micros(1_000), SMALL), 0..SMALL);
        sweep.note(Some(Micros(1_001)));
        assert_eq!(sweep.deadline(), Some(Micros(1_000 + SWEEP_INTERVAL_US)));
        sweep.note(Some(Micros(2_000 + SWEEP_INTERVAL_US)));
        assert_eq!(sweep.deadline(), Some(Micros(1_000 + SWEEP_INTERVAL_US)));
    }

    #[test]
    fn a_large_table_is_searched_in_parts_one_after_the_other() {
        const PART: usize = SWEEP_PLACES_PER_TURN_MAX;
        let mut sweep = Sweep::default();
        sweep.note(Some(Micros(1_000)));
        assert_eq!(sweep.part(Micros(1_000), 2 * PART + 5), 0..PART);
        // What is found in this part, or changes in the meantime, is due later, and the rest at once.
        sweep.note(Some(Micros(1_001)));
        assert_eq!(sweep.deadline(), Some(Micros(1_000)));
        assert_eq!(sweep.part(Micros(1_002), 2 * PART + 5), PART..2 * PART);
        // The table has grown.
        assert_eq!(sweep.part(Micros(1_003), 2 * PART + 6), 2 * PART..2 * PART + 6);
        assert_eq!(sweep.deadline(), Some(Micros(1_000 + SWEEP_INTERVAL_US)));
        assert!(sweep.part(Micros(1_004), 2 * PART + 6).is_empty());
        // A table of just this size is done in one part.
        assert_eq!(sweep.part(Micros(1_000 + SWEEP_INTERVAL_US), PART), 0..PART);
        assert_eq!(sweep.deadline(), None);
    }
}
