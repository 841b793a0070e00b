//! One node and its disk: a value, shared by all states that contain it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use raft_core::{Config, Incarnation, Input, Micros, NodeId, Output, Peer, Raft, Recovered, Role};

use crate::disk::Disk;
use crate::violation::Violation;

/// In microseconds. The value does not matter, except that it must be so large that the random part of a
/// deadline is never 0: then a follower can hear nothing for a whole election timeout before its deadline.
pub(crate) const ELECTION_TIMEOUT_US: u64 = 1 << 32;
/// Half of the election timeout, so that a leader that hears nothing for two intervals steps down.
const HEARTBEAT_INTERVAL_US: u64 = 1 << 31;

/// A node by its number, in its only life.
pub(crate) fn peer(number: u64) -> Peer {
    Peer { id: NodeId::new(number).expect("nodes are counted from 1"), incarnation: Incarnation(1) }
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) raft: Raft,
    pub(crate) disk: Disk,
    /// The current time on this node's own clock.
    pub(crate) now: Micros,
}

impl Node {
    /// A node that starts or restarts with this on its disk.
    pub(crate) fn new(me: Peer, durable: Recovered) -> Node {
        let now = Micros(0);
        let config = Config {
            me,
            election_timeout_us: ELECTION_TIMEOUT_US,
            heartbeat_interval_us: HEARTBEAT_INTERVAL_US,
            lease: None,
            seed: me.id.get(),
        };
        Node { raft: Raft::new(config, now, durable.clone()), disk: Disk::new(durable), now }
    }

    /// The time when its deadline is reached. A candidate has two: after the first it asks those again who
    /// have not answered. It sleeps through that here, until the second, after which it does the same, or
    /// gives the term up if somebody has refused.
    pub(crate) fn at_deadline(&self) -> Micros {
        let deadline = self.raft.deadline().unwrap_or_default();
        let slept_through_us = if self.raft.role() == Role::Candidate { 2 * ELECTION_TIMEOUT_US } else { 0 };
        self.now.max(deadline.plus(slept_through_us))
    }

    /// Steps the node, and returns its outputs. A panic of the core is a violation: it is its own first
    /// invariant.
    pub(crate) fn step(&mut self, input: Input) -> Result<Vec<Output>, Violation> {
        let raft = &mut self.raft;
        let now = self.now;
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            raft.step(now, input);
            let mut outputs = Vec::new();
            while let Some(output) = raft.poll_output() {
                outputs.push(output);
            }
            outputs
        }));
        stepped.map_err(|payload| {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let me = self.raft.me();
            Violation(format!("node {me} panics: {}", text.unwrap_or_default()))
        })
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.raft.fingerprint(&mut hasher);
        self.disk.durable().hash(&mut hasher);
        for write in self.disk.pending() {
            write.hash(&mut hasher);
        }
        hasher.finish()
    }
}
