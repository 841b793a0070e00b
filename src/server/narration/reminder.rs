//! When the log should say that a problem lasts. Pure.
//!
//! Nothing is logged about a problem that is soon over. A logged problem is logged again and again until it
//! is over, because an operator who is called at night reads the end of the log first.

use raft_core::Micros;

use crate::server::limits::REMINDER_INTERVAL_US;

/// What has been logged about one possible problem.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reminder {
    said: Option<Said>,
}

/// A problem that has been logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Said {
    /// When the problem had begun, as of the first time it was logged.
    since: Micros,
    /// When it was logged last.
    at: Micros,
}

/// What to log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// The problem has lasted for this many microseconds.
    Lasts(u64),
    /// The problem is over, after this many microseconds.
    Over(u64),
}

impl Reminder {
    /// Since when a problem counts that began at `began_at`: not before `counts_from`, such as the end of a
    /// pause of the process. One that was logged before that goes on.
    pub(crate) fn since(&self, began_at: Option<Micros>, counts_from: Micros) -> Option<Micros> {
        began_at.map(|at| if self.is_told() { at } else { at.max(counts_from) })
    }

    /// Whether the problem has been logged, and its end has not.
    fn is_told(&self) -> bool {
        self.said.is_some()
    }

    /// Returns what to log now. `since` is when the problem began; `None` if there is none. A problem is
    /// logged once it has lasted for `patience_us`, and is over once it has lasted for less or there is none.
    pub(crate) fn note(&mut self, now: Micros, since: Option<Micros>, patience_us: u64) -> Option<Notice> {
        let since = since.filter(|since| now.since(*since) >= patience_us);
        match (since, self.said) {
            (None, said) => {
                self.said = None;
                said.map(|said| Notice::Over(now.since(said.since)))
            }
            (Some(_), Some(said)) if now < said.at.plus(REMINDER_INTERVAL_US) => None,
            (Some(since), said) => {
                self.said = Some(Said { since: said.map_or(since, |said| said.since), at: now });
                Some(Notice::Lasts(now.since(since)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_US: u64 = 1_500_000;

    #[test]
    fn what_lasts_is_told_after_a_while_again_and_again_and_then_no_more() {
        let mut reminder = Reminder::default();
        let mut note = |us, since: Option<u64>| reminder.note(Micros(us), since.map(Micros), PATIENCE_US);
        assert_eq!(note(5, None), None);
        assert_eq!(note(10, Some(10)), None);
        assert_eq!(note(10 + PATIENCE_US - 1, Some(10)), None);
        assert!(!reminder.is_told());
        let mut note = |us, since: Option<u64>| reminder.note(Micros(us), since.map(Micros), PATIENCE_US);
        let said_at = 10 + PATIENCE_US;
        assert_eq!(note(said_at, Some(10)), Some(Notice::Lasts(PATIENCE_US)));
        assert_eq!(note(said_at + REMINDER_INTERVAL_US - 1, Some(10)), None);
        let again_at = said_at + REMINDER_INTERVAL_US;
        assert_eq!(note(again_at, Some(10)), Some(Notice::Lasts(again_at - 10)));
        assert!(reminder.is_told());
        let mut note = |us, since: Option<u64>| reminder.note(Micros(us), since.map(Micros), PATIENCE_US);
        assert_eq!(note(again_at + 1, None), Some(Notice::Over(again_at - 9)));
        assert_eq!(note(again_at + 2, None), None);
    }

    #[test]
    fn of_what_is_soon_over_nothing_is_said() {
        let mut reminder = Reminder::default();
        assert_eq!(reminder.note(Micros(0), Some(Micros(0)), PATIENCE_US), None);
        assert_eq!(reminder.note(Micros(PATIENCE_US - 1), None, PATIENCE_US), None);
        assert_eq!(reminder, Reminder::default());
    }
}
