//! What a node has done since it was made, in numbers that only grow.

use crate::histogram::{Sizes, Times};

/// Counts since the node was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeCounts {
    /// How long clients' requests waited for their answers, whatever the answer; without those that were
    /// refused or sent elsewhere at once.
    pub waits: Times,
    /// For how many requests one round of heartbeats confirmed the leadership.
    pub rounds: Sizes,
    /// How often a leader became known of another term than the one before, be it the same node or not.
    pub leader_changes: u64,
    /// Windows that were asked for.
    pub reservations: u64,
    /// Messages that asked a leader on behalf of this node's clients.
    pub forwards_sent: u64,
    /// Messages of other nodes that asked this one, while it led, on behalf of their clients.
    pub forwards_taken: u64,
}

impl Default for NodeCounts {
    fn default() -> NodeCounts {
        NodeCounts {
            waits: Times::of_times(),
            rounds: Sizes::of_sizes(),
            leader_changes: 0,
            reservations: 0,
            forwards_sent: 0,
            forwards_taken: 0,
        }
    }
}
