//! What nodes and operators send to each other over TCP: bytes in, frames out, and back.
//!
//! Floor 3, and pure: it uses the codec, the identity and the node's types, byteorder and crc32fast. It
//! accepts any bytes without panicking, and whatever decodes re-encodes to the same bytes. It must never know
//! about sockets, about who may send what when (the server knows), or about the store or HTTP.
//! `docs/peer-protocol.rst` describes the bytes; the tests here pin the examples given there.
//!
//! The side that dials speaks first. It sends either a [`Hello`], which is answered by a [`Refuse`], or by a
//! [`Welcome`], after which [`Frame::Message`]s and [`Frame::Ping`]s follow in both directions; or
//! [`AdminRequest`]s, each answered by one [`AdminResponse`].

mod admin;
mod bequest;
mod forward;
mod frame;
mod frame_type;
mod handshake;
mod message;
mod raft_message;

pub use admin::{AdminRequest, AdminResponse, RefusedReason, RetryReason, STATUS_BYTES_MAX};
pub use frame::{
    Decoder, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, Frame, FrameError, HANDSHAKE_BYTES_MAX, encode,
};
pub use handshake::{Hello, PROTOCOL_VERSION, Refuse, Welcome};

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
