//! A bound on log lines of one kind, so that what causes one again and again does not fill a disk. Pure.

use std::fmt;

use raft_core::Micros;

use crate::server::limits::{LOG_LINES_PER_WINDOW_MAX, LOG_WINDOW_US};

/// Lets a few lines of one kind through per window of time and counts the others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogLimit {
    window_start: Micros,
    lines: u32,
    left_out: u64,
}

/// How many lines were left out before the one being written. Displays as nothing if none were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LeftOut(u64);

impl LogLimit {
    /// If a line may be written now: how many were left out since the last one.
    pub(crate) fn admit(&mut self, now: Micros) -> Option<LeftOut> {
        if now.since(self.window_start) >= LOG_WINDOW_US {
            self.window_start = now;
            self.lines = 0;
        }
        if self.lines >= LOG_LINES_PER_WINDOW_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(LeftOut(std::mem::take(&mut self.left_out)))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " ({n} lines like this one were left out)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_and_confessed_with_the_next() {
        let mut limit = LogLimit::default();
        let start = Micros(LOG_WINDOW_US);
        for _ in 0..LOG_LINES_PER_WINDOW_MAX {
            assert_eq!(limit.admit(start), Some(LeftOut(0)));
        }
        assert_eq!(limit.admit(start), None);
        assert_eq!(limit.admit(start), None);
        let next = start.plus(LOG_WINDOW_US);
        assert_eq!(limit.admit(next), Some(LeftOut(2)));
        assert_eq!(limit.admit(next), Some(LeftOut(0)));
        assert_eq!(LeftOut(0).to_string(), "");
        assert_eq!(LeftOut(2).to_string(), " (2 lines like this one were left out)");
    }
}
