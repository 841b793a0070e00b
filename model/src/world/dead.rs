//! Checks that the messages that are removed from the network as dead are dead.

use raft_core::Input;

use super::World;
use crate::interned::EnvelopeNo;
use crate::step::{self, Cause};

impl World {
    /// Delivers every message to every node for which it is dead, and returns the number of these deliveries.
    /// None may change the node or make it send anything, and no step of the node may bring the message back
    /// to life: then a state with the message on its way behaves like the same state without it.
    ///
    /// Panics if that does not hold.
    pub(crate) fn check_dead(&self) -> usize {
        let mut deliveries = 0;
        for info in self.envelopes.values() {
            let of_receiver = |peer| info.to.is_some_and(|at| self.peers[at] == peer);
            for known in self.nodes.values().filter(|known| of_receiver(known.node.raft.me())) {
                if !known.is_past(info.dead) {
                    continue;
                }
                let input =
                    Input::Message { from: info.envelope.from, message: info.envelope.message.clone() };
                let taken =
                    step::take(&known.node, Cause::Message(EnvelopeNo::default()), Some(input), self.disk)
                        .unwrap_or_else(|violation| panic!("{:?}: {violation}", info.envelope));
                let has_effect =
                    taken.after.fingerprint() != known.node.fingerprint() || !taken.sent.is_empty();
                assert!(!has_effect, "{:?} is taken for dead at {:?}", info.envelope, known.node.raft);
                deliveries += 1;
            }
            for ((before, _), taken) in self.steps.iter() {
                let [before, after] = [*before, taken.after].map(|node| &self.nodes[node]);
                let stays = !before.is_past(info.dead) || after.is_past(info.dead);
                assert!(
                    stays || !of_receiver(taken.me),
                    "{:?} is dead no more after {:?}",
                    info.envelope,
                    taken.cause
                );
            }
        }
        deliveries
    }
}
