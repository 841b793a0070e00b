//! Two indistinguishable nodes: a state, and the state in which they have changed places, are explored as
//! one.
//!
//! The core's nodes are opaque here, so the image of a node is not computed but found: when a node takes a
//! step, its image takes the image of that step, and the results of both are each other's images. That this
//! is consistent, and that the messages sent by both are, is checked at every step: so the core may not treat
//! the two differently in any state that is explored.

use std::fmt::Debug;

use raft_core::Peer;

use crate::interned::{EnvelopeNo, HistoryNo, NodeNo, Number};
use crate::network::{Envelope, Network};
use crate::state::State;

/// The images of what has been met.
pub(crate) struct Symmetry {
    /// The two nodes, with their positions.
    twins: [(usize, Peer); 2],
    nodes: Images<NodeNo>,
    envelopes: Images<EnvelopeNo>,
    histories: Images<HistoryNo>,
}

/// The pairs of images of one kind.
#[derive(Default)]
struct Images<N>(Vec<Option<N>>);

impl<N: Number + Eq + Debug> Images<N> {
    fn pair(&mut self, one: N, other: N) {
        for (from, to) in [(one, other), (other, one)] {
            let at = from.position();
            if at >= self.0.len() {
                self.0.resize(at + 1, None);
            }
            let image = *self.0[at].get_or_insert(to);
            assert_eq!(image, to, "nodes that are explored as one are treated unlike each other");
        }
    }

    fn of(&self, number: N) -> Option<N> {
        self.0.get(number.position()).copied().flatten()
    }
}

impl Symmetry {
    /// The nodes at these positions of `state` are each other's images, and every other node is its own.
    pub(crate) fn new(state: &State, nodes: usize, twins: [(usize, Peer); 2]) -> Symmetry {
        let mut symmetry = Symmetry {
            twins,
            nodes: Images::default(),
            envelopes: Images::default(),
            histories: Images::default(),
        };
        for at in 0..nodes {
            symmetry.nodes.pair(state.nodes[at], state.nodes[symmetry.place(at)]);
        }
        symmetry
    }

    pub(crate) fn pair_nodes(&mut self, one: NodeNo, other: NodeNo) {
        self.nodes.pair(one, other);
    }

    pub(crate) fn pair_envelopes(&mut self, one: EnvelopeNo, other: EnvelopeNo) {
        self.envelopes.pair(one, other);
    }

    pub(crate) fn pair_histories(&mut self, one: HistoryNo, other: HistoryNo) {
        self.histories.pair(one, other);
    }

    pub(crate) fn node(&self, node: NodeNo) -> NodeNo {
        self.nodes.of(node).expect("a node comes of a step, and was paired then")
    }

    pub(crate) fn envelope_no(&self, envelope_no: EnvelopeNo) -> EnvelopeNo {
        self.envelopes.of(envelope_no).expect("a message comes of a step, and was paired then")
    }

    pub(crate) fn peer(&self, peer: Peer) -> Peer {
        let [(_, one), (_, other)] = self.twins;
        if peer == one {
            other
        } else if peer == other {
            one
        } else {
            peer
        }
    }

    /// The content of a message names no nodes except members, which are the same on both sides.
    pub(crate) fn envelope(&self, envelope: &Envelope) -> Envelope {
        let Envelope { from, to, message } = envelope;
        Envelope { from: self.peer(*from), to: self.peer(*to), message: message.clone() }
    }

    /// The state in which the twins have changed places.
    pub(crate) fn state(&self, state: &State, nodes: usize) -> State {
        let history =
            self.histories.of(state.history).expect("a history comes of a step, and was paired then");
        let mut image = State { history, network: Network::default(), ..*state };
        for at in 0..nodes {
            image.nodes[self.place(at)] = self.node(state.nodes[at]);
        }
        for envelope_no in state.network.as_slice() {
            image.network.send(self.envelope_no(*envelope_no));
        }
        image
    }

    fn place(&self, at: usize) -> usize {
        let [(one, _), (other, _)] = self.twins;
        if at == one {
            other
        } else if at == other {
            one
        } else {
            at
        }
    }
}
