//! When the log is to say that this node knows no leader. Pure.
//!
//! Nothing is said of an ordinary election. What is said is said again until it is over, because whoever is
//! called at night reads the end of the log first.

use raft_core::Micros;

use super::limits::LEADERLESS_INTERVAL_US;

/// Since when this node has known no leader, if it knows none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Leaderless {
    /// It knows one.
    #[default]
    No,
    /// It does not.
    Yes {
        since: Micros,
        /// When that was last said.
        said_at: Option<Micros>,
    },
}

/// What is to be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Notice {
    /// No leader is known for so many microseconds.
    Missing(u64),
    /// One is known again, after so many.
    Over(u64),
}

impl Leaderless {
    /// Whether a leader is known now. That none is, is said when it has lasted for `patience_us`.
    pub(super) fn note(&mut self, now: Micros, knows_leader: bool, patience_us: u64) -> Option<Notice> {
        match self {
            Leaderless::No if knows_leader => None,
            Leaderless::No => {
                *self = Leaderless::Yes { since: now, said_at: None };
                None
            }
            Leaderless::Yes { since, said_at } if knows_leader => {
                let over = said_at.map(|_| Notice::Over(now.since(*since)));
                *self = Leaderless::No;
                over
            }
            Leaderless::Yes { since, said_at } => {
                let due = said_at.map_or(since.plus(patience_us), |at| at.plus(LEADERLESS_INTERVAL_US));
                if now < due {
                    return None;
                }
                *said_at = Some(now);
                Some(Notice::Missing(now.since(*since)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_US: u64 = 1_500_000;

    #[test]
    fn a_missing_leader_is_missed_after_a_while_again_and_again_and_then_no_more() {
        let mut leaderless = Leaderless::default();
        let mut note = |us, knows_leader| leaderless.note(Micros(us), knows_leader, PATIENCE_US);
        assert_eq!(note(5, true), None);
        assert_eq!(note(10, false), None);
        assert_eq!(note(10 + PATIENCE_US - 1, false), None);
        let said_at = 10 + PATIENCE_US;
        assert_eq!(note(said_at, false), Some(Notice::Missing(PATIENCE_US)));
        assert_eq!(note(said_at + LEADERLESS_INTERVAL_US - 1, false), None);
        let again_at = said_at + LEADERLESS_INTERVAL_US;
        assert_eq!(note(again_at, false), Some(Notice::Missing(again_at - 10)));
        assert_eq!(note(again_at + 1, true), Some(Notice::Over(again_at - 9)));
        assert_eq!(note(again_at + 2, true), None);
    }

    #[test]
    fn of_an_ordinary_election_nothing_is_said() {
        let mut leaderless = Leaderless::default();
        assert_eq!(leaderless.note(Micros(0), false, PATIENCE_US), None);
        assert_eq!(leaderless.note(Micros(PATIENCE_US - 1), true, PATIENCE_US), None);
        assert_eq!(leaderless, Leaderless::No);
    }
}
