//! When the log should say that a problem lasts. Pure.
//!
//! Nothing is logged about a problem that is soon over. A logged problem is logged again and again until it
//! is over, because an operator who is called at night reads the end of the log first. One that comes and
//! goes is logged each time, but only a few times at once: a disk that takes two seconds for each write must
//! not fill itself with lines that say so.

use raft_core::Micros;

use super::log_limit::{LeftOut, LogLimit};
use crate::server::limits::{PROBLEMS_AT_ONCE_MAX, REMINDER_INTERVAL_US};

/// What has been logged about one possible problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reminder {
    repeats: Repeats,
    limit: LogLimit,
    told: Told,
}

/// Whether a problem that lasts is logged again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Repeats {
    Yes,
    No,
}

/// What has been logged about the present problem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// Nothing, or there is none.
    No,
    /// It was left out, because there was no room for it.
    LeftOut,
    Yes {
        /// When the problem had begun, as of the first time it was logged.
        since: Micros,
        /// When it was logged last.
        at: Micros,
    },
}

/// What to log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// The problem has lasted for this many microseconds.
    Lasts(u64, LeftOut),
    /// The problem is over, after this many microseconds.
    Over(u64),
}

impl Default for Reminder {
    fn default() -> Reminder {
        Reminder { repeats: Repeats::Yes, limit: LogLimit::of(PROBLEMS_AT_ONCE_MAX), told: Told::No }
    }
}

impl Reminder {
    /// For a problem that is not logged again while it lasts.
    pub(crate) fn once() -> Reminder {
        Reminder { repeats: Repeats::No, ..Reminder::default() }
    }

    /// Since when a problem counts that began at `began_at`: not before `counts_from`, such as the end of a
    /// pause of the process. One that was logged before that goes on.
    pub(crate) fn since(&self, began_at: Option<Micros>, counts_from: Micros) -> Option<Micros> {
        began_at.map(|at| if self.told_at().is_some() { at } else { at.max(counts_from) })
    }

    /// When the problem was logged last, if it has been and its end has not.
    pub(crate) fn told_at(&self) -> Option<Micros> {
        match self.told {
            Told::Yes { at, .. } => Some(at),
            Told::No | Told::LeftOut => None,
        }
    }

    /// What was logged does not count any more: if the problem lasts, it is logged once more.
    pub(crate) fn forget(&mut self) {
        self.told = Told::No;
    }

    /// Returns what to log now. `since` is when the problem began; `None` if there is none. A problem is
    /// logged once it has lasted for `patience_us`, and is over once it has lasted for less or there is none.
    pub(crate) fn note(&mut self, now: Micros, since: Option<Micros>, patience_us: u64) -> Option<Notice> {
        let since = since.filter(|since| now.since(*since) >= patience_us);
        let (since, left_out) = match (since, self.told) {
            (None, told) => {
                self.told = Told::No;
                let Told::Yes { since, .. } = told else { return None };
                return Some(Notice::Over(now.since(since)));
            }
            (Some(since), Told::Yes { since: first, at }) => {
                let is_due = self.repeats == Repeats::Yes && now >= at.plus(REMINDER_INTERVAL_US);
                if !is_due {
                    return None;
                }
                self.told = Told::Yes { since: first, at: now };
                return Some(Notice::Lasts(now.since(since), LeftOut::default()));
            }
            (Some(since), Told::LeftOut) => (since, self.limit.admit_late(now)),
            (Some(since), Told::No) => (since, self.limit.admit(now)),
        };
        self.told = if left_out.is_some() { Told::Yes { since, at: now } } else { Told::LeftOut };
        left_out.map(|left_out| Notice::Lasts(now.since(since), left_out))
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
        let lasts = |us| Some(Notice::Lasts(us, LeftOut::default()));
        assert_eq!(note(5, None), None);
        assert_eq!(note(10, Some(10)), None);
        assert_eq!(note(10 + PATIENCE_US - 1, Some(10)), None);
        assert_eq!(reminder.told_at(), None);
        let mut note = |us, since: Option<u64>| reminder.note(Micros(us), since.map(Micros), PATIENCE_US);
        let said_at = 10 + PATIENCE_US;
        assert_eq!(note(said_at, Some(10)), lasts(PATIENCE_US));
        assert_eq!(note(said_at + REMINDER_INTERVAL_US - 1, Some(10)), None);
        let again_at = said_at + REMINDER_INTERVAL_US;
        assert_eq!(note(again_at, Some(10)), lasts(again_at - 10));
        assert_eq!(reminder.told_at(), Some(Micros(again_at)));
        let mut note = |us, since: Option<u64>| reminder.note(Micros(us), since.map(Micros), PATIENCE_US);
        assert_eq!(note(again_at + 1, None), Some(Notice::Over(again_at - 9)));
        assert_eq!(note(again_at + 2, None), None);
    }

    #[test]
    fn of_what_is_soon_over_nothing_is_said() {
        let mut reminder = Reminder::default();
        assert_eq!(reminder.note(Micros(0), Some(Micros(0)), PATIENCE_US), None);
        assert_eq!(reminder.note(Micros(PATIENCE_US - 1), None, PATIENCE_US), None);
        assert_eq!(reminder.told_at(), None);
    }

    /// A disk that takes a little more than the patience for each write, looked at twice a second.
    #[test]
    fn what_comes_and_goes_for_an_hour_is_told_now_and_then_and_its_end_in_the_end() {
        const WRITE_US: u64 = PATIENCE_US + 100_000;
        const HOUR_US: u64 = 3_600_000_000;
        let mut reminder = Reminder::default();
        let looks = (1..=HOUR_US / 500_000).map(|half| half * 500_000);
        let look = |us| reminder.note(Micros(us), Some(Micros(us - us % WRITE_US)), PATIENCE_US);
        let mut notices: Vec<Notice> = looks.filter_map(look).collect();
        notices.extend(reminder.note(Micros(HOUR_US + 1), None, PATIENCE_US));
        let problems = u64::from(PROBLEMS_AT_ONCE_MAX) + HOUR_US / REMINDER_INTERVAL_US;
        assert!((4..=2 * problems).contains(&(notices.len() as u64)), "{}", notices.len());
        for pair in notices.chunks(2) {
            assert!(matches!(pair, [Notice::Lasts(..), Notice::Over(_)]), "{pair:?}");
        }
    }

    #[test]
    fn how_often_it_came_in_between_is_told_with_the_next() {
        let mut reminder = Reminder::default();
        let mut come_and_go = |at: Micros| {
            let told = reminder.note(at.plus(PATIENCE_US), Some(at), PATIENCE_US);
            assert_eq!(reminder.note(at.plus(PATIENCE_US), None, PATIENCE_US).is_some(), told.is_some());
            told
        };
        let start = Micros(1_000_000_000);
        let told = (0..PROBLEMS_AT_ONCE_MAX + 4).filter_map(|_| come_and_go(start)).count();
        assert_eq!(told, usize::try_from(PROBLEMS_AT_ONCE_MAX).unwrap());
        let Some(Notice::Lasts(_, left_out)) = come_and_go(start.plus(REMINDER_INTERVAL_US)) else {
            panic!("there is room again");
        };
        assert_eq!(left_out.to_string(), " (4 lines like this one were left out)");
    }

    #[test]
    fn one_that_there_was_no_room_for_is_told_later_if_it_lasts() {
        let mut reminder = Reminder::default();
        let start = Micros(1_000_000_000);
        let began = Some(start);
        let at = start.plus(PATIENCE_US);
        for _ in 0..PROBLEMS_AT_ONCE_MAX {
            assert!(reminder.note(at, began, PATIENCE_US).is_some());
            assert!(reminder.note(at, None, PATIENCE_US).is_some());
        }
        assert_eq!(reminder.note(at, began, PATIENCE_US), None);
        assert_eq!(reminder.note(at.plus(1), began, PATIENCE_US), None);
        let lasts = Notice::Lasts(PATIENCE_US + REMINDER_INTERVAL_US, LeftOut::default());
        assert_eq!(reminder.note(at.plus(REMINDER_INTERVAL_US), began, PATIENCE_US), Some(lasts));
    }

    #[test]
    fn what_is_told_once_is_told_again_only_if_that_is_forgotten() {
        let mut reminder = Reminder::once();
        let note = |reminder: &mut Reminder, us| reminder.note(Micros(us), Some(Micros(0)), PATIENCE_US);
        assert!(note(&mut reminder, PATIENCE_US).is_some());
        assert_eq!(note(&mut reminder, PATIENCE_US + 10 * REMINDER_INTERVAL_US), None);
        reminder.forget();
        assert!(note(&mut reminder, PATIENCE_US + 11 * REMINDER_INTERVAL_US).is_some());
        assert!(reminder.note(Micros(PATIENCE_US + 12 * REMINDER_INTERVAL_US), None, PATIENCE_US).is_some());
    }
}
