//! A bound on log lines of one kind, so that what causes one again and again does not fill a disk: the
//! generic cell rate algorithm (ITU-T I.371), with lines for cells. Pure.

use std::fmt;

use raft_core::Micros;

use crate::server::limits::{LOG_LINES_AT_ONCE_MAX, REMINDER_INTERVAL_US};

/// Lets a few lines of one kind through at once, then one in each [`REMINDER_INTERVAL_US`], and counts the
/// others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimit {
    /// How far `settled_at` may be ahead when another line is let through.
    ahead_us_max: u64,
    /// When as many intervals have passed as lines were let through: the theoretical arrival time.
    settled_at: Micros,
    left_out: u64,
}

/// How many lines were left out before the one being written. Displays as nothing if none were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LeftOut(u64);

impl Default for LogLimit {
    fn default() -> LogLimit {
        LogLimit::of(LOG_LINES_AT_ONCE_MAX)
    }
}

impl LogLimit {
    /// Lets this many lines through at once.
    pub(crate) fn of(at_once_max: u32) -> LogLimit {
        let ahead_us_max = u64::from(at_once_max.saturating_sub(1)) * REMINDER_INTERVAL_US;
        LogLimit { ahead_us_max, settled_at: Micros(0), left_out: 0 }
    }

    /// If a line may be written now: how many were left out since the last one.
    pub(crate) fn admit(&mut self, now: Micros) -> Option<LeftOut> {
        if !self.has_room(now) {
            self.left_out += 1;
            return None;
        }
        self.settled_at = self.settled_at.max(now).plus(REMINDER_INTERVAL_US);
        Some(LeftOut(std::mem::take(&mut self.left_out)))
    }

    /// The same for a line that was left out when it was new. Without room, it is not counted again.
    pub(crate) fn admit_late(&mut self, now: Micros) -> Option<LeftOut> {
        if !self.has_room(now) {
            return None;
        }
        self.left_out = self.left_out.saturating_sub(1);
        self.admit(now)
    }

    fn has_room(&self, now: Micros) -> bool {
        self.settled_at.since(now) <= self.ahead_us_max
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" (1 line like this one was left out)"),
            n => write!(f, " ({n} lines like this one were left out)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Micros = Micros(1_000_000_000);

    #[test]
    fn lines_beyond_the_limit_are_counted_and_confessed_with_the_next() {
        let mut limit = LogLimit::default();
        for _ in 0..LOG_LINES_AT_ONCE_MAX {
            assert_eq!(limit.admit(START), Some(LeftOut(0)));
        }
        assert_eq!(limit.admit(START), None);
        let next = START.plus(REMINDER_INTERVAL_US);
        assert_eq!(limit.admit(Micros(next.0 - 1)), None);
        assert_eq!(limit.admit(next), Some(LeftOut(2)));
        assert_eq!(limit.admit(next), None);
        assert_eq!(LeftOut(0).to_string(), "");
        assert_eq!(LeftOut(1).to_string(), " (1 line like this one was left out)");
        assert_eq!(LeftOut(2).to_string(), " (2 lines like this one were left out)");
    }

    #[test]
    fn what_goes_on_for_hours_takes_a_line_now_and_then() {
        const HOURS_US: u64 = 10 * 3_600_000_000;
        let mut limit = LogLimit::of(3);
        let times = (0..HOURS_US / 100_000).map(|tenth| START.plus(tenth * 100_000));
        let lines = times.filter(|now| limit.admit(*now).is_some()).count() as u64;
        assert_eq!(lines, 2 + HOURS_US / REMINDER_INTERVAL_US);
    }

    #[test]
    fn after_a_while_as_many_are_let_through_at_once_as_before() {
        let mut limit = LogLimit::of(3);
        for now in [START, START.plus(3 * REMINDER_INTERVAL_US), START.plus(60 * REMINDER_INTERVAL_US)] {
            assert_eq!((0..9).filter(|_| limit.admit(now).is_some()).count(), 3);
        }
    }

    #[test]
    fn a_line_that_comes_late_is_not_counted_among_those_left_out() {
        let mut limit = LogLimit::of(1);
        assert_eq!(limit.admit(START), Some(LeftOut(0)));
        assert_eq!(limit.admit(START), None);
        assert_eq!(limit.admit(START), None);
        assert_eq!(limit.admit_late(START), None);
        assert_eq!(limit.admit_late(START.plus(REMINDER_INTERVAL_US)), Some(LeftOut(1)));
    }
}
