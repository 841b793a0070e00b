//! What two nodes tell each other before anything else: the version, the cluster, who dials and who is meant.
//!
//! Only the values and their bytes; the server decides whether a [`Hello`] is accepted. The beginning of
//! these payloads never changes between versions: a node must always be able to say which version it speaks.

use raft_core::{LogIndex, Peer};

use crate::codec::{DecodeError, Reader, Writer};
use crate::identity::ClusterId;

/// The protocol version of this program; nodes of different versions refuse each other.
pub const PROTOCOL_VERSION: u16 = 1;

/// The dialler's first frame. On the wire it follows [`PROTOCOL_VERSION`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The cluster that the dialler belongs to.
    pub cluster: ClusterId,
    /// The dialler's id and incarnation.
    pub from: Peer,
    /// The id and incarnation that it means to reach: another process may listen at that address by now.
    pub to: Peer,
    /// The highest index that the dialler knows to be committed. An acceptor that knows less cannot tell a
    /// stranger from a member that it has not heard of yet.
    pub commit_index: LogIndex,
    /// `host:port` where the dialler listens for peers.
    pub peer_address: String,
    /// `host:port` where the dialler answers clients.
    pub client_address: String,
}

/// The acceptor takes the dialler for a member of its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The highest index that the acceptor knows to be committed.
    pub commit_index: LogIndex,
}

/// The acceptor refuses the dialler's [`Hello`] and closes the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refuse {
    /// The dialler speaks another version.
    Version {
        /// The version that the acceptor speaks.
        ours: u16,
    },
    /// The acceptor belongs to another cluster.
    WrongCluster,
    /// The acceptor is not the node that the dialler means to reach.
    NotMe {
        /// The acceptor's id and incarnation.
        me: Peer,
    },
    /// The dialler, with this incarnation, is not a member of the cluster.
    Removed {
        /// The highest index that the acceptor knows to be committed. If the dialler joined later than this,
        /// or knows more itself, it was not removed: the acceptor has not heard of it yet.
        commit_index: LogIndex,
    },
}

const REFUSE_VERSION: u8 = 1;
const REFUSE_WRONG_CLUSTER: u8 = 2;
const REFUSE_NOT_ME: u8 = 3;
const REFUSE_REMOVED: u8 = 4;

pub(super) fn put_hello(hello: &Hello, out: &mut Vec<u8>) {
    out.put_u16(PROTOCOL_VERSION);
    out.put_u128(hello.cluster.0);
    out.put_peer(hello.from);
    out.put_peer(hello.to);
    out.put_u64(hello.commit_index.0);
    out.put_address(&hello.peer_address);
    out.put_address(&hello.client_address);
}

/// Reads what follows the version.
pub(super) fn read_hello(reader: &mut Reader<'_>) -> Result<Hello, DecodeError> {
    Ok(Hello {
        cluster: ClusterId(reader.u128()?),
        from: reader.peer()?,
        to: reader.peer()?,
        commit_index: LogIndex(reader.u64()?),
        peer_address: reader.address()?.to_owned(),
        client_address: reader.address()?.to_owned(),
    })
}

pub(super) fn put_welcome(welcome: Welcome, out: &mut Vec<u8>) {
    out.put_u64(welcome.commit_index.0);
}

pub(super) fn read_welcome(reader: &mut Reader<'_>) -> Result<Welcome, DecodeError> {
    Ok(Welcome { commit_index: LogIndex(reader.u64()?) })
}

pub(super) fn put_refuse(refuse: Refuse, out: &mut Vec<u8>) {
    match refuse {
        Refuse::Version { ours } => {
            out.put_u8(REFUSE_VERSION);
            out.put_u16(ours);
        }
        Refuse::WrongCluster => out.put_u8(REFUSE_WRONG_CLUSTER),
        Refuse::NotMe { me } => {
            out.put_u8(REFUSE_NOT_ME);
            out.put_peer(me);
        }
        Refuse::Removed { commit_index } => {
            out.put_u8(REFUSE_REMOVED);
            out.put_u64(commit_index.0);
        }
    }
}

pub(super) fn read_refuse(reader: &mut Reader<'_>) -> Result<Refuse, DecodeError> {
    match reader.u8()? {
        REFUSE_VERSION => Ok(Refuse::Version { ours: reader.u16()? }),
        REFUSE_WRONG_CLUSTER => Ok(Refuse::WrongCluster),
        REFUSE_NOT_ME => Ok(Refuse::NotMe { me: reader.peer()? }),
        REFUSE_REMOVED => Ok(Refuse::Removed { commit_index: LogIndex(reader.u64()?) }),
        other => Err(DecodeError::UnknownKind(other)),
    }
}
