//! What the tests of nodes and of their drivers begin with.

use std::num::NonZeroU64;
use std::sync::Arc;

use raft_core::{
    HardState, Incarnation, LogIndex, Member, Membership, NodeId, Peer, Recovered, Snapshot, Suffrage, Term,
};

use super::initial_state;

/// A node's first incarnation.
pub(crate) fn peer(id: u64) -> Peer {
    Peer { id: NodeId::new(id).expect("nodes are numbered from 1"), incarnation: Incarnation(u128::from(id)) }
}

/// The store of any of the voters 1 to `voters`, at node1.test and so on, which have not handed out anything.
pub(crate) fn recovered(voters: u64, first_id: u64) -> Recovered {
    let mut membership = Membership::default();
    for id in 1..=voters {
        let member = Member {
            incarnation: peer(id).incarnation,
            suffrage: Suffrage::Voter,
            peer_address: format!("node{id}.test:9000"),
            client_address: format!("node{id}.test:8000"),
        };
        membership.members.insert(peer(id).id, member);
    }
    let snapshot = Snapshot {
        last_included_index: LogIndex(1),
        last_included_term: Term(1),
        membership: Arc::new(membership),
        state: initial_state(NonZeroU64::new(first_id).expect("IDs begin at 1")),
    };
    Recovered {
        hard_state: HardState { current_term: Term(1), voted_for: None },
        snapshot: Some(Arc::new(snapshot)),
        entries: Vec::new(),
    }
}
