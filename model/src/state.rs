//! The state of a whole cluster. The nodes, messages and histories are numbers here: each is stored once in
//! the tables of [`World`](crate::world::World), however many states it is part of.

use std::hash::{DefaultHasher, Hasher};

use crate::bounds::Spent;
use crate::interned::{HistoryNo, NodeNo};
use crate::network::{IN_FLIGHT_MAX, Network};

/// The most nodes of a cluster: the size of [`State`].
pub(crate) const NODES_MAX: usize = 4;

/// A cluster at one moment: some 50 bytes, because millions of them wait at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct State {
    /// 0 beyond the last node.
    pub(crate) nodes: [NodeNo; NODES_MAX],
    pub(crate) history: HistoryNo,
    pub(crate) network: Network,
    pub(crate) spent: Spent,
}

impl State {
    /// The same cluster, with nothing counted as having happened.
    pub(crate) fn fresh(self) -> State {
        State { spent: Spent::default(), ..self }
    }

    /// The same cluster without messages on their way.
    pub(crate) fn silent(self) -> State {
        State { network: Network::default(), ..self }
    }

    /// Whether nothing has happened yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.spent == Spent::default() && self.in_flight() == 0
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.network.as_slice().len()
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let mut bytes = [0; 2 * (NODES_MAX + 1 + IN_FLIGHT_MAX) + Spent::BYTES];
        let (numbers, spent) = bytes.split_at_mut(2 * (NODES_MAX + 1 + IN_FLIGHT_MAX));
        let envelopes = self.network.as_slice().iter().map(|envelope_no| envelope_no.0 + 1);
        let all = self.nodes.map(|node| node.0).into_iter().chain([self.history.0]).chain(envelopes);
        for (place, number) in numbers.chunks_exact_mut(2).zip(all) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        spent.copy_from_slice(&self.spent.bytes());
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        hasher.finish()
    }
}
