//! The members of the cluster and which of them vote (Raft §6, dissertation §4).
//!
//! A pure value. It knows nothing of links, of progress, or of which node leads. Addresses are never
//! interpreted: they are agreed on together with the members, so that every node can reach every other.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use crate::types::{Incarnation, NodeId, Peer};

/// Whether a member counts in a quorum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Suffrage {
    /// It votes, and its acknowledgements count.
    Voter,
    /// It receives the log and does not count until it has caught up and become a voter (dissertation
    /// §4.2.1).
    Learner,
}

/// One member, as recorded in the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Member {
    /// Which life of this id is the member; every other life is refused.
    pub incarnation: Incarnation,
    /// Whether it counts in a quorum.
    pub suffrage: Suffrage,
    /// `host:port` where it listens for peers.
    pub peer_address: String,
    /// `host:port` where it answers clients.
    pub client_address: String,
}

/// The members of the cluster at one point of the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Membership {
    /// By id, in ascending order.
    pub members: BTreeMap<NodeId, Member>,
}

/// One change of membership. Only one is in progress at a time, so the old and the new majorities always
/// overlap (dissertation §4.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MembershipChange {
    /// Adds a learner, which the leader promotes by itself once it has caught up. A node that is already a
    /// member in this life asks again because it has not heard the answer; it may listen elsewhere by now, so
    /// its addresses are recorded, and its suffrage stays as it is.
    Add {
        /// Which node, in which life.
        peer: Peer,
        /// `host:port` where it listens for peers.
        peer_address: String,
        /// `host:port` where it answers clients.
        client_address: String,
    },
    /// Makes a learner a voter. Leaders do this by themselves, once it has caught up; drivers need not ask.
    /// One that asks earlier may stop the cluster, which needs the new voter's disk from then on.
    Promote(NodeId),
    /// Removes a member.
    Remove {
        /// Which.
        id: NodeId,
        /// In which life; `None` for whichever it is in.
        incarnation: Option<Incarnation>,
    },
    /// Records new addresses of the member with this id and incarnation.
    Relocate {
        /// Which member, in which life.
        peer: Peer,
        /// `host:port` where it now listens for peers.
        peer_address: String,
        /// `host:port` where it now answers clients.
        client_address: String,
    },
}

/// Why a change of membership has to wait: the same one may be allowed in a moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NotYet {
    /// Another change is not committed yet.
    InProgress,
    /// The leader has not yet committed an entry of its own term (the published correction to single-server
    /// changes, raft-dev 2015).
    LeaderTooNew,
    /// Of the voters that would be left, no majority is known to have what was committed a moment ago. Their
    /// disks may be slow, or this leader may be too new to know.
    VotersLag,
}

/// Why a change of membership was refused: asking again does not help by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeRefused {
    /// The id belongs to a member of another incarnation.
    IdTaken,
    /// There is no such member, or not in this incarnation.
    NoSuchMember,
    /// The last voter cannot be removed: nothing would be left to agree.
    LastVoter,
    /// Of the voters that would be left, no majority is heard: nothing more could be agreed on.
    NoQuorumLeft,
}

impl Membership {
    /// The members that count in a quorum, in ascending order.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + Clone + '_ {
        self.members.iter().filter(|(_, m)| m.suffrage == Suffrage::Voter).map(|(id, _)| *id)
    }

    /// Whether this id counts in a quorum, whatever its incarnation.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.members.get(&id).is_some_and(|m| m.suffrage == Suffrage::Voter)
    }

    /// Whether exactly this life of this id is a member.
    #[must_use]
    pub fn contains(&self, peer: Peer) -> bool {
        self.members.get(&peer.id).is_some_and(|m| m.incarnation == peer.incarnation)
    }

    /// The member with this id, with the incarnation that belongs to the cluster.
    #[must_use]
    pub fn peer(&self, id: NodeId) -> Option<Peer> {
        self.members.get(&id).map(|m| Peer { id, incarnation: m.incarnation })
    }

    /// Each member, with the incarnation that belongs to the cluster.
    pub fn peers(&self) -> impl Iterator<Item = (Peer, &Member)> {
        self.members.iter().map(|(id, member)| (Peer { id: *id, incarnation: member.incarnation }, member))
    }

    /// The members that count in a quorum, in ascending order, with the incarnations that belong to the
    /// cluster.
    pub fn voting_peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.peers().filter(|(_, member)| member.suffrage == Suffrage::Voter).map(|(peer, _)| peer)
    }

    /// How many voters are a majority. If there are no voters, this is 1, which cannot be reached.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// Whether these are a majority. Only voters count.
    pub(crate) fn is_majority(&self, ids: &BTreeSet<NodeId>) -> bool {
        self.voters().filter(|id| ids.contains(id)).count() >= self.quorum()
    }

    /// Whether any voter has another id than this.
    #[must_use]
    pub fn has_voter_besides(&self, id: NodeId) -> bool {
        self.voters().any(|voter| voter != id)
    }

    /// The membership after `change`.
    ///
    /// `Ok(None)` if the change is already in force, so that a request whose answer was lost can be repeated.
    ///
    /// # Errors
    /// [`ChangeRefused`], if the membership by itself does not allow the change.
    pub fn changed(&self, change: &MembershipChange) -> Result<Option<Membership>, ChangeRefused> {
        let mut changed = self.clone();
        match change {
            MembershipChange::Add { peer: Peer { id, incarnation }, peer_address, client_address } => {
                let suffrage = match self.members.get(id) {
                    Some(present) if present.incarnation != *incarnation => {
                        return Err(ChangeRefused::IdTaken);
                    }
                    Some(present) => present.suffrage,
                    None => Suffrage::Learner,
                };
                let member = Member {
                    incarnation: *incarnation,
                    suffrage,
                    peer_address: peer_address.clone(),
                    client_address: client_address.clone(),
                };
                changed.members.insert(*id, member);
            }
            MembershipChange::Promote(id) => {
                let member = changed.members.get_mut(id).ok_or(ChangeRefused::NoSuchMember)?;
                member.suffrage = Suffrage::Voter;
            }
            MembershipChange::Remove { id, incarnation } => {
                let present = self.members.get(id).ok_or(ChangeRefused::NoSuchMember)?;
                if incarnation.is_some_and(|meant| meant != present.incarnation) {
                    return Err(ChangeRefused::NoSuchMember);
                }
                if !self.has_voter_besides(*id) {
                    return Err(ChangeRefused::LastVoter);
                }
                changed.members.remove(id);
            }
            MembershipChange::Relocate { peer, peer_address, client_address } => {
                let present = changed.members.get_mut(&peer.id);
                let member = present
                    .filter(|member| member.incarnation == peer.incarnation)
                    .ok_or(ChangeRefused::NoSuchMember)?;
                member.peer_address.clone_from(peer_address);
                member.client_address.clone_from(client_address);
            }
        }
        Ok((changed != *self).then_some(changed))
    }
}
