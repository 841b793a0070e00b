//! Makes a failure smaller: fewer nodes, fewer faults, fewer kinds of them, as long as it still fails.

use crate::faults::FAULTS;
use crate::plan::{Limits, Plan};
use crate::{Narration, run};

/// How many runs it may take.
const RUNS_MAX: u32 = 400;

/// Leaves out of a failing run what it can do without. Any failure counts: a smaller run often trips over the
/// same stone at another place.
#[must_use]
pub fn shrink(seed: u64, limits: &Limits) -> Limits {
    let mut shrinking = Shrinking { seed, limits: limits.clone(), runs: 0 };
    shrinking.cut_faults();
    shrinking.drop_members();
    shrinking.drop_kinds();
    shrinking.cut_faults();
    shrinking.skip_faults();
    shrinking.limits
}

struct Shrinking {
    seed: u64,
    limits: Limits,
    runs: u32,
}

impl Shrinking {
    /// Takes these limits if the run still fails within them.
    fn try_on(&mut self, limits: Limits) -> bool {
        if self.runs == RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let fails = run(self.seed, &limits, Narration::Silent).is_err();
        if fails {
            self.limits = limits;
        }
        fails
    }

    fn drop_members(&mut self) {
        let members = Plan::new(self.seed, &self.limits).members;
        for fewer in 1..members {
            if self.try_on(Limits { members_max: Some(fewer), ..self.limits.clone() }) {
                return;
            }
        }
    }

    fn drop_kinds(&mut self) {
        for kind in FAULTS {
            let mut without = self.limits.without.clone();
            if Plan::new(self.seed, &self.limits).faults.contains(&kind) {
                without.push(kind);
                self.try_on(Limits { without, ..self.limits.clone() });
            }
        }
    }

    /// Fewer faults from the end on, by halves.
    fn cut_faults(&mut self) {
        let (mut low, mut high) = (0, self.limits.faults_max.unwrap_or(1_024));
        while low < high {
            let middle = low.midpoint(high);
            if self.try_on(Limits { faults_max: Some(middle), ..self.limits.clone() }) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
    }

    fn skip_faults(&mut self) {
        for number in 0..self.limits.faults_max.unwrap_or(0) {
            let mut skip = self.limits.skip.clone();
            skip.push(number);
            self.try_on(Limits { skip, ..self.limits.clone() });
        }
    }
}
