//! Shrinks a failing run: fewer nodes, fewer faults and fewer kinds of faults, as long as it still fails.

use crate::faults::FAULTS;
use crate::plan::{Limits, Plan};
use crate::{Narration, run};

/// The most runs that shrinking may take.
const RUNS_MAX: u32 = 400;

/// Leaves out of a failing run everything that it can fail without. Any failure counts: a smaller run often
/// fails for the same reason in another place.
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
    /// Adopts these limits if the run still fails within them.
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

    /// Cuts the faults at the end, by halving.
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
