//! The bytes of what nodes send to each other: each kind of message has a module of its own.

use super::{bequest, forward, frame_type, raft_message};
use crate::codec::{DecodeError, Reader};
use crate::node::PeerMessage;

/// The type of the frame that carries a message.
pub(super) const fn type_of(message: &PeerMessage) -> u8 {
    match message {
        PeerMessage::Raft(message) => raft_message::type_of(message),
        PeerMessage::Forward(message) => forward::type_of(message),
        PeerMessage::Bequest(_) => frame_type::BEQUEST,
    }
}

pub(super) fn put(message: &PeerMessage, out: &mut Vec<u8>) {
    match message {
        PeerMessage::Raft(message) => raft_message::put(message, out),
        PeerMessage::Forward(message) => forward::put(message, out),
        PeerMessage::Bequest(bequest) => bequest::put(*bequest, out),
    }
}

/// The message in a frame of this type; `None` if no message has this type.
pub(super) fn read(frame_type: u8, reader: &mut Reader<'_>) -> Result<Option<PeerMessage>, DecodeError> {
    Ok(match frame_type {
        frame_type::TAKE_IDS => Some(forward::read_take_ids(reader)?.into()),
        frame_type::TAKE_IDS_RESPONSE => Some(forward::read_take_ids_response(reader)?.into()),
        frame_type::BEQUEST => Some(bequest::read(reader)?.into()),
        other => raft_message::read(other, reader)?.map(PeerMessage::Raft),
    })
}
