//! When to search a table of connections for those whose time is up.
//!
//! Pure. Most deadlines move before they are reached, with every request, so they are not kept in order. The
//! table is searched when the earliest deadline ever noted is reached, and each search notes the remaining
//! deadlines. A request costs one comparison. A search costs one pass over the table, and takes place at the
//! earliest [`SWEEP_INTERVAL_US`] after the last.

use raft_core::Micros;

use crate::server::limits::SWEEP_INTERVAL_US;

/// The next search of one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sweep {
    next: Option<Micros>,
    not_before: Micros,
}

impl Sweep {
    /// A connection of the table now has this deadline, or none.
    pub(crate) fn note(&mut self, deadline: Option<Micros>) {
        if let Some(deadline) = deadline {
            let at = deadline.max(self.not_before);
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
    }

    /// When [`Sweep::begin`] must be called.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.next
    }

    /// Whether to search the table now. If so, the caller must note every deadline that it finds.
    pub(crate) fn begin(&mut self, now: Micros) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = None;
            self.not_before = now.plus(SWEEP_INTERVAL_US);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_due_at_the_earliest_deadline_noted() {
        let mut sweep = Sweep::default();
        assert!(!sweep.begin(Micros(u64::MAX)), "nothing was noted");
        sweep.note(Some(Micros(500)));
        sweep.note(Some(Micros(300)));
        sweep.note(None);
        assert_eq!(sweep.deadline(), Some(Micros(300)));
        assert!(!sweep.begin(Micros(299)));
        assert!(sweep.begin(Micros(300)));
        assert_eq!(sweep.deadline(), None);
    }

    #[test]
    fn searches_keep_their_distance_however_near_the_deadlines_are() {
        let mut sweep = Sweep::default();
        sweep.note(Some(Micros(1_000)));
        assert!(sweep.begin(Micros(1_000)));
        sweep.note(Some(Micros(1_001)));
        assert_eq!(sweep.deadline(), Some(Micros(1_000 + SWEEP_INTERVAL_US)));
        sweep.note(Some(Micros(2_000 + SWEEP_INTERVAL_US)));
        assert_eq!(sweep.deadline(), Some(Micros(1_000 + SWEEP_INTERVAL_US)));
    }
}
