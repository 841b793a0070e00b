//! Tells two processes that run with copies of one store from one process that has moved. Pure.
//!
//! An established connection does not prove that a process runs at its other end: after a loss of power or of
//! the network it stays established until the kernel gives it up, and the node may be running elsewhere by
//! then. But a node that moved does not return to the address it lost. If two processes run, each connection
//! replaces the other's, and the replaced process dials again: an address that was replaced comes back.

use std::collections::VecDeque;

use raft_core::Micros;

use crate::server::limits::{REPLACED_ADDRESSES_MAX, RIVALRY_US_MAX};
use crate::server::narration::reminder::{Notice, Reminder};

/// The addresses that a member connected from before; each connection was replaced by the next while it was
/// still established.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Replaced(VecDeque<String>);

/// What it shows when a member connects while it is already connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sign {
    /// One process, which has lost its last connection or has moved.
    OfOne,
    /// Two processes: an address that was replaced has come back.
    OfTwo,
}

impl Replaced {
    /// A connection from `former` is replaced by one from `newest`.
    pub(crate) fn replace(&mut self, former: &str, newest: &str) -> Sign {
        if former == newest {
            return Sign::OfOne;
        }
        let returns = self.0.iter().any(|address| address == newest);
        if !self.0.iter().any(|address| address == former) {
            self.0.push_back(former.to_owned());
        }
        if self.0.len() > REPLACED_ADDRESSES_MAX {
            self.0.pop_front();
        }
        if returns { Sign::OfTwo } else { Sign::OfOne }
    }
}

/// Two processes that displace each other, and what has been logged about them. That there are more than two,
/// or pairs of two members, is not told apart: what to do is the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rivals {
    since: Option<Micros>,
    seen_at: Micros,
    /// What the log should say of them.
    line: String,
    told: Reminder,
}

impl Rivals {
    /// One has displaced the other, of which this is to be logged.
    pub(crate) fn see(&mut self, now: Micros, line: String) {
        self.since = self.since.or(Some(now));
        (self.seen_at, self.line) = (now, line);
    }

    /// What to log now.
    pub(crate) fn notice(&mut self, now: Micros) -> Option<Notice> {
        self.since = self.since.filter(|_| now.since(self.seen_at) < RIVALRY_US_MAX);
        self.told.note(now, self.since, 0)
    }

    pub(crate) fn line(&self) -> &str {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::limits::REMINDER_INTERVAL_US;

    /// The signs given by a member that connects from these addresses in turn.
    fn signs(addresses: &[&str]) -> Vec<Sign> {
        let mut replaced = Replaced::default();
        addresses.windows(2).map(|pair| replaced.replace(pair[0], pair[1])).collect()
    }

    #[test]
    fn an_address_that_was_replaced_and_returns_is_the_sign_of_two_processes() {
        let (one, two) = (Sign::OfOne, Sign::OfTwo);
        assert_eq!(signs(&["a", "a", "a"]), [one, one], "it lost its connections");
        assert_eq!(signs(&["a", "b", "c"]), [one, one], "it moved twice");
        assert_eq!(signs(&["a", "b", "a", "b"]), [one, two, two]);
        assert_eq!(signs(&["a", "b", "b", "a"]), [one, one, two]);
        assert_eq!(signs(&["a", "b", "c", "a", "b"]), [one, one, two, two], "three run");
    }

    #[test]
    fn rivals_are_told_of_once_and_again_as_long_as_they_displace_each_other() {
        let mut rivals = Rivals::default();
        let start = Micros(1_000_000_000);
        assert_eq!(rivals.notice(start), None);
        let mut lasts = Vec::new();
        // Twice a second, for a little more than two intervals.
        for half in 0..=4 * REMINDER_INTERVAL_US / 1_000_000 + 1 {
            let now = start.plus(half * 500_000);
            rivals.see(now, "they do".to_owned());
            lasts.extend(rivals.notice(now).map(|notice| matches!(notice, Notice::Lasts(..))));
        }
        assert_eq!(lasts, [true; 3]);
        assert_eq!(rivals.line(), "they do");
        let last = rivals.seen_at;
        assert_eq!(rivals.notice(last.plus(RIVALRY_US_MAX - 1)), None);
        assert!(matches!(rivals.notice(last.plus(RIVALRY_US_MAX)), Some(Notice::Over(_))));
    }

    #[test]
    fn only_so_many_addresses_are_kept_the_latest() {
        let mut replaced = Replaced::default();
        for number in 0..3 * REPLACED_ADDRESSES_MAX {
            let sign = replaced.replace(&number.to_string(), &(number + 1).to_string());
            assert_eq!(sign, Sign::OfOne);
            assert!(replaced.0.len() <= REPLACED_ADDRESSES_MAX);
        }
        let last = 3 * REPLACED_ADDRESSES_MAX;
        assert_eq!(replaced.replace(&last.to_string(), &(last - 1).to_string()), Sign::OfTwo);
    }
}
