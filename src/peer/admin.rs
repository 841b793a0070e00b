//! What an operator's command, or a node that wants to join, asks of a member, and what it is told.
//!
//! Only the values and their bytes. This module must never know how a request is carried out, nor who retries
//! it.

use std::fmt;

use raft_core::{Incarnation, LogIndex, NodeId, Peer};

use super::handshake::PROTOCOL_VERSION;
use crate::codec::{DecodeError, Reader, Writer};
use crate::identity::ClusterId;

/// The longest status. 64 members with two addresses of 320 bytes each take 40 KiB; the limit leaves another
/// KiB for each of them and 24 for the node itself.
pub const STATUS_BYTES_MAX: usize = 128 * 1024;

/// A request to the leader, except [`AdminRequest::Status`], which any node answers. On the wire it follows
/// [`PROTOCOL_VERSION`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminRequest {
    /// Add this node to the cluster. Repeating the request with the same incarnation changes nothing.
    Join {
        /// The id and incarnation of the node that wants to join.
        peer: Peer,
        /// `host:port` where it listens for peers.
        peer_address: String,
        /// `host:port` where it answers clients.
        client_address: String,
    },
    /// Remove a member.
    Remove {
        /// The cluster. A member of another cluster refuses: it may listen where one of ours used to.
        cluster: ClusterId,
        /// The member's id.
        id: NodeId,
        /// The member's incarnation; `None` for any.
        incarnation: Option<Incarnation>,
    },
    /// Hand over leadership.
    Transfer {
        /// The cluster, as for `Remove`.
        cluster: ClusterId,
        /// The next leader; `None` for the most up-to-date voter.
        to: Option<NodeId>,
    },
    /// Report the status.
    Status,
}

/// The only answer to an [`AdminRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminResponse {
    /// The node is a member.
    Joined {
        /// The cluster.
        cluster: ClusterId,
        /// The membership of the node is committed at this index, or was before.
        joined_at: LogIndex,
    },
    /// The node is no longer a member.
    Removed {
        /// The index at which the removal was committed, or a later one.
        at: LogIndex,
    },
    /// A transfer is over: this node leads now, or led already. If another was named, that has failed.
    Transferred {
        /// Who leads.
        leader: NodeId,
    },
    /// This node does not lead, and nothing was done: ask the leader.
    Redirect {
        /// The leader.
        leader: NodeId,
        /// `host:port` where the leader listens for peers and for this request.
        peer_address: String,
    },
    /// Not done, for a temporary reason: ask again after a while.
    Retry(RetryReason),
    /// Not done, for a reason that will not go away by itself.
    Refused(RefusedReason),
    /// The status: one JSON object of at most [`STATUS_BYTES_MAX`] bytes.
    Status(String),
}

/// A temporary reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetryReason {
    /// This node knows no leader.
    NoLeader,
    /// Another change is under way, or too much is waiting to be committed.
    Busy,
    /// The leader hands over first: it is to be removed, is stopping, or was asked to let another node lead.
    HandingOver,
    /// Leadership ended before the outcome was certain: the request may still be carried out, or never.
    Unknown,
}

/// A reason that will not go away by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusedReason {
    /// The id belongs to a member with another incarnation.
    IdTaken,
    /// There is no such member, or not with this incarnation.
    NoSuchMember,
    /// Without the last voter, no node would be left to agree on anything.
    LastVoter,
    /// No node took over leadership in time: within an election timeout, and as long again for its name to be
    /// known.
    TransferFailed,
    /// The cluster has [`MEMBERS_MAX`](crate::codec::MEMBERS_MAX) members already.
    TooManyMembers,
    /// Too few of the remaining voters are up to form a majority.
    NoQuorumLeft,
    /// The node that was asked belongs to another cluster.
    OtherCluster,
    /// No node was asked to take over leadership: the leader is the only voter.
    NoOtherVoter,
    /// The node that is to lead is a learner.
    NotAVoter,
}

impl fmt::Display for RetryReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RetryReason::NoLeader => "no leader is known",
            RetryReason::Busy => "another change is under way, or too few members keep up to commit one",
            RetryReason::HandingOver => "leadership is being handed over",
            RetryReason::Unknown => "leadership changed before the outcome was certain",
        })
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefusedReason::IdTaken => "the id belongs to another node",
            RefusedReason::NoSuchMember => "there is no such member",
            RefusedReason::LastVoter => "the last voter cannot be removed",
            RefusedReason::TransferFailed => {
                "no node took over leadership in time (the one that was asked may still do so)"
            }
            RefusedReason::TooManyMembers => "the cluster has the maximum number of members",
            RefusedReason::NoQuorumLeft => "too few of the remaining voters are up to agree on anything",
            RefusedReason::OtherCluster => "the node there belongs to another cluster",
            RefusedReason::NoOtherVoter => "there is no other voter that could lead",
            RefusedReason::NotAVoter => "that node does not vote yet (it is a learner, and has to catch up)",
        })
    }
}

const REQUEST_JOIN: u8 = 1;
const REQUEST_REMOVE: u8 = 2;
const REQUEST_TRANSFER: u8 = 3;
const REQUEST_STATUS: u8 = 4;

const RESPONSE_JOINED: u8 = 1;
const RESPONSE_REMOVED: u8 = 2;
const RESPONSE_TRANSFERRED: u8 = 3;
const RESPONSE_STATUS: u8 = 4;
const RESPONSE_REDIRECT: u8 = 5;
const RESPONSE_RETRY: u8 = 6;
const RESPONSE_REFUSED: u8 = 7;

const RETRY_NO_LEADER: u8 = 1;
const RETRY_BUSY: u8 = 2;
const RETRY_HANDING_OVER: u8 = 3;
const RETRY_UNKNOWN: u8 = 4;

const REFUSED_ID_TAKEN: u8 = 1;
const REFUSED_NO_SUCH_MEMBER: u8 = 2;
const REFUSED_LAST_VOTER: u8 = 3;
const REFUSED_TRANSFER_FAILED: u8 = 4;
const REFUSED_TOO_MANY_MEMBERS: u8 = 5;
const REFUSED_NO_QUORUM_LEFT: u8 = 6;
const REFUSED_OTHER_CLUSTER: u8 = 7;
const REFUSED_NO_OTHER_VOTER: u8 = 8;
const REFUSED_NOT_A_VOTER: u8 = 9;

pub(super) fn put_request(request: &AdminRequest, out: &mut Vec<u8>) {
    out.put_u16(PROTOCOL_VERSION);
    match request {
        AdminRequest::Join { peer, peer_address, client_address } => {
            out.put_u8(REQUEST_JOIN);
            out.put_peer(*peer);
            out.put_address(peer_address);
            out.put_address(client_address);
        }
        AdminRequest::Remove { cluster, id, incarnation } => {
            out.put_u8(REQUEST_REMOVE);
            out.put_u128(cluster.0);
            out.put_node_id(*id);
            out.put_option(incarnation.map(|incarnation| incarnation.0), Writer::put_u128);
        }
        AdminRequest::Transfer { cluster, to } => {
            out.put_u8(REQUEST_TRANSFER);
            out.put_u128(cluster.0);
            out.put_option(*to, Writer::put_node_id);
        }
        AdminRequest::Status => out.put_u8(REQUEST_STATUS),
    }
}

/// Reads what follows the version.
pub(super) fn read_request(reader: &mut Reader<'_>) -> Result<AdminRequest, DecodeError> {
    match reader.u8()? {
        REQUEST_JOIN => Ok(AdminRequest::Join {
            peer: reader.peer()?,
            peer_address: reader.address()?.to_owned(),
            client_address: reader.address()?.to_owned(),
        }),
        REQUEST_REMOVE => Ok(AdminRequest::Remove {
            cluster: ClusterId(reader.u128()?),
            id: reader.node_id()?,
            incarnation: reader.option(Reader::u128)?.map(Incarnation),
        }),
        REQUEST_TRANSFER => Ok(AdminRequest::Transfer {
            cluster: ClusterId(reader.u128()?),
            to: reader.option(Reader::node_id)?,
        }),
        REQUEST_STATUS => Ok(AdminRequest::Status),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

pub(super) fn put_response(response: &AdminResponse, out: &mut Vec<u8>) {
    match response {
        AdminResponse::Joined { cluster, joined_at } => {
            out.put_u8(RESPONSE_JOINED);
            out.put_u128(cluster.0);
            out.put_u64(joined_at.0);
        }
        AdminResponse::Removed { at } => {
            out.put_u8(RESPONSE_REMOVED);
            out.put_u64(at.0);
        }
        AdminResponse::Transferred { leader } => {
            out.put_u8(RESPONSE_TRANSFERRED);
            out.put_node_id(*leader);
        }
        AdminResponse::Status(json) => {
            out.put_u8(RESPONSE_STATUS);
            out.put_long_text(json, STATUS_BYTES_MAX);
        }
        AdminResponse::Redirect { leader, peer_address } => {
            out.put_u8(RESPONSE_REDIRECT);
            out.put_node_id(*leader);
            out.put_address(peer_address);
        }
        AdminResponse::Retry(reason) => {
            out.put_u8(RESPONSE_RETRY);
            out.put_u8(retry_code(*reason));
        }
        AdminResponse::Refused(reason) => {
            out.put_u8(RESPONSE_REFUSED);
            out.put_u8(refused_code(*reason));
        }
    }
}

pub(super) fn read_response(reader: &mut Reader<'_>) -> Result<AdminResponse, DecodeError> {
    match reader.u8()? {
        RESPONSE_JOINED => Ok(AdminResponse::Joined {
            cluster: ClusterId(reader.u128()?),
            joined_at: LogIndex(reader.u64()?),
        }),
        RESPONSE_REMOVED => Ok(AdminResponse::Removed { at: LogIndex(reader.u64()?) }),
        RESPONSE_TRANSFERRED => Ok(AdminResponse::Transferred { leader: reader.node_id()? }),
        RESPONSE_STATUS => Ok(AdminResponse::Status(reader.long_text(STATUS_BYTES_MAX)?.to_owned())),
        RESPONSE_REDIRECT => Ok(AdminResponse::Redirect {
            leader: reader.node_id()?,
            peer_address: reader.address()?.to_owned(),
        }),
        RESPONSE_RETRY => Ok(AdminResponse::Retry(read_retry_reason(reader)?)),
        RESPONSE_REFUSED => Ok(AdminResponse::Refused(read_refused_reason(reader)?)),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

const fn retry_code(reason: RetryReason) -> u8 {
    match reason {
        RetryReason::NoLeader => RETRY_NO_LEADER,
        RetryReason::Busy => RETRY_BUSY,
        RetryReason::HandingOver => RETRY_HANDING_OVER,
        RetryReason::Unknown => RETRY_UNKNOWN,
    }
}

fn read_retry_reason(reader: &mut Reader<'_>) -> Result<RetryReason, DecodeError> {
    match reader.u8()? {
        RETRY_NO_LEADER => Ok(RetryReason::NoLeader),
        RETRY_BUSY => Ok(RetryReason::Busy),
        RETRY_HANDING_OVER => Ok(RetryReason::HandingOver),
        RETRY_UNKNOWN => Ok(RetryReason::Unknown),
        other => Err(DecodeError::UnknownKind(other)),
    }
}

const fn refused_code(reason: RefusedReason) -> u8 {
    match reason {
        RefusedReason::IdTaken => REFUSED_ID_TAKEN,
        RefusedReason::NoSuchMember => REFUSED_NO_SUCH_MEMBER,
        RefusedReason::LastVoter => REFUSED_LAST_VOTER,
        RefusedReason::TransferFailed => REFUSED_TRANSFER_FAILED,
        RefusedReason::TooManyMembers => REFUSED_TOO_MANY_MEMBERS,
        RefusedReason::NoQuorumLeft => REFUSED_NO_QUORUM_LEFT,
        RefusedReason::OtherCluster => REFUSED_OTHER_CLUSTER,
        RefusedReason::NoOtherVoter => REFUSED_NO_OTHER_VOTER,
        RefusedReason::NotAVoter => REFUSED_NOT_A_VOTER,
    }
}

fn read_refused_reason(reader: &mut Reader<'_>) -> Result<RefusedReason, DecodeError> {
    match reader.u8()? {
        REFUSED_ID_TAKEN => Ok(RefusedReason::IdTaken),
        REFUSED_NO_SUCH_MEMBER => Ok(RefusedReason::NoSuchMember),
        REFUSED_LAST_VOTER => Ok(RefusedReason::LastVoter),
        REFUSED_TRANSFER_FAILED => Ok(RefusedReason::TransferFailed),
        REFUSED_TOO_MANY_MEMBERS => Ok(RefusedReason::TooManyMembers),
        REFUSED_NO_QUORUM_LEFT => Ok(RefusedReason::NoQuorumLeft),
        REFUSED_OTHER_CLUSTER => Ok(RefusedReason::OtherCluster),
        REFUSED_NO_OTHER_VOTER => Ok(RefusedReason::NoOtherVoter),
        REFUSED_NOT_A_VOTER => Ok(RefusedReason::NotAVoter),
        other => Err(DecodeError::UnknownKind(other)),
    }
}
