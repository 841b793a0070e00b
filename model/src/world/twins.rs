//! Two nodes that are explored as one: how that begins, and how each step is paired with its image.

use super::World;
use crate::interned::{NodeNo, StepNo};
use crate::state::State;
use crate::step::Cause;
use crate::symmetry::Symmetry;
use crate::violation::Violation;

impl World {
    /// From now on, the nodes at these two positions, which are indistinguishable in `state`, are explored as
    /// one.
    pub(crate) fn with_twins(mut self, state: &State, places: [usize; 2]) -> World {
        assert_eq!(state.in_flight(), 0, "what is on its way could tell nodes apart");
        let mut symmetry = Symmetry::new(state, self.peers.len(), places.map(|at| (at, self.peers[at])));
        let image = self.histories[state.history].renamed(|peer| symmetry.peer(peer));
        let image = self.intern_history(image);
        assert_eq!(image, state.history, "what was promised tells the nodes apart");
        symmetry.pair_histories(image, image);
        self.symmetry = Some(symmetry);
        self
    }

    /// Takes the image of a step, and pairs the results of both.
    pub(super) fn pair(
        &mut self,
        symmetry: &mut Symmetry,
        node: NodeNo,
        cause: Cause,
        step: StepNo,
    ) -> Result<(), Violation> {
        let other_cause = match cause {
            Cause::Message(envelope_no) => Cause::Message(symmetry.envelope_no(envelope_no)),
            Cause::Refused(peer) => Cause::Refused(symmetry.peer(peer)),
            Cause::Timeout
            | Cause::Silence
            | Cause::Sync
            | Cause::FailWrite
            | Cause::Crash
            | Cause::Propose(_)
            | Cause::Barrier(..)
            | Cause::Change(..)
            | Cause::Transfer
            // The state that a history gives does not depend on which twin is which.
            | Cause::Compact(_) => cause,
        };
        let other_node = symmetry.node(node);
        let other = match self.steps.find(&(other_node, other_cause)) {
            Some(other) => other,
            None => self.new_step(other_node, other_cause)?,
        };
        symmetry.pair_nodes(self.steps[step].after, self.steps[other].after);
        let mut images = Vec::new();
        for envelope_no in self.steps[step].sent.clone() {
            let image = symmetry.envelope(&self.envelopes[envelope_no].envelope);
            let image = self.intern_envelope(image);
            symmetry.pair_envelopes(envelope_no, image);
            images.push(image);
        }
        images.sort_unstable();
        let mut sent = self.steps[other].sent.clone();
        sent.sort_unstable();
        assert_eq!(images, sent, "nodes that are explored as one send something else");
        Ok(())
    }
}
