//! What a node has as long as it leads, in one term: the window that it reserved, and what confirms that it
//! still leads. All of it is thrown away with the leadership.
//!
//! An ID may be handed out when two things hold. It is in the window, so no other leader will ever hand it out.
//! And leadership was confirmed after the request arrived, so no newer leader had handed out a larger one before.
//! Either of two things confirms it: a read barrier begun after the request arrived, or the commit of an entry
//! proposed after it arrived.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use raft_core::{BarrierId, Micros, Term};

use super::counter::{Counter, Range, Reserve};
use super::io::WindowStatus;
use super::requests::{Arrival, Requests};

/// The smallest window that a leader reserves, where it may: small enough that the gap which it leaves does not
/// matter, large enough that an idle service has it at hand.
const WINDOW_MIN: u64 = 1_000;

/// How often the size of the window is fitted to demand: it is to last for about that long.
const DEMAND_PERIOD_US: u64 = 1_000_000;

/// How many rounds of barriers may be under way at once. Two let a request that has just missed a round begin
/// the next one at once; more would serve fewer requests each.
const ROUNDS_IN_FLIGHT_MAX: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Leadership {
    term: Term,
    /// The IDs that this leader may hand out.
    window: Range,
    /// Proposed and not yet applied, oldest first.
    reserving: VecDeque<Reserving>,
    /// Begun and not yet passed, oldest first: each confirms the arrivals up to the one it names.
    rounds: VecDeque<(BarrierId, Arrival)>,
    /// Leadership is confirmed for every request up to this one.
    confirmed: Arrival,
    demand: Demand,
}

#[derive(Clone, Copy, Debug)]
struct Reserving {
    count: u64,
    /// The latest request when it was proposed.
    latest: Arrival,
}

/// How large the window should be.
#[derive(Clone, Copy, Debug)]
struct Demand {
    /// The bound that the operator has set; 0 turns reservation ahead off.
    window_max: u64,
    target: u64,
    taken: u64,
    period_began: Micros,
}

impl Leadership {
    pub(crate) fn new(term: Term, window_max: u64, now: Micros) -> Leadership {
        Leadership {
            term,
            window: Range { first: 0, end: 0 },
            reserving: VecDeque::new(),
            rounds: VecDeque::new(),
            confirmed: Arrival::default(),
            demand: Demand { window_max, target: WINDOW_MIN.min(window_max), taken: 0, period_began: now },
        }
    }

    pub(crate) fn term(&self) -> Term {
        self.term
    }

    pub(crate) fn status(&self) -> WindowStatus {
        WindowStatus { next_id: self.window.first, left: self.window.len() }
    }

    /// Whether a request of this place in the order may be answered with IDs, if the window has them.
    pub(crate) fn is_confirmed(&self, arrival: Arrival) -> bool {
        arrival <= self.confirmed
    }

    /// Takes `count` IDs from the window; `None` where it is too short.
    pub(crate) fn take(&mut self, count: NonZeroU64) -> Option<u64> {
        let first = self.window.first;
        if self.window.len() < count.get() {
            return None;
        }
        self.window.first += count.get();
        self.demand.taken = self.demand.taken.saturating_add(count.get());
        Some(first)
    }

    /// What has to be reserved now, for those who wait and for those who will come.
    pub(crate) fn next_reservation(
        &mut self,
        now: Micros,
        requests: &Requests,
        counter: Counter,
    ) -> Option<Reserve> {
        self.demand.follow(now);
        let under_way: u64 = self.reserving.iter().map(|r| r.count).sum();
        let at_hand = self.window.len().saturating_add(under_way);
        let wanted = requests.wanted();
        if wanted > at_hand {
            self.demand.ran_dry();
        }
        let target = self.demand.target;
        // The next window is asked for when half of the last is gone, so that it is there in time.
        if at_hand >= wanted.saturating_add(target.div_ceil(2)) {
            return None;
        }
        let missing = wanted.saturating_add(target) - at_hand;
        let available = counter.left().saturating_sub(under_way);
        NonZeroU64::new(missing.min(available)).map(|count| Reserve { count })
    }

    /// A reservation was proposed.
    pub(crate) fn on_proposed(&mut self, Reserve { count }: Reserve, latest: Arrival) {
        self.reserving.push_back(Reserving { count: count.get(), latest });
    }

    /// The reservation that was proposed last was not appended.
    pub(crate) fn on_refused(&mut self) {
        self.reserving.pop_back();
    }

    /// A reservation of this term was applied: its range belongs to this leader.
    pub(crate) fn on_reserved(&mut self, range: Range) {
        let reserving = self.reserving.pop_front();
        let Reserving { latest, .. } =
            reserving.expect("every reservation in a leader's term is one that it proposed");
        if self.window.len() == 0 {
            self.window = range;
        } else {
            let end = self.window.end;
            assert!(range.first == end, "a window from {} after one that ends at {end}", range.first);
            self.window.end = range.end;
        }
        self.confirmed = self.confirmed.max(latest);
    }

    /// How many requests a round would confirm that begins now; `None` where none should: for every request,
    /// something is under way that will confirm it, or enough is under way.
    pub(crate) fn next_round(&self, requests: &Requests) -> Option<u64> {
        let round = self.rounds.back().map_or(self.confirmed, |(_, latest)| *latest);
        let covered = if self.demand.window_max == 0 {
            // Each batch is committed before it is answered, and the commit confirms it.
            self.reserving.back().map_or(round, |r| r.latest.max(round))
        } else {
            round
        };
        let uncovered = requests.waiting_after(covered);
        (uncovered > 0 && self.rounds.len() < ROUNDS_IN_FLIGHT_MAX).then_some(uncovered)
    }

    pub(crate) fn on_round_begun(&mut self, barrier: BarrierId, latest: Arrival) {
        self.rounds.push_back((barrier, latest));
    }

    /// A barrier has passed, and with it all before it.
    pub(crate) fn on_round_passed(&mut self, barrier: BarrierId) {
        while self.rounds.front().is_some_and(|(begun, _)| *begun <= barrier) {
            if let Some((_, latest)) = self.rounds.pop_front() {
                self.confirmed = self.confirmed.max(latest);
            }
        }
    }
}

impl Demand {
    /// Fits the target to what was taken in the last period: at once where it grew, by halves where it shrank.
    fn follow(&mut self, now: Micros) {
        if now.since(self.period_began) < DEMAND_PERIOD_US {
            return;
        }
        let settled = (self.target / 2).saturating_add(self.taken / 2).max(self.taken);
        self.set_target(settled);
        self.taken = 0;
        self.period_began = now;
    }

    /// Requests wait for a reservation: the window is too small for what comes in the time that one takes.
    fn ran_dry(&mut self) {
        self.set_target(self.target.saturating_mul(2));
    }

    fn set_target(&mut self, target: u64) {
        self.target = target.max(WINDOW_MIN).min(self.window_max);
    }
}
