//! A bound on log lines that say how something is now, such as the role of this node. Pure.

use raft_core::Micros;

use super::log_limit::LogLimit;
use super::seconds;

/// As [`LogLimit`], but the last of the lines that were left out is logged as soon as there is room for it,
/// with its age: otherwise the log would end with what has long ceased to be so.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateLog {
    limit: LogLimit,
    /// What was left out last, unless another line was logged since.
    untold: Option<Untold>,
}

/// A line that was left out.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Untold {
    line: String,
    /// When it was new.
    at: Micros,
}

impl StateLog {
    /// With this limit.
    pub(crate) fn limited_by(limit: LogLimit) -> StateLog {
        StateLog { limit, untold: None }
    }

    /// Something has changed, as this line says. Returns what to log.
    pub(crate) fn note(&mut self, now: Micros, line: String) -> Option<String> {
        match self.limit.admit(now) {
            Some(left_out) => {
                self.untold = None;
                Some(format!("{line}{left_out}"))
            }
            None => {
                self.untold = Some(Untold { line, at: now });
                None
            }
        }
    }

    /// Returns what to log of what was left out, if there is room for it by now.
    pub(crate) fn catch_up(&mut self, now: Micros) -> Option<String> {
        let Untold { line, at } = self.untold.as_ref()?;
        let left_out = self.limit.admit_late(now)?;
        let line = format!("{line}, {} ago{left_out}", seconds(now.since(*at)));
        self.untold = None;
        Some(line)
    }

    /// What was left out is no longer so.
    pub(crate) fn forget_untold(&mut self) {
        self.untold = None;
    }

    /// What has been left out and is still to be logged.
    #[cfg(test)]
    pub(crate) fn untold(&self) -> Option<&str> {
        self.untold.as_ref().map(|untold| untold.line.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::limits::REMINDER_INTERVAL_US;

    const START: Micros = Micros(1_000_000_000);

    #[test]
    fn the_last_line_that_was_left_out_follows_once_there_is_room() {
        let mut log = StateLog::limited_by(LogLimit::of(1));
        assert_eq!(log.note(START, "a".to_owned()), Some("a".to_owned()));
        for line in ["b", "c", "d"] {
            assert_eq!(log.note(START, line.to_owned()), None);
        }
        let next = START.plus(REMINDER_INTERVAL_US);
        assert_eq!(log.catch_up(Micros(next.0 - 1)), None);
        assert_eq!(
            log.catch_up(next),
            Some("d, 30.0 s ago (2 lines like this one were left out)".to_owned())
        );
        assert_eq!(log.catch_up(next.plus(REMINDER_INTERVAL_US)), None);
    }

    #[test]
    fn what_was_left_out_does_not_follow_on_what_came_later() {
        let mut log = StateLog::limited_by(LogLimit::of(1));
        log.note(START, "a".to_owned());
        assert_eq!(log.note(START, "b".to_owned()), None);
        let next = START.plus(REMINDER_INTERVAL_US);
        assert_eq!(log.note(next, "c".to_owned()), Some("c (1 line like this one was left out)".to_owned()));
        assert_eq!(log.catch_up(next.plus(REMINDER_INTERVAL_US)), None);
    }
}
