//! What nodes, and operators, say to each other over TCP: bytes in, frames out, and back.
//!
//! Floor 3, and pure: it uses the codec, the identity and the node's words, byteorder and crc32fast. It is
//! total on any bytes, and whatever decodes re-encodes to the same bytes. It must never know of sockets, of
//! who may say what when (that is the server's), nor of the store or of HTTP. `docs/peer-protocol.rst`
//! describes the same byte by byte; the examples there are the ones that the tests here pin.
//!
//! One who dials speaks first: a [`Hello`], after which only [`Frame::Raft`], [`Frame::Forward`] and
//! [`Frame::Bequest`] follow in that direction and one [`Welcome`] or [`Refuse`] in the other; or
//! [`AdminRequest`]s, each answered by one [`AdminResponse`].

mod admin;
mod bequest;
mod forward;
mod frame;
mod handshake;
mod message;

pub use admin::{AdminRequest, AdminResponse, RefusedReason, RetryReason, STATUS_BYTES_MAX};
pub use frame::{
    Decoder, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, Frame, FrameError, HANDSHAKE_BYTES_MAX, encode,
};
pub use handshake::{Hello, PROTOCOL_VERSION, Refuse, Welcome};

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
