//! How many IDs a leader should have reserved: enough for about a second of what its clients take.
//!
//! It must never know which IDs those are.

use std::num::NonZeroU64;

use raft_core::Micros;

/// The smallest window that a leader reserves, unless its maximum is lower: small enough that the gap it may
/// leave does not matter, large enough that an idle service always has IDs at hand.
pub(crate) const WINDOW_MIN: u64 = 1_000;

/// How often the size of the window is adjusted to demand: a window should last for about this long.
const DEMAND_PERIOD_US: u64 = 1_000_000;

/// How large the window should be.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// The maximum set by the operator; with 0, nothing is reserved ahead.
    window_max: u64,
    target: u64,
    taken: u64,
    period_began: Micros,
}

impl Demand {
    pub(crate) fn new(window_max: u64, now: Micros) -> Demand {
        Demand { window_max, target: window_within(window_max, 0), taken: 0, period_began: now }
    }

    /// How many IDs should be at hand beyond what waiting requests want.
    pub(crate) fn target(&self) -> u64 {
        self.target
    }

    pub(crate) fn on_taken(&mut self, count: NonZeroU64) {
        self.taken = self.taken.saturating_add(count.get());
    }

    /// Whether IDs are reserved beyond what waiting requests want.
    pub(crate) fn reserves_ahead(&self) -> bool {
        self.window_max > 0
    }

    /// If a period is over, adjusts the target to what was taken in it: at once if demand grew, halfway if it
    /// shrank.
    pub(crate) fn end_period_if_over(&mut self, now: Micros) {
        if now.since(self.period_began) < DEMAND_PERIOD_US {
            return;
        }
        let halfway = self.target.midpoint(self.taken);
        self.target = window_within(self.window_max, halfway.max(self.taken));
        self.taken = 0;
        self.period_began = now;
    }

    /// Doubles the target: requests have to wait for a reservation.
    pub(crate) fn on_shortage(&mut self) {
        self.target = window_within(self.window_max, self.target.saturating_mul(2));
    }
}

/// The window that comes nearest to this one, if none may be larger than the maximum.
fn window_within(window_max: u64, window: u64) -> u64 {
    window.max(WINDOW_MIN).min(window_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_MAX: u64 = 1_000_000;

    #[test]
    fn the_target_grows_with_demand_at_once_and_shrinks_by_halves_once_a_period() {
        let mut demand = Demand::new(WINDOW_MAX, Micros(0));
        demand.on_taken(NonZeroU64::new(9_000).unwrap());
        demand.on_taken(NonZeroU64::MIN);
        demand.end_period_if_over(Micros(DEMAND_PERIOD_US - 1));
        assert_eq!((demand.target, demand.taken), (WINDOW_MIN, 9_001), "the period is not over");
        for (period, taken, target) in
            [(1, 9_001, 9_001), (2, 3_000, 6_000), (3, 0, 3_000), (4, 0, 1_500), (5, 0, WINDOW_MIN)]
        {
            demand.taken = taken;
            demand.end_period_if_over(Micros(period * DEMAND_PERIOD_US));
            assert_eq!((demand.target, demand.taken), (target, 0), "period {period}");
        }
        demand.taken = 2 * WINDOW_MAX;
        demand.end_period_if_over(Micros(6 * DEMAND_PERIOD_US));
        assert_eq!(demand.target, WINDOW_MAX);
    }

    #[test]
    fn no_target_exceeds_what_the_operator_allows() {
        for window_max in [0, 1, WINDOW_MIN - 1] {
            let mut demand = Demand::new(window_max, Micros(0));
            assert_eq!(demand.target, window_max);
            demand.on_shortage();
            assert_eq!(demand.target, window_max);
        }
    }
}
