//! A bench for whole clusters of raft-core in one thread.
//!
//! Everything that a driver, a network and a disk do is decided by the test: which message arrives and when,
//! which write is durable, how fast each clock runs. It uses the public API of raft-core alone. Whatever a
//! test does, the bench checks that no node promises what its disk does not hold.

#![allow(dead_code, reason = "each test file uses its own part of the bench")]

pub(crate) mod cluster;
pub(crate) mod disk;
pub(crate) mod narrate;
pub(crate) mod node;
pub(crate) mod rng;

use std::sync::Arc;

use raft_core::{
    AppendEntries, Config, Entry, HardState, Heartbeat, HeartbeatResponse, Incarnation, LogIndex, Member,
    Membership, MembershipChange, Message, NodeId, Payload, Peer, Recovered, Round, Snapshot, Suffrage, Term,
};

/// The election timeout of every node on the bench, in microseconds.
pub(crate) const ELECTION_TIMEOUT_US: u64 = 200_000;
/// The heartbeat interval of every node on the bench, in microseconds.
pub(crate) const HEARTBEAT_INTERVAL_US: u64 = 40_000;

/// A node id, for numbers that are not 0.
pub(crate) fn id(number: u64) -> NodeId {
    NodeId::new(number).expect("tests count nodes from 1")
}

/// A node in its first life.
pub(crate) fn peer(number: u64) -> Peer {
    Peer { id: id(number), incarnation: Incarnation(1) }
}

/// The configuration of a node on the bench.
pub(crate) fn config(me: Peer) -> Config {
    Config {
        me,
        election_timeout_us: ELECTION_TIMEOUT_US,
        heartbeat_interval_us: HEARTBEAT_INTERVAL_US,
        lease: None,
        seed: me.id.get(),
    }
}

/// A member in this life.
pub(crate) fn member(peer: Peer, suffrage: Suffrage) -> Member {
    Member {
        incarnation: peer.incarnation,
        suffrage,
        peer_address: format!("peer-{}:1", peer.id),
        client_address: format!("client-{}:1", peer.id),
    }
}

/// Adds it as [`member`] has it.
pub(crate) fn add(peer: Peer) -> MembershipChange {
    let Member { peer_address, client_address, .. } = member(peer, Suffrage::Learner);
    MembershipChange::Add { peer, peer_address, client_address }
}

/// A membership of voters and learners, all in their first life.
pub(crate) fn membership(voters: &[u64], learners: &[u64]) -> Membership {
    let voters = voters.iter().map(|n| (id(*n), member(peer(*n), Suffrage::Voter)));
    let learners = learners.iter().map(|n| (id(*n), member(peer(*n), Suffrage::Learner)));
    Membership { members: voters.chain(learners).collect() }
}

/// The snapshot that a cluster begins with: index 1, term 1.
pub(crate) fn first_snapshot(membership: Membership) -> Arc<Snapshot> {
    Arc::new(Snapshot {
        last_included_index: LogIndex(1),
        last_included_term: Term(1),
        membership: Arc::new(membership),
        state: node::Machine::default().state(LogIndex(1)),
    })
}

/// A command's entry.
pub(crate) fn entry(index: u64, term: u64) -> Entry {
    let command = Arc::from(format!("{index}@{term}").as_bytes());
    Entry { index: LogIndex(index), term: Term(term), payload: Payload::Command(command) }
}

/// A store that holds the first snapshot and, after it, one entry for each of `terms`, with the last of them
/// (1 where there is none) as the current term.
pub(crate) fn recovered(membership: Membership, terms: &[u64]) -> Recovered {
    let entries: Vec<Entry> = (2..).zip(terms).map(|(index, term)| entry(index, *term)).collect();
    let current_term = Term(terms.last().copied().unwrap_or(1));
    Recovered {
        hard_state: HardState { current_term, voted_for: None },
        snapshot: Some(first_snapshot(membership)),
        entries,
    }
}

/// Entries, each given by its index and term, that follow the entry `prev`.
pub(crate) fn append(term: u64, prev: (u64, u64), entries: &[(u64, u64)], leader_commit: u64) -> Message {
    Message::AppendEntries(AppendEntries {
        term: Term(term),
        prev_log_index: LogIndex(prev.0),
        prev_log_term: Term(prev.1),
        entries: entries.iter().map(|(index, term)| entry(*index, *term)).collect(),
        leader_commit: LogIndex(leader_commit),
    })
}

/// The answer to a heartbeat from a node that has answered everything else.
pub(crate) fn heartbeat_response(term: u64, round: u64, lease_us: Option<u64>) -> Message {
    Message::HeartbeatResponse(HeartbeatResponse {
        term: Term(term),
        round: Round(round),
        awaits_disk: false,
        lease_us,
    })
}

/// A heartbeat that no barrier waits for, from a leader with the usual election timeout.
pub(crate) fn heartbeat(term: u64, leader_commit: u64) -> Message {
    Message::Heartbeat(Heartbeat {
        term: Term(term),
        leader_commit: LogIndex(leader_commit),
        round: Round(0),
        election_timeout_us: ELECTION_TIMEOUT_US,
        is_stuck: false,
    })
}
