//! Checks that nodes that are taken for one, because they have the same fingerprint, do the same.

use std::collections::BTreeMap;

use super::World;
use crate::step;

impl World {
    /// Takes every step that was met from every node that was taken for the one that it was met of, and
    /// returns the number of these steps. Each must lead to what is taken for the same node again, and send
    /// the same: then a state with either node has the same successors.
    ///
    /// Panics if that does not hold.
    pub(crate) fn check_doubles(&self) -> usize {
        let mut steps_of = BTreeMap::<_, Vec<_>>::new();
        for ((before, cause), taken) in self.steps.iter() {
            steps_of.entry(*before).or_default().push((*cause, taken));
        }
        let mut steps = 0;
        for (number, double) in &self.doubles {
            let met = &self.nodes[*number].node;
            for (cause, taken) in steps_of.get(number).into_iter().flatten() {
                let step = step::take(double, *cause, self.input(double, *cause), self.disk)
                    .unwrap_or_else(|violation| panic!("{cause:?} of {:?}: {violation}", double.raft));
                let after = &self.nodes[taken.after].node;
                let sent = taken.sent.iter().map(|envelope_no| &self.envelopes[*envelope_no].envelope);
                assert!(
                    step.after.fingerprint() == after.fingerprint() && step.sent.iter().eq(sent),
                    "{cause:?} makes something else of {:?} than of {:?}",
                    double.raft,
                    met.raft
                );
                steps += 1;
            }
        }
        steps
    }
}
