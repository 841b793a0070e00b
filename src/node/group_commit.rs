//! When the next reservation begins, if each batch of requests is committed before it is answered.
//!
//! Clients that were just answered often ask again at once. If the next reservation began without them, the
//! clients would fall into two groups, each of which waits for the commit of the other and then for its own.
//! So a reservation may wait for them: a group commit timer (Helland, Sammer, Lyon, Carr, Garrett and Reuter,
//! *Group Commit Timers and High Volume Transaction Systems*, 1987). It is worth it only as long as it takes
//! less time than another reservation would. Clients that ask at times of their own would only be kept
//! waiting, so a reservation stops waiting once requests do not follow quickly upon each other, and the next
//! ones then hardly ever wait at all.

use raft_core::Micros;

/// A reservation begins once this fraction of the requests that waited during the last one wait again: a few
/// clients may have stopped asking.
const ENOUGH: (u64, u64) = (7, 8);

/// This many requests are always enough: beyond, the commit is a small part of the cost of each.
const ENOUGH_MAX: u64 = 128;

/// The next request must follow within this fraction of the time that the last reservation took.
const PAUSES_PER_RESERVATION: u64 = 4;

/// For how long a reservation waits at most, in microseconds: one that takes longer may have met a stall,
/// which is no measure of what is worth waiting for.
const PATIENCE_US_MAX: u64 = 10_000;

/// How many reservations begin at once, at most, before one waits again.
const SKIPS_MAX: u32 = 64;

/// Whether the next reservation waits for more requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupCommit {
    state: State,
    /// How many reservations are to begin at once before one waits again.
    skips: u32,
    /// How many there were after the last one that waited in vain.
    backoff: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Idle,
    /// A reservation is under way since this moment, and this many requests wait, some of them for it.
    UnderWay { since: Micros, waiting: u64 },
    /// None is under way, and the next one waits.
    Gathering(Gathering),
}

#[derive(Clone, Copy, Debug)]
struct Gathering {
    /// How many requests are enough.
    enough: u64,
    /// For how long to wait at most, in microseconds.
    patience_us: u64,
    /// How many turns have passed; the first is the one in which the last requests are answered.
    turns: u32,
    /// When the second turn began, as it takes a while to answer many requests.
    since: Micros,
    /// How many requests wait.
    waiting: u64,
    /// When the latest of them came, or `since`.
    latest_at: Micros,
}

/// How a reservation has waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Enough requests wait.
    Complete,
    /// They keep coming, but waiting for all of them would take longer than another reservation.
    LongEnough,
    /// They do not follow quickly upon each other.
    InVain,
}

impl GroupCommit {
    /// In this turn, a reservation is under way that began at `since`, and this many requests wait.
    pub(crate) fn on_under_way(&mut self, since: Micros, waiting: u64) {
        // One client alone has nobody to wait for.
        self.state = if waiting > 1 { State::UnderWay { since, waiting } } else { State::Idle };
    }

    /// In this turn, no reservation is under way, and this many requests wait. The next one may wait for
    /// more, for as long as the last one took.
    pub(crate) fn on_none_under_way(&mut self, now: Micros, waiting: u64) {
        if let State::UnderWay { since, waiting: waited } = self.state {
            let patience_us = now.since(since).min(PATIENCE_US_MAX);
            self.state = State::Idle;
            if self.skips == 0 {
                self.state = State::Gathering(Gathering::new(now, waited, patience_us));
            }
            self.skips = self.skips.saturating_sub(1);
        }
        if let State::Gathering(gathering) = &mut self.state
            && let Some(end) = gathering.on_turn(now, waiting)
        {
            self.state = State::Idle;
            self.on_end(end);
        }
    }

    /// Nothing can be reserved at present, so nobody is waited for.
    pub(crate) fn stop_gathering(&mut self) {
        if self.is_gathering() {
            self.state = State::Idle;
        }
    }

    fn on_end(&mut self, end: End) {
        match end {
            End::Complete => self.backoff /= 2,
            End::LongEnough => {}
            End::InVain => {
                self.backoff = (self.backoff * 2).clamp(1, SKIPS_MAX);
                self.skips = self.backoff;
            }
        }
    }

    /// Whether the next reservation waits.
    pub(crate) fn is_gathering(&self) -> bool {
        matches!(self.state, State::Gathering(_))
    }

    /// When the next turn should begin at the latest, if the next reservation waits for it.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        let State::Gathering(gathering) = &self.state else { return None };
        gathering.deadline()
    }
}

impl Gathering {
    /// This many requests waited during the last reservation.
    fn new(now: Micros, waited: u64, patience_us: u64) -> Gathering {
        let enough = waited.saturating_mul(ENOUGH.0).div_ceil(ENOUGH.1).min(ENOUGH_MAX);
        Gathering { enough, patience_us, turns: 0, since: now, waiting: 0, latest_at: now }
    }

    /// A turn finds this many requests waiting. Returns how the wait has ended, if it has.
    fn on_turn(&mut self, now: Micros, waiting: u64) -> Option<End> {
        self.turns = self.turns.saturating_add(1);
        if self.turns <= 2 {
            (self.since, self.latest_at) = (now, now);
        }
        let is_late = now > self.next_by();
        if waiting > self.waiting {
            self.latest_at = now;
        }
        self.waiting = waiting;
        if is_late {
            Some(End::InVain)
        } else if waiting >= self.enough {
            Some(End::Complete)
        } else {
            (now.since(self.since) > self.patience_us).then_some(End::LongEnough)
        }
    }

    /// When the next request must come.
    fn next_by(&self) -> Micros {
        self.latest_at.plus(self.patience_us / PAUSES_PER_RESERVATION)
    }

    fn deadline(&self) -> Option<Micros> {
        (self.waiting > 0).then(|| self.next_by().min(self.since.plus(self.patience_us)).plus(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTED_US: u64 = 400;
    const PAUSE_US: u64 = LASTED_US / PAUSES_PER_RESERVATION;

    /// Whether the next reservation waits after a turn that finds this many requests.
    fn gathers_in_turn(group_commit: &mut GroupCommit, at: u64, waiting: u64) -> bool {
        group_commit.on_none_under_way(Micros(at), waiting);
        group_commit.is_gathering()
    }

    /// A reservation for which this many waited ended at moment 1,000. The next turn began at 2,000.
    fn answered(group_commit: &mut GroupCommit, waited: u64) {
        group_commit.on_under_way(Micros(1_000 - LASTED_US), waited);
        assert!(gathers_in_turn(group_commit, 1_000, 0));
        assert!(gathers_in_turn(group_commit, 2_000, 0));
        assert_eq!(group_commit.deadline(), None, "nobody waits");
    }

    /// Whether the next reservation waits in turns that find this many requests at this many microseconds
    /// after it began to wait.
    fn gathers<const N: usize>(group_commit: &mut GroupCommit, turns: [(u64, u64); N]) -> [bool; N] {
        turns.map(|(us, waiting)| gathers_in_turn(group_commit, 2_000 + us, waiting))
    }

    #[test]
    fn a_reservation_waits_for_the_clients_that_were_answered_but_for_a_few() {
        for (waited, enough) in [(2, 2), (7, 7), (8, 7), (64, 56), (144, 126), (1_000, ENOUGH_MAX)] {
            let mut group_commit = GroupCommit::default();
            answered(&mut group_commit, waited);
            let turns = [(10, 1), (20, enough - 1), (30, enough)];
            assert_eq!(gathers(&mut group_commit, turns), [true, true, false], "{waited}");
            assert!(!group_commit.is_gathering());
        }
    }

    #[test]
    fn one_client_alone_waits_for_nobody_and_neither_do_those_who_suffice() {
        let mut group_commit = GroupCommit::default();
        group_commit.on_under_way(Micros(0), 1);
        assert!(!gathers_in_turn(&mut group_commit, 400, 0));
        assert_eq!(group_commit.deadline(), None);
        group_commit.on_under_way(Micros(0), 8);
        assert!(!gathers_in_turn(&mut group_commit, 400, 7));
        assert_eq!((group_commit.skips, group_commit.is_gathering()), (0, false));
    }

    #[test]
    fn each_request_must_follow_quickly_upon_the_one_before() {
        let mut group_commit = GroupCommit::default();
        answered(&mut group_commit, 8);
        assert_eq!(gathers(&mut group_commit, [(PAUSE_US, 1), (2 * PAUSE_US, 2)]), [true; 2]);
        assert_eq!(group_commit.deadline(), Some(Micros(2_000 + 3 * PAUSE_US + 1)));
        assert_eq!(gathers(&mut group_commit, [(3 * PAUSE_US, 2), (3 * PAUSE_US + 1, 3)]), [true, false]);
        assert_eq!(group_commit.skips, 1, "that was in vain");
    }

    /// The first comes so late that the reservation begins at once.
    #[test]
    fn whoever_comes_after_a_pause_is_not_kept_waiting() {
        let mut group_commit = GroupCommit::default();
        answered(&mut group_commit, 2);
        assert_eq!(gathers(&mut group_commit, [(PAUSE_US + 1, 1)]), [false]);
    }

    #[test]
    fn a_reservation_waits_no_longer_than_another_would_take_nor_than_is_reasonable() {
        for (lasted_us, patience_us) in [(LASTED_US, LASTED_US), (2 * PATIENCE_US_MAX, PATIENCE_US_MAX)] {
            let mut group_commit = GroupCommit::default();
            group_commit.on_under_way(Micros(0), 64);
            let mut gathers = |us, waiting| gathers_in_turn(&mut group_commit, lasted_us + us, waiting);
            assert!(gathers(0, 0) && gathers(1, 0));
            let quickly = (1..=20).map(|nth| (1 + nth * patience_us / 20, nth));
            assert!(quickly.into_iter().all(|(us, nth)| gathers(us, nth)), "they keep coming");
            assert!(!gathers(2 + patience_us, 21));
            assert_eq!((group_commit.skips, group_commit.backoff), (0, 0), "it was not in vain");
        }
    }

    /// As with clients that ask at times of their own.
    #[test]
    fn the_more_often_it_was_in_vain_the_fewer_reservations_wait_until_it_is_not() {
        let mut group_commit = GroupCommit::default();
        for skips in [1, 2, 4, 8, 16, 32, SKIPS_MAX, SKIPS_MAX] {
            answered(&mut group_commit, 8);
            assert_eq!(gathers(&mut group_commit, [(PAUSE_US + 1, 1)]), [false]);
            for _ in 0..skips {
                group_commit.on_under_way(Micros(600), 8);
                assert!(!gathers_in_turn(&mut group_commit, 1_000, 0));
            }
        }
        for backoff in [32, 16, 8, 4, 2, 1, 0, 0] {
            answered(&mut group_commit, 8);
            assert_eq!(gathers(&mut group_commit, [(1, 8)]), [false]);
            assert_eq!((group_commit.skips, group_commit.backoff), (0, backoff));
        }
    }
}
