//! The steps of raft-core: whatever hostile members say, in whatever order, one to three sound nodes keep
//! their promises, and stop only if safety is already broken.
//!
//! The sound nodes talk to each other as well as to the hostile ones, and their disks finish when the input
//! says so. A cluster full of liars cannot be required to agree, so each node is checked only for what it
//! alone is responsible for: see [`node`].

pub(crate) mod disk;
pub(crate) mod hostile;
mod node;

use raft_core::{
    Audience, Confirmation, HardState, Incarnation, Input, LogIndex, Member, Membership, MembershipChange,
    Message, NodeId, Peer, Recovered, Snapshot, Suffrage, Term,
};

use self::node::Node;
use super::bytes::Bytes;

/// Members of the cluster, sound and hostile.
const MEMBERS: u64 = 3;
/// From this first byte on, there is also a node with an empty store, which a leader may add.
const NEWCOMER_FROM: u8 = 192;
/// How many messages between sound nodes may wait to be delivered: further ones are lost.
const IN_FLIGHT_MAX: usize = 32;

/// The address of every member, unless it was moved.
const PEER_ADDRESS: &str = "host:1";
const CLIENT_ADDRESS: &str = "host:2";

/// Treats `data` as a sequence of events.
pub fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let plan = bytes.byte();
    let sound = 1 + u64::from(plan % 3);
    let mut nodes: Vec<Node> = (1..=sound).map(|number| Node::new(peer(number), first_store())).collect();
    if plan >= NEWCOMER_FROM {
        nodes.push(Node::new(peer(MEMBERS + 1), Recovered::default()));
    }
    let mut cluster = Cluster { nodes, in_flight: Vec::new() };
    while !bytes.is_empty() {
        cluster.event(&mut bytes);
    }
}

struct Cluster {
    nodes: Vec<Node>,
    in_flight: Vec<(Peer, Peer, Message)>,
}

impl Cluster {
    /// One event.
    fn event(&mut self, bytes: &mut Bytes<'_>) {
        let nodes = u8::try_from(self.nodes.len().max(3)).expect("four at most");
        let at = usize::from(bytes.below(nodes)) % self.nodes.len();
        let kind = bytes.below(24);
        let node = &mut self.nodes[at];
        match kind {
            0..=8 => {
                let from = hostile::sender(bytes, node.me());
                node.step(Input::Message { from, message: hostile::message(bytes) });
            }
            9..=12 => return self.deliver(bytes),
            13 => {
                let gone = hostile::sender(bytes, node.me());
                node.step(Input::PeerUnreachable(gone));
            }
            14 => node.pass(u64::from(bytes.below(255)) * 10),
            15 | 16 => node.wake(),
            17 | 18 => node.sync(),
            19 => node.propose(bytes.below(200)),
            20 => begin_barrier(node, bytes),
            21 => node.change(change(bytes)),
            22 => match bytes.below(8) {
                0 => node.step(Input::WriteFailed),
                1 | 2 => node.crash(),
                _ => node.compact(bytes.below(4)),
            },
            _ => {
                let to = NodeId::new(u64::from(bytes.below(5)));
                node.step(Input::TransferLeadership { to });
            }
        }
        self.collect(at);
    }

    /// Delivers, or loses, one of the messages between sound nodes.
    fn deliver(&mut self, bytes: &mut Bytes<'_>) {
        let choice = usize::from(bytes.byte());
        if self.in_flight.is_empty() {
            return;
        }
        let (from, to, message) = self.in_flight.remove(choice % self.in_flight.len());
        if choice >= 240 {
            return;
        }
        let Some(at) = self.nodes.iter().position(|node| node.me() == to) else { return };
        self.nodes[at].step(Input::Message { from, message });
        self.collect(at);
    }

    fn collect(&mut self, at: usize) {
        let from = self.nodes[at].me();
        for (to, message) in self.nodes[at].take_sent() {
            if self.in_flight.len() < IN_FLIGHT_MAX {
                self.in_flight.push((from, to, message));
            }
        }
    }
}

fn begin_barrier(node: &mut Node, bytes: &mut Bytes<'_>) {
    let audience = if bytes.below(2) == 0 { Audience::QuickestMajority } else { Audience::EveryVoter };
    let confirms = if bytes.below(2) == 0 { Confirmation::CommitIndex } else { Confirmation::Leadership };
    node.begin_barrier(audience, confirms)
}

pub(crate) fn change(bytes: &mut Bytes<'_>) -> MembershipChange {
    let peer = hostile::anyone(bytes);
    match bytes.below(4) {
        0 => MembershipChange::Add {
            peer,
            peer_address: PEER_ADDRESS.to_owned(),
            client_address: CLIENT_ADDRESS.to_owned(),
        },
        1 => MembershipChange::Promote(peer.id),
        2 => MembershipChange::Remove {
            id: peer.id,
            incarnation: (bytes.below(2) == 0).then_some(peer.incarnation),
        },
        _ => MembershipChange::Relocate {
            peer,
            peer_address: format!("host:{}", bytes.below(3)),
            client_address: String::new(),
        },
    }
}

/// A node in its first life.
pub(crate) fn peer(number: u64) -> Peer {
    Peer { id: NodeId::new(number).expect("counted from 1"), incarnation: Incarnation(1) }
}

fn member(peer: Peer, suffrage: Suffrage) -> Member {
    let Peer { incarnation, .. } = peer;
    Member {
        incarnation,
        suffrage,
        peer_address: PEER_ADDRESS.to_owned(),
        client_address: CLIENT_ADDRESS.to_owned(),
    }
}

/// The store that every member begins with.
pub(crate) fn first_store() -> Recovered {
    let members = (1..=MEMBERS).map(|number| (peer(number).id, member(peer(number), Suffrage::Voter)));
    let snapshot = Snapshot {
        last_included_index: LogIndex(1),
        last_included_term: Term(1),
        membership: Membership { members: members.collect() }.into(),
        state: [0].into(),
    };
    let hard_state = HardState { current_term: Term(1), voted_for: None };
    Recovered { hard_state, snapshot: Some(snapshot.into()), entries: Vec::new() }
}
