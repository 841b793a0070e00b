//! What a node has done since it was made, in counts that only grow.

use crate::histogram::{Sizes, Times};

/// Counts since the node was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeCounts {
    /// How long clients' requests waited for their answers, whatever the answer. Requests that were refused
    /// or redirected at once are not included.
    pub waits: Times,
    /// How many requests each read barrier was begun for.
    pub barriers: Sizes,
    /// How often a leader of a new term became known, whether the same node or another.
    pub leader_changes: u64,
    /// Reservations that this node proposed.
    pub reservations: u64,
    /// Messages that this node sent to a leader to ask for IDs on behalf of its clients.
    pub forwards_sent: u64,
    /// Messages by which other nodes asked this one, while it led, for IDs on behalf of their clients.
    pub forwards_taken: u64,
}

impl Default for NodeCounts {
    fn default() -> NodeCounts {
        NodeCounts {
            waits: Times::of_times(),
            barriers: Sizes::of_sizes(),
            leader_changes: 0,
            reservations: 0,
            forwards_sent: 0,
            forwards_taken: 0,
        }
    }
}
